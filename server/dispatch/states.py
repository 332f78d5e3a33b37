"""The states of runs and steps, and the only code that writes them; every transition is conditional on the old state."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from server.dispatch.tables import runs, steps
from server.engines.prepared import Prepared, insert_into


class RunState(StrEnum):
    QUEUED = "queued"  # waits for an earlier run of the workflow, or for a module
    DISPATCHED = "dispatched"  # a first step has been sent
    RUNNING = "running"  # a module has said that it works
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"  # a module went away
    CANCELLED = "cancelled"


class StepState(StrEnum):
    QUEUED = "queued"  # waits for its inputs, its module, or the time of its retry
    DISPATCHED = "dispatched"  # sent to the module
    RUNNING = "running"  # the module has acknowledged
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"  # a step that it needs did not succeed


class Waits(StrEnum):
    """What an unfinished step waits for when `wake_at` comes."""

    RESULT = "result"  # its deadline
    RETRY = "retry"  # the time of its next attempt
    MODULE = "module"  # its module to come online
    RECONNECT = "reconnect"  # the socket that it was sent on to come back
    CANCEL = "cancel"  # the module to confirm that it stopped


RUN_ACTIVE = frozenset({RunState.QUEUED, RunState.DISPATCHED, RunState.RUNNING})
RUN_ENDED = frozenset(RunState) - RUN_ACTIVE
# What holds back the next run of the same workflow.
RUN_GOING = frozenset({RunState.DISPATCHED, RunState.RUNNING})
STEP_ACTIVE = frozenset({StepState.QUEUED, StepState.DISPATCHED, StepState.RUNNING})
STEP_ENDED = frozenset(StepState) - STEP_ACTIVE
STEP_OUT = frozenset({StepState.DISPATCHED, StepState.RUNNING})

RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset(RunState) - {RunState.QUEUED},
    RunState.DISPATCHED: frozenset({RunState.RUNNING}) | RUN_ENDED,
    RunState.RUNNING: RUN_ENDED,
}
STEP_MOVES: dict[StepState, frozenset[StepState]] = {
    StepState.QUEUED: frozenset({StepState.DISPATCHED}) | STEP_ENDED,
    # Back to queued for another attempt.
    StepState.DISPATCHED: frozenset({StepState.RUNNING, StepState.QUEUED}) | STEP_ENDED,
    StepState.RUNNING: frozenset({StepState.QUEUED}) | STEP_ENDED,
}


def literal_states(states: Iterable[StrEnum]) -> list[sa.ColumnElement[str]]:
    """States as literals, for statements that are compiled once."""
    return [sa.literal_column(f"'{state.value}'", sa.String) for state in states]


def _sources(moves: dict[Any, frozenset[Any]], to: StrEnum) -> list[sa.ColumnElement[str]]:
    return literal_states(state for state, targets in moves.items() if to in targets)


RUN_SOURCES = {state: _sources(RUN_MOVES, state) for state in RunState}
STEP_SOURCES = {state: _sources(STEP_MOVES, state) for state in StepState}


def move_run(connection: sa.Connection, run_id: str, to: RunState, **values: Any) -> bool:
    """Take a run to a state, from any state that leads there; False when it is in none of those."""
    return _run_move(to, tuple(sorted(values))).run(connection, {"of": run_id, **values}) == 1


def move_step(connection: sa.Connection, step_id: str, to: StepState, *, under: int | None = None, **values: Any) -> bool:
    """Take a step to a state, from any state that leads there and, when given, only while its fence is `under`; False otherwise."""
    return _step_move(to, under is not None, tuple(sorted(values))).run(connection, {"of": step_id, "under": under, **values}) == 1


@lru_cache(maxsize=256)
def _run_move(to: RunState, columns: tuple[str, ...]) -> Prepared:
    update = runs.update().where(runs.c.id == sa.bindparam("of"), runs.c.state.in_(RUN_SOURCES[to]))
    return Prepared(update.values(state=sa.literal_column(f"'{to.value}'"), **{name: sa.bindparam(name) for name in columns}))


@lru_cache(maxsize=256)
def _step_move(to: StepState, fenced: bool, columns: tuple[str, ...]) -> Prepared:
    update = steps.update().where(steps.c.id == sa.bindparam("of"), steps.c.state.in_(STEP_SOURCES[to]))
    if fenced:
        update = update.where(steps.c.fence == sa.bindparam("under"))
    return Prepared(update.values(state=sa.literal_column(f"'{to.value}'"), **{name: sa.bindparam(name) for name in columns}))


_INSERT_RUN = insert_into(runs)
_INSERT_STEP = insert_into(steps)


def insert_run(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    """New runs; a new run is queued, or already dispatched when its first step goes out in the same transaction."""
    for row in rows:
        if row["state"] not in (RunState.QUEUED.value, RunState.DISPATCHED.value, RunState.FAILED.value):
            raise ValueError(f"a run cannot begin {row['state']}")
    _INSERT_RUN.many(connection, rows)


def insert_steps(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    """New steps; queued, dispatched, or succeeded when their output is taken over from an earlier run."""
    for row in rows:
        if row["state"] not in (StepState.QUEUED.value, StepState.DISPATCHED.value, StepState.SUCCEEDED.value, StepState.SKIPPED.value):
            raise ValueError(f"a step cannot begin {row['state']}")
    _INSERT_STEP.many(connection, rows)


def extend(connection: sa.Connection, step_id: str, *, waits_for: Waits, wake_at: datetime | None, **values: Any) -> bool:
    """Change what an unfinished step waits for, its state staying as it is; False when it has ended."""
    active = steps.update().where(steps.c.id == step_id, steps.c.state.in_([state.value for state in STEP_ACTIVE]))
    return connection.execute(active.values(waits_for=waits_for.value, wake_at=wake_at, **values)).rowcount == 1
