"""Steps whose socket went away: they wait for the module's process to come back, and are taken up again or lost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from server.dispatch.effects import Effects, Flight, Outgoing
from server.dispatch.hub import Connection
from server.dispatch.progressing import advance, fail_attempt, frame_for, get_run, over, send_or_wait
from server.dispatch.states import STEP_OUT, StepState, Waits, extend, move_step
from server.dispatch.tables import modules, runs, steps

OUT = [state.value for state in STEP_OUT]
# A module that is back has at least this long to tell its result, whatever the deadline was.
GRACE_AFTER_RETURN = timedelta(seconds=30)
RESTARTED = "the module's process was replaced while it had the step"


def _grace(row: Any, now: datetime) -> datetime:
    return now + timedelta(seconds=row.offline_grace_s)


def let_wait(connection: sa.Connection, effects: Effects, flights: dict[str, int], hash: str, process: str | None) -> None:
    """The socket with these steps has closed: they wait for its process, or are lost when another process serves in its place."""
    if not flights:
        return
    successor = effects.hub.find(hash)
    replaced = successor is not None and (process is None or successor.process != process)
    wanted = (
        sa.select(steps, runs.c.offline_grace_s)
        .join(runs, runs.c.id == steps.c.run_id)
        .where(steps.c.id.in_(list(flights)), steps.c.state.in_(OUT))
    )
    for step in connection.execute(wanted).all():
        if step.fence != flights[step.id]:
            continue
        if replaced:
            fail_attempt(connection, effects, get_run(connection, step.run_id), step, StepState.LOST, RESTARTED)
        else:
            waits_for = Waits.CANCEL if step.waits_for == Waits.CANCEL.value else Waits.RECONNECT
            extend(connection, step.id, waits_for=waits_for, wake_at=_grace(step, effects.now))


def redirect(connection: sa.Connection, effects: Effects, step_id: str, fence: int) -> bool:
    """A step that its module never took goes to whoever serves the module next; it does not count as tried. False when it moved on."""
    step = connection.execute(sa.select(steps).where(steps.c.id == step_id)).one_or_none()
    if step is None or step.fence != fence or step.state != StepState.DISPATCHED.value:
        return False
    run = get_run(connection, step.run_id)
    if run.cancel_requested_at is not None:
        if not move_step(connection, step.id, StepState.CANCELLED, under=fence, cancel_confirmed=True, **over(effects)):
            return False
        effects.step_changed(run.id, step.id, StepState.CANCELLED.value)
        advance(connection, effects, run)
        return True
    waiting = {"waits_for": Waits.MODULE.value, "wake_at": effects.now + timedelta(seconds=run.offline_grace_s)}
    if not move_step(connection, step.id, StepState.QUEUED, under=fence, process=None, deadline=None, **waiting):
        return False
    effects.step_changed(run.id, step.id, StepState.QUEUED.value)
    send_or_wait(connection, effects, run, step, step.args or {})
    return True


def take_up(connection: sa.Connection, effects: Effects, socket: Connection) -> None:
    """The module is back: what its process still has goes on, what it lost is tried again.

    A process has one socket at a time: when it connects anew, an earlier one is dead, whether or not that was noticed here or elsewhere.
    """
    waits: sa.ColumnElement[bool] = steps.c.waits_for.in_((Waits.RECONNECT.value, Waits.CANCEL.value))
    if socket.process is not None:
        waits = sa.or_(waits, steps.c.process == socket.process)
    wanted = sa.select(steps).where(steps.c.module_hash == socket.hash, steps.c.state.in_(OUT), waits).order_by(steps.c.dispatched_at)
    for step in connection.execute(wanted).all():
        run = get_run(connection, step.run_id)
        deadline = max(step.deadline or effects.now, effects.now + GRACE_AFTER_RETURN)
        holder = effects.hub.find_flight(socket.hash, step.id)
        if holder is socket or (holder is not None and (holder.process is None or holder.process != socket.process)):
            # It never went away: at most its instance was taken for dead.
            if holder.flights.get(step.id) == step.fence and step.waits_for == Waits.RECONNECT.value:
                extend(connection, step.id, waits_for=Waits.RESULT, wake_at=deadline, deadline=deadline)
            continue
        if step.process != socket.process:
            fail_attempt(connection, effects, run, step, StepState.LOST, RESTARTED)
            continue
        effects.taken_up.append(Flight(socket, step.id, step.fence))
        if step.waits_for == Waits.CANCEL.value:
            effects.cancel(socket.hash, run.id, step.id, step.fence)
            continue
        extend(connection, step.id, waits_for=Waits.RESULT, wake_at=deadline, deadline=deadline)
        if socket.protocol >= 2:
            # It may never have got it; a process that has it already knows the step by its fence and does not start again.
            execute = frame_for(effects, run, step.id, step.attempt, step.fence, deadline, step.args or {})
            effects.outgoing.append(Outgoing(socket, step.id, step.fence, execute))


def pull(connection: sa.Connection, effects: Effects, hash: str) -> int:
    """Send the ready steps that wait for a module of this instance, oldest first; how many."""
    if effects.hub.find(hash) is None:
        return 0
    ready = (
        sa.select(steps)
        .join(runs, runs.c.id == steps.c.run_id)
        .where(steps.c.module_hash == hash, steps.c.state == StepState.QUEUED.value, steps.c.blocked.is_(False))
        .where(sa.or_(steps.c.waits_for == Waits.MODULE.value, steps.c.wake_at <= effects.now))
        .order_by(runs.c.created_at, steps.c.position)
        .limit(500)
    )
    rows = connection.execute(ready.with_for_update(skip_locked=True, of=steps)).all()
    for step in rows:
        send_or_wait(connection, effects, get_run(connection, step.run_id), step, step.args or {})
    return len(rows)


def forget_instance(connection: sa.Connection, effects: Effects, instances: list[str] | None) -> int:
    """Instances are gone (None: all of them): nobody is online there, and what was in flight waits for its modules. How many modules."""
    gone = modules.c.instance.is_not(None) if instances is None else modules.c.instance.in_(instances)
    hashes = list(connection.execute(sa.select(modules.c.hash).where(gone)).scalars())
    if instances is None:
        # Also what is in flight on sockets that no module row remembers.
        mine = sa.select(steps, runs.c.offline_grace_s).join(runs, runs.c.id == steps.c.run_id).where(steps.c.state.in_(OUT))
    else:
        mine = (
            sa.select(steps, runs.c.offline_grace_s)
            .join(runs, runs.c.id == steps.c.run_id)
            .where(steps.c.state.in_(OUT), steps.c.module_hash.in_(hashes))
        )
    for step in connection.execute(mine).all():
        if effects.hub.find_flight(step.module_hash, step.id) is None and step.waits_for != Waits.CANCEL.value:
            extend(connection, step.id, waits_for=Waits.RECONNECT, wake_at=_grace(step, effects.now))
    if hashes:
        connection.execute(modules.update().where(gone).values(instance=None))
    return len(hashes)
