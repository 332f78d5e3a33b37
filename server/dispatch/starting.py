"""Runs begin: a fire, a person or a retry puts in the run and its steps, and what can go out goes out. Inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from server.dispatch.definitions import Definition, StepDefinition
from server.dispatch.effects import Effects, EndedRun, Outgoing
from server.dispatch.large_values import Kept, refer
from server.dispatch.progressing import dispatched, frame_for, order_failure_mail, request_cancel
from server.dispatch.states import RUN_ACTIVE, RunState, StepState, Waits, insert_run, insert_steps
from server.dispatch.tables import runs, workflows
from server.dispatch.workflow_schemas import Overlap

# Runs of one workflow that may wait their turn; further ones do not happen, and say so.
LONGEST_QUEUE = 100
ROWS_AT_ONCE = 500


class Start(msgspec.Struct, kw_only=True):
    """A wish for a run. `args` go over the args of its steps; `taken_over` are outputs of steps that need not run again, by name."""

    definition: Definition
    run_id: str
    kind: Literal["fired", "manual", "retry", "backfill"]
    execution_time: datetime
    requested_by: str
    args: Mapping[str, Any] = {}
    kept: list[Kept] = []
    retry_of: str | None = None
    taken_over: Mapping[str, Any] = {}
    step_ids: list[str] = []


class Begun(msgspec.Struct, frozen=True):
    """What became of a wish: `refused` says why there is no run ("overlap"), else None."""

    run_id: str
    refused: str | None
    detail: str = ""


class _Going(msgspec.Struct):
    """The unfinished runs of a workflow: whether one has its turn, how many wait."""

    turn: bool
    waiting: int


def begin(connection: sa.Connection, effects: Effects, starts: list[Start]) -> list[Begun]:
    """Begin many runs at once, in order; two wishes for one workflow obey its overlap policy between them, too."""
    going = _going(connection, starts)
    run_rows: list[dict[str, Any]] = []
    step_rows: list[dict[str, Any]] = []
    begun = []
    for start in starts:
        definition, now_going = start.definition, going.setdefault(start.definition.id, _Going(False, 0))
        overlap = definition.overlap
        busy = now_going.turn or now_going.waiting > 0
        if busy and overlap is Overlap.SKIP:
            begun.append(Begun(start.run_id, "overlap", "an earlier run is not over"))
            continue
        if busy and overlap is not Overlap.PARALLEL and now_going.waiting >= LONGEST_QUEUE:
            begun.append(Begun(start.run_id, "overlap", f"{now_going.waiting} runs wait already"))
            continue
        turn = overlap is Overlap.PARALLEL or not busy
        run = _run_row(effects, start, turn)
        if definition.problems:
            _fail_at_once(connection, effects, run, definition)
            run_rows.append(run)
        else:
            mine = _step_rows(effects, start, run)
            run_rows.append(run)
            step_rows.extend(mine)
            if busy and overlap is Overlap.CANCEL_PREVIOUS:
                _flush(connection, run_rows, step_rows)  # what is cancelled may give this run its turn
                _cancel_previous(connection, effects, definition.id, start.run_id)
                now_going.turn = True
            else:
                now_going.turn = now_going.turn or turn
                now_going.waiting += not turn
        if start.kept:
            refer(connection, f"run:{start.run_id}", start.kept, effects.now)
        begun.append(Begun(start.run_id, None))
        effects.run_changed(start.run_id, definition.id, run["state"])
    _flush(connection, run_rows, step_rows)
    return begun


def _flush(connection: sa.Connection, run_rows: list[dict[str, Any]], step_rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(run_rows), ROWS_AT_ONCE):
        insert_run(connection, run_rows[start : start + ROWS_AT_ONCE])
    for start in range(0, len(step_rows), ROWS_AT_ONCE):
        insert_steps(connection, step_rows[start : start + ROWS_AT_ONCE])
    run_rows.clear()
    step_rows.clear()


def _going(connection: sa.Connection, starts: list[Start]) -> dict[int, _Going]:
    """The unfinished runs of those workflows whose policy asks for them; their rows are locked, so that two instances agree."""
    ids = sorted({start.definition.id for start in starts if start.definition.overlap is not Overlap.PARALLEL})
    going: dict[int, _Going] = {}
    active = [state.value for state in RUN_ACTIVE]
    for start in range(0, len(ids), ROWS_AT_ONCE):
        some = ids[start : start + ROWS_AT_ONCE]
        if connection.dialect.name != "sqlite":
            connection.execute(sa.select(workflows.c.id).where(workflows.c.id.in_(some)).order_by(workflows.c.id).with_for_update()).all()
        counted = (
            sa.select(runs.c.workflow_id, runs.c.turn, sa.func.count().label("number"))
            .where(runs.c.workflow_id.in_(some), runs.c.state.in_(active))
            .group_by(runs.c.workflow_id, runs.c.turn)
        )
        for row in connection.execute(counted):
            found = going.setdefault(row.workflow_id, _Going(False, 0))
            if row.turn:
                found.turn = True
            else:
                found.waiting = row.number
    return going


def _run_row(effects: Effects, start: Start, turn: bool) -> dict[str, Any]:
    definition = start.definition
    return {
        "id": start.run_id,
        "workflow_id": definition.id,
        "workflow_name": definition.name,
        "kind": start.kind,
        "state": RunState.QUEUED.value,
        "overlap": definition.overlap.value,
        "turn": turn,
        "step_count": len(definition.steps),
        "execution_time": start.execution_time,
        "timezone": definition.timezone,
        "offline_grace_s": definition.body.offline_grace_s,
        "retry_of": start.retry_of,
        "requested_by": start.requested_by[:190],
        "error": None,
        "created_at": effects.now,
        "started_at": None,
        "ended_at": None,
    }


def _fail_at_once(connection: sa.Connection, effects: Effects, run: dict[str, Any], definition: Definition) -> None:
    error = "; ".join(problem.text.english() for problem in definition.problems)
    run.update(state=RunState.FAILED.value, error=error, started_at=effects.now, ended_at=effects.now, turn=True)
    order_failure_mail(connection, effects, run["id"])
    effects.ended.append(EndedRun(RunState.FAILED.value, 0.0))


class _Run(msgspec.Struct):
    """The columns of a run that a frame needs, before the row exists."""

    id: str
    workflow_id: int
    workflow_name: str
    execution_time: datetime
    timezone: str


def _step_rows(effects: Effects, start: Start, run: dict[str, Any]) -> list[dict[str, Any]]:
    run_view = _Run(run["id"], run["workflow_id"], run["workflow_name"], run["execution_time"], run["timezone"])
    outputs = {step.position: start.taken_over[step.name] for step in start.definition.steps if step.name in start.taken_over}
    rows = []
    for step, step_id in zip(start.definition.steps, start.step_ids, strict=True):
        mine = _args_over(step, start.args)
        plan = msgspec.structs.replace(step, args=mine) if start.args else step
        row: dict[str, Any] = {
            "id": step_id,
            "run_id": run["id"],
            "position": step.position,
            "name": step.name,
            "module_hash": step.module_hash,
            "module_name": step.module_name,
            "state": StepState.QUEUED.value,
            "attempt": 1,
            "fence": 0,
            "plan": plan,
            "args": None,
            "output": None,
            "blocked": True,
            "process": None,
            "waits_for": None,
            "wake_at": None,
            "deadline": None,
            "dispatched_at": None,
            "started_at": None,
            "ended_at": None,
        }
        if step.position in outputs:
            row.update(
                state=StepState.SUCCEEDED.value, output=outputs[step.position], blocked=False, ended_at=effects.now, started_at=effects.now
            )
        elif run["turn"] and all(position in outputs for position in step.after):
            args = dict(mine)
            for inflow in step.inflows:
                if inflow.output in outputs[inflow.producer]:
                    args[inflow.input] = outputs[inflow.producer][inflow.output]
            _ready(effects, run, run_view, step, row, args)
        rows.append(row)
    return rows


def _ready(effects: Effects, run: dict[str, Any], run_view: _Run, step: StepDefinition, row: dict[str, Any], args: dict[str, Any]) -> None:
    row.update(args=args, blocked=False)
    socket = effects.hub.find(step.module_hash)
    if socket is None or socket.closed:
        row.update(waits_for=Waits.MODULE.value, wake_at=effects.now + timedelta(seconds=run["offline_grace_s"]))
        effects.ready.add(step.module_hash)
        return
    row.update(dispatched(effects, socket, step.timeout_s), state=StepState.DISPATCHED.value, fence=1)
    run.update(state=RunState.DISPATCHED.value, started_at=effects.now)
    execute = frame_for(effects, run_view, row["id"], 1, 1, row["deadline"], args)
    effects.outgoing.append(Outgoing(socket, row["id"], 1, execute))


def _args_over(step: StepDefinition, args: Mapping[str, Any]) -> dict[str, Any]:
    """The args of a run go to the steps that declare or already have their names, and to those that declare nothing."""
    if not args:
        return step.args
    known = set(step.inputs) | set(step.args)
    fitting = {name: value for name, value in args.items() if name in known or not step.inputs}
    return {**step.args, **fitting}


def _cancel_previous(connection: sa.Connection, effects: Effects, workflow_id: int, run_id: str) -> None:
    """Every earlier unfinished run is asked to stop; the last that ends gives the new one its turn."""
    active = [state.value for state in RUN_ACTIVE]
    earlier = sa.select(runs).where(
        runs.c.workflow_id == workflow_id, runs.c.state.in_(active), runs.c.id != run_id, runs.c.cancel_requested_at.is_(None)
    )
    # Those that wait go first, so that none of them gets a turn in between.
    for run in connection.execute(earlier.order_by(runs.c.turn, runs.c.created_at)).all():
        request_cancel(connection, effects, run, "a newer run takes its place")
