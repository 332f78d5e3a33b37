"""How a run moves on: steps go out, end, are tried again, make others ready, and end the run. Inside a transaction."""

from __future__ import annotations

import random
from collections import namedtuple
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from server.dispatch import frames
from server.dispatch.definitions import StepDefinition
from server.dispatch.effects import Effects, EndedRun, Outgoing
from server.dispatch.hub import Connection
from server.dispatch.large_values import with_links
from server.dispatch.states import (
    RUN_ACTIVE,
    STEP_ACTIVE,
    STEP_ENDED,
    STEP_OUT,
    RunState,
    StepState,
    Waits,
    extend,
    move_run,
    move_step,
)
from server.dispatch.tables import runs, step_attempts, steps, workflows
from server.dispatch.workflow_schemas import Overlap
from server.engines.prepared import Prepared
from server.platform.tasks import Queue, enqueue

# How long a module may take to confirm that it stopped, before the step is cancelled unconfirmed.
CANCEL_GRACE = timedelta(seconds=30)
FAILURE_MAIL = "mail.run_failed"
_BY_STEP: dict[StepState, RunState] = {
    StepState.FAILED: RunState.FAILED,
    StepState.TIMED_OUT: RunState.TIMED_OUT,
    StepState.LOST: RunState.LOST,
}


# What moving a run on needs to know of it, and of one of its steps.
RUN_COLUMNS = [
    getattr(runs.c, name)
    for name in (
        *("id", "workflow_id", "workflow_name", "overlap", "turn", "step_count", "execution_time", "timezone"),
        *("offline_grace_s", "cancel_requested_at", "created_at", "started_at"),
    )
]
STEP_COLUMNS = [
    getattr(steps.c, name)
    for name in (
        *("id", "run_id", "position", "name", "module_hash", "state", "attempt", "fence", "plan", "args", "process", "waits_for"),
        *("deadline", "dispatched_at", "started_at"),
    )
]
_Run = namedtuple("_Run", [column.name for column in RUN_COLUMNS])  # type: ignore[misc]
# Locked, where the database locks rows: of two steps that end at the same time, the later one sees that the other has ended.
_RUN = Prepared(sa.select(*RUN_COLUMNS).where(runs.c.id == sa.bindparam("id")).with_for_update())
_STEP_AND_RUN = Prepared(
    sa.select(*STEP_COLUMNS, *(column.label(f"run_{column.name}_") for column in RUN_COLUMNS))
    .join(runs, runs.c.id == steps.c.run_id)
    .where(steps.c.id == sa.bindparam("id"))
    .with_for_update()
)
_STEPS = Prepared(sa.select(steps).where(steps.c.run_id == sa.bindparam("run_id")).order_by(steps.c.position))


def find_step_and_run(connection: sa.Connection, step_id: str) -> tuple[Any, Any] | None:
    """A step and its run by one question, or None when there is no such step."""
    found = _STEP_AND_RUN.first(connection, {"id": step_id})
    return None if found is None else (found, _Run._make(found[len(STEP_COLUMNS) :]))


def get_run(connection: sa.Connection, run_id: str) -> Any:
    """The row of a run that a step belongs to, and that is therefore there."""
    run = _RUN.first(connection, {"id": run_id})
    if run is None:
        raise LookupError(f"no run {run_id}")
    return run


def plan_of(step: Any) -> StepDefinition:
    return msgspec.convert(step.plan, StepDefinition)


def frame_for(effects: Effects, run: Any, step_id: str, attempt: int, fence: int, deadline: Any, args: dict[str, Any]) -> frames.Execute:
    """The execute frame of a step; `execution_time` on the wall clock of the run's zone."""
    local = run.execution_time.astimezone(ZoneInfo(run.timezone)).replace(tzinfo=None, microsecond=0)
    meta = frames.ExecuteMeta(
        execution_time=local.isoformat(),
        workflow_id=str(run.workflow_id),
        workflow_name=run.workflow_name,
        run_id=run.id,
        step_id=step_id,
        attempt=attempt,
        fence=fence,
        deadline=deadline.isoformat(),
    )
    return frames.Execute(meta=meta, args=with_links(effects.ctx, args))


def dispatched(effects: Effects, connection: Connection, timeout_s: int) -> dict[str, Any]:
    """The columns of a step that goes out on a connection now."""
    deadline = effects.now + timedelta(seconds=timeout_s)
    return {
        "process": connection.process,
        "waits_for": Waits.RESULT.value,
        "wake_at": deadline,
        "deadline": deadline,
        "dispatched_at": effects.now,
        "started_at": None,
        "blocked": False,
    }


def send_or_wait(connection: sa.Connection, effects: Effects, run: Any, step: Any, args: dict[str, Any]) -> None:
    """Send a ready step to its module when this instance holds the socket; else let it wait for whoever does."""
    socket = effects.hub.find(step.module_hash)
    if socket is None or socket.closed:
        grace = effects.now + timedelta(seconds=run.offline_grace_s)
        extend(connection, step.id, waits_for=Waits.MODULE, wake_at=grace, blocked=False, args=args)
        effects.ready.add(step.module_hash)
        return
    plan = plan_of(step)
    columns = dispatched(effects, socket, plan.timeout_s)
    if not move_step(connection, step.id, StepState.DISPATCHED, under=step.fence, fence=step.fence + 1, args=args, **columns):
        return
    if move_run(connection, run.id, RunState.DISPATCHED, started_at=effects.now):
        effects.run_changed(run.id, run.workflow_id, RunState.DISPATCHED.value)
    execute = frame_for(effects, run, step.id, step.attempt, step.fence + 1, columns["deadline"], args)
    effects.outgoing.append(Outgoing(socket, step.id, step.fence + 1, execute))
    effects.step_changed(run.id, step.id, StepState.DISPATCHED.value)


def advance(connection: sa.Connection, effects: Effects, run: Any, ended: StepState | None = None, error: str | None = None) -> None:
    """After a step has ended: send those that are ready now, skip those that never will be, and end the run when nothing is left.

    `ended` is how the step ended and `error` why, with its name in front; a run of one step needs to know no more.
    """
    if not run.turn:
        return
    if run.step_count == 1 and ended is not None:
        _end_only_step(connection, effects, run, ended, error)
        return
    rows = _STEPS.all(connection, {"run_id": run.id})
    state = {row.position: StepState(row.state) for row in rows}
    for row in rows:  # in order of the list; a predecessor further down is met by the rounds below
        if state[row.position] is not StepState.QUEUED or not row.blocked:
            continue
        plan = plan_of(row)
        if run.cancel_requested_at is not None:
            move_step(connection, row.id, StepState.CANCELLED, **over(effects))
            state[row.position] = StepState.CANCELLED
        elif all(state[position] is StepState.SUCCEEDED for position in plan.after):
            send_or_wait(connection, effects, run, row, args_of(plan, rows))
    _skip(connection, effects, run, rows, state)
    if not any(value in STEP_ACTIVE for value in state.values()):
        end_run(connection, effects, run, rows, state)


def _end_only_step(connection: sa.Connection, effects: Effects, run: Any, ended: StepState, error: str | None) -> None:
    if run.cancel_requested_at is not None or ended is StepState.CANCELLED:
        close_run(connection, effects, run, RunState.CANCELLED, error)
    else:
        close_run(connection, effects, run, _BY_STEP.get(ended, RunState.SUCCEEDED), error)


def _skip(connection: sa.Connection, effects: Effects, run: Any, rows: Any, state: dict[int, StepState]) -> None:
    again = True
    while again:
        again = False
        for row in rows:
            if state[row.position] is not StepState.QUEUED or not row.blocked:
                continue
            if any(state[position] in STEP_ENDED and state[position] is not StepState.SUCCEEDED for position in plan_of(row).after):
                move_step(connection, row.id, StepState.SKIPPED, **over(effects))
                effects.step_changed(run.id, row.id, StepState.SKIPPED.value)
                state[row.position] = StepState.SKIPPED
                again = True


def args_of(plan: StepDefinition, rows: Any) -> dict[str, Any]:
    """What a step gets: its own args, and over its inflows the outputs of earlier steps."""
    outputs = {row.position: row.output for row in rows}
    args = dict(plan.args)
    for inflow in plan.inflows:
        given = outputs.get(inflow.producer)
        if isinstance(given, dict) and inflow.output in given:
            args[inflow.input] = given[inflow.output]
    return args


def over(effects: Effects) -> dict[str, Any]:
    """The columns of a step that has ended now."""
    return {"ended_at": effects.now, "wake_at": None, "waits_for": None, "blocked": False}


def fail_attempt(connection: sa.Connection, effects: Effects, run: Any, step: Any, outcome: StepState, error: str, **values: Any) -> bool:
    """End an attempt badly: queue the next one after its backoff, or end the step; False when the step had moved on."""
    plan = plan_of(step)
    row = {
        "step_id": step.id,
        "attempt": step.attempt,
        "fence": step.fence,
        "outcome": outcome.value,
        "error": error,
        "dispatched_at": step.dispatched_at,
        "ended_at": effects.now,
    }
    if step.attempt < plan.max_attempts and run.cancel_requested_at is None:
        delay = plan.backoff_s * 2 ** (step.attempt - 1) * random.uniform(0.8, 1.2)
        wake_at = effects.now + timedelta(seconds=delay)
        again = {
            "attempt": step.attempt + 1,
            "waits_for": Waits.RETRY.value,
            "wake_at": wake_at,
            "error": error,
            "deadline": None,
            "process": None,
        }
        if step.state == StepState.QUEUED.value:
            moved = extend(connection, step.id, waits_for=Waits.RETRY, wake_at=wake_at, attempt=step.attempt + 1, error=error)
        else:
            moved = move_step(connection, step.id, StepState.QUEUED, under=step.fence, **again, **values)
        if moved:
            connection.execute(step_attempts.insert().values(**row))
            effects.step_changed(run.id, step.id, StepState.QUEUED.value)
        return moved
    if run.cancel_requested_at is not None:
        outcome = StepState.CANCELLED if outcome in (StepState.LOST, StepState.TIMED_OUT) else outcome
    if not move_step(connection, step.id, outcome, under=step.fence, error=error, **over(effects), **values):
        return False
    effects.step_changed(run.id, step.id, outcome.value)
    advance(connection, effects, run, outcome, f"{step.name}: {error}")
    return True


def end_run(connection: sa.Connection, effects: Effects, run: Any, rows: Any, state: dict[int, StepState]) -> None:
    """All steps have ended: so does the run, with the worst that happened first; then the next run of the workflow has its turn."""
    bad = [row for row in rows if state[row.position] in _BY_STEP]
    if run.cancel_requested_at is not None:
        to = RunState.CANCELLED
    elif bad:
        to = _BY_STEP[state[bad[0].position]]
    else:
        to = RunState.SUCCEEDED
    error = None
    if bad:
        current = connection.execute(sa.select(steps.c.name, steps.c.error).where(steps.c.id == bad[0].id)).one()
        error = f"{current.name}: {current.error or state[bad[0].position].value}"
    close_run(connection, effects, run, to, error)


def close_run(connection: sa.Connection, effects: Effects, run: Any, to: RunState, error: str | None) -> bool:
    """Write the end of a run, order its failure mail, and let the next one go."""
    values: dict[str, Any] = {"ended_at": effects.now, "error": error}
    if run.started_at is None:
        values["started_at"] = effects.now
    if not move_run(connection, run.id, to, **values):
        return False
    effects.ended.append(EndedRun(to.value, (effects.now - run.created_at).total_seconds()))
    effects.run_changed(run.id, run.workflow_id, to.value)
    if to in (RunState.FAILED, RunState.TIMED_OUT, RunState.LOST):
        order_failure_mail(connection, effects, run.id)
    if run.overlap != Overlap.PARALLEL.value:
        promote(connection, effects, run.workflow_id)
    return True


def order_failure_mail(connection: sa.Connection, effects: Effects, run_id: str) -> None:
    """One mail for a run that did not succeed, however often it is ordered while it waits."""
    key = f"{FAILURE_MAIL}:{run_id}"
    enqueue(connection, Queue.MAIL, FAILURE_MAIL, {"run_id": run_id}, now=effects.now, max_attempts=10, unique_key=key)
    effects.mail = True


def promote(connection: sa.Connection, effects: Effects, workflow_id: int) -> None:
    """Give the oldest waiting run of a workflow its turn, unless another one has it."""
    if connection.dialect.name != "sqlite":
        # A run that begins just now counts this one as going, and waits: unless its row is seen here, it waits for ever.
        connection.execute(sa.select(workflows.c.id).where(workflows.c.id == workflow_id).with_for_update()).all()
    active = [state.value for state in RUN_ACTIVE]
    mine = (runs.c.workflow_id == workflow_id, runs.c.state.in_(active))
    if connection.execute(sa.select(runs.c.id).where(*mine, runs.c.turn.is_(True)).limit(1)).first() is not None:
        return
    waiting = sa.select(runs).where(*mine, runs.c.turn.is_(False)).order_by(runs.c.created_at, runs.c.id).limit(1)
    run = connection.execute(waiting.with_for_update()).one_or_none()
    if run is None:
        return
    if connection.execute(runs.update().where(runs.c.id == run.id, runs.c.turn.is_(False)).values(turn=True)).rowcount:
        advance(connection, effects, get_run(connection, run.id))


def request_cancel(connection: sa.Connection, effects: Effects, run: Any, reason: str) -> bool:
    """Ask a run to stop: what waits is cancelled at once, what is out is asked to stop; False when the run is over."""
    active = runs.update().where(runs.c.id == run.id, runs.c.state.in_([state.value for state in RUN_ACTIVE]))
    if not connection.execute(active.values(cancel_requested_at=effects.now, cancel_reason=reason[:500])).rowcount:
        return False
    rows = connection.execute(sa.select(steps).where(steps.c.run_id == run.id)).all()
    out = False
    for row in rows:
        if row.state == StepState.QUEUED.value:
            move_step(connection, row.id, StepState.CANCELLED, **over(effects))
            effects.step_changed(run.id, row.id, StepState.CANCELLED.value)
        elif row.state in STEP_OUT:
            out = True
            extend(connection, row.id, waits_for=Waits.CANCEL, wake_at=effects.now + CANCEL_GRACE)
            effects.cancel(row.module_hash, run.id, row.id, row.fence)
    if not out:
        close_run(connection, effects, get_run(connection, run.id), RunState.CANCELLED, None)
    return True
