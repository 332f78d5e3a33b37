"""Looks at steps whose time has come: deadlines, retries, graces that are over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.dispatch.committing import commit
from server.dispatch.effects import Effects
from server.dispatch.progressing import advance, fail_attempt, get_run, over, send_or_wait
from server.dispatch.states import STEP_OUT, StepState, Waits, extend, move_step
from server.dispatch.tables import modules, runs, steps

AT_ONCE = 200
# What may have been said while nobody could listen is heard within this time.
LATE_RESULT = timedelta(seconds=15)


async def wake_due(ctx: Context) -> int:
    """Handle up to 200 steps whose `wake_at` has passed; how many there were. Safe to run on several instances at once."""
    now = ctx.clock.now()
    due = sa.select(steps.c.id).where(steps.c.wake_at <= now).order_by(steps.c.wake_at).limit(AT_ONCE)
    ids = await ctx.sql.read(lambda connection: list(connection.execute(due).scalars()))
    for step_id in ids:
        await commit(ctx, lambda connection, effects, step_id=step_id: wake(connection, effects, step_id))  # type: ignore[misc]
    return len(ids)


async def give_time(ctx: Context) -> None:
    """Nobody looked for a while: what ran out meanwhile gets time to be heard of, as if it had begun to wait just now.

    Called at the start, and when the database is back; modules could not connect and results not be stored in between.
    """
    now = ctx.clock.now()
    waiting = (Waits.MODULE.value, Waits.RECONNECT.value, Waits.RESULT.value)

    def transaction(connection: sa.Connection) -> None:
        overdue = sa.select(steps.c.id, steps.c.waits_for, runs.c.offline_grace_s).join(runs, runs.c.id == steps.c.run_id)
        for row in connection.execute(overdue.where(steps.c.wake_at <= now, steps.c.waits_for.in_(waiting))).all():
            time = LATE_RESULT if row.waits_for == Waits.RESULT.value else timedelta(seconds=row.offline_grace_s)
            extend(connection, row.id, waits_for=Waits(row.waits_for), wake_at=now + time)

    await ctx.sql.write(transaction)


def wake(connection: sa.Connection, effects: Effects, step_id: str) -> None:
    """What has become of a step by the time it is looked at."""
    of_run = connection.execute(sa.select(steps.c.run_id).where(steps.c.id == step_id)).scalar()
    if of_run is None:
        return  # swept away
    run = get_run(connection, of_run)  # first, as everybody locks the run before its steps
    due = sa.select(steps).where(steps.c.id == step_id, steps.c.wake_at <= effects.now)
    step = connection.execute(due.with_for_update()).one_or_none()
    if step is None:
        return  # it has moved on
    if step.state == StepState.QUEUED.value:
        _wake_queued(connection, effects, run, step)
    elif step.state in STEP_OUT:
        _wake_out(connection, effects, run, step)
    else:
        connection.execute(steps.update().where(steps.c.id == step_id).values(wake_at=None, waits_for=None))


def _wake_queued(connection: sa.Connection, effects: Effects, run: Any, step: Any) -> None:
    here = effects.hub.find(step.module_hash) is not None
    elsewhere = connection.execute(sa.select(modules.c.instance).where(modules.c.hash == step.module_hash)).scalar() is not None
    if here or step.waits_for == Waits.RETRY.value:
        send_or_wait(connection, effects, run, step, step.args or {})
    elif elsewhere:
        effects.ready.add(step.module_hash)  # asked once more; the instance that holds the socket takes it
        _again(connection, effects, step, run.offline_grace_s)
    else:
        error = f"the module was offline for {run.offline_grace_s} s"
        fail_attempt(connection, effects, run, step, StepState.LOST, error)


def _again(connection: sa.Connection, effects: Effects, step: Any, grace_s: int) -> None:
    extend(connection, step.id, waits_for=Waits.MODULE, wake_at=effects.now + timedelta(seconds=max(grace_s, 5)))


def _wake_out(connection: sa.Connection, effects: Effects, run: Any, step: Any) -> None:
    if step.waits_for == Waits.CANCEL.value or run.cancel_requested_at is not None:
        error = "the module did not confirm that it stopped"
        if move_step(connection, step.id, StepState.CANCELLED, under=step.fence, cancel_confirmed=False, error=error, **over(effects)):
            effects.step_changed(run.id, step.id, StepState.CANCELLED.value)
            advance(connection, effects, run)
    elif step.waits_for == Waits.RECONNECT.value:
        error = f"the module's connection was lost and did not come back within {run.offline_grace_s} s"
        fail_attempt(connection, effects, run, step, StepState.LOST, error)
    else:
        effects.cancel(step.module_hash, run.id, step.id, step.fence)  # a module that listens stops a step that nobody waits for
        fail_attempt(connection, effects, run, step, StepState.TIMED_OUT, "no result before the deadline")
