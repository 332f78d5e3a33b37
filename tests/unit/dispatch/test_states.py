"""The states of runs and steps: every move of the tables is possible, every other is refused, and so is a stale fence."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from server.dispatch.states import (
    RUN_ACTIVE,
    RUN_ENDED,
    RUN_MOVES,
    RUN_SOURCES,
    STEP_ACTIVE,
    STEP_ENDED,
    STEP_MOVES,
    STEP_OUT,
    RunState,
    StepState,
    Waits,
    extend,
    insert_run,
    insert_steps,
    move_run,
    move_step,
)
from server.dispatch.tables import runs, steps
from server.engines.schema import metadata

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.connect() as opened:
        metadata.create_all(opened, tables=[runs, steps])
        yield opened
    engine.dispose()


def run_row(state: str = "queued", **more: Any) -> dict[str, Any]:
    row = {
        "id": "r",
        "workflow_id": 1,
        "workflow_name": "w",
        "kind": "manual",
        "state": state,
        "overlap": "queue",
        "turn": True,
        "step_count": 1,
        "execution_time": NOW,
        "timezone": "UTC",
        "offline_grace_s": 30,
        "requested_by": "test",
        "created_at": NOW,
    }
    return {**row, **more}


def step_row(state: str = "queued", **more: Any) -> dict[str, Any]:
    row = {
        "id": "s",
        "run_id": "r",
        "position": 0,
        "name": "n",
        "module_hash": "h",
        "module_name": "m",
        "state": state,
        "attempt": 1,
        "fence": 3,
        "plan": {},
        "progress": 0,
        "log_lines": 0,
        "blocked": False,
    }
    return {**row, **more}


def in_state(connection: sa.Connection, table: sa.Table, row: dict[str, Any], state: str) -> None:
    """Put a row in as it can only be after moves."""
    connection.execute(table.insert().values(**{**row, "state": state}))


def state_of(connection: sa.Connection, table: sa.Table) -> str:
    return str(connection.execute(sa.select(table.c.state)).scalar_one())


@pytest.mark.parametrize(
    ("old", "to"), [pair for pair in product(RunState, RunState) if RUN_SOURCES[pair[1]]], ids=lambda state: state.value
)
def test_a_run_moves_only_along_the_table(connection: sa.Connection, old: RunState, to: RunState) -> None:
    in_state(connection, runs, run_row(), old.value)
    allowed = to in RUN_MOVES.get(old, frozenset())
    assert move_run(connection, "r", to, error="e") is allowed
    assert state_of(connection, runs) == (to if allowed else old)
    assert connection.execute(sa.select(runs.c.error)).scalar_one() == ("e" if allowed else None)


@pytest.mark.parametrize(("old", "to"), list(product(StepState, StepState)), ids=lambda state: state.value)
def test_a_step_moves_only_along_the_table(connection: sa.Connection, old: StepState, to: StepState) -> None:
    in_state(connection, steps, step_row(), old.value)
    allowed = to in STEP_MOVES.get(old, frozenset())
    assert move_step(connection, "s", to) is allowed
    assert state_of(connection, steps) == (to if allowed else old)


def test_a_stale_fence_is_refused(connection: sa.Connection) -> None:
    insert_steps(connection, [step_row("dispatched", fence=3)])
    for stale in (2, 4, 0):
        assert not move_step(connection, "s", StepState.SUCCEEDED, under=stale, output={"x": 1})
    assert state_of(connection, steps) == "dispatched"
    assert move_step(connection, "s", StepState.QUEUED, under=3, fence=4)
    assert not move_step(connection, "s", StepState.SUCCEEDED, under=3)
    assert move_step(connection, "s", StepState.DISPATCHED, under=4, fence=5)
    assert move_step(connection, "s", StepState.SUCCEEDED, under=5, output={"x": 1}, ended_at=NOW)
    row = connection.execute(sa.select(steps)).one()
    assert (row.output, row.ended_at, row.fence) == ({"x": 1}, NOW, 5)


def test_what_has_ended_stays(connection: sa.Connection) -> None:
    for ended in RUN_ENDED:
        assert ended not in RUN_MOVES
    for ended in STEP_ENDED:
        assert ended not in STEP_MOVES
    in_state(connection, steps, step_row(), StepState.CANCELLED.value)
    assert not extend(connection, "s", waits_for=Waits.RESULT, wake_at=NOW)


def test_nothing_leads_a_run_back_to_its_beginning() -> None:
    assert [state for state in RunState if not RUN_SOURCES[state]] == [RunState.QUEUED]
    assert not any(RunState.QUEUED in targets for targets in RUN_MOVES.values())


def test_every_state_is_active_or_ended() -> None:
    assert set(RunState) == RUN_ACTIVE | RUN_ENDED
    assert set(StepState) == STEP_ACTIVE | STEP_ENDED
    assert not RUN_ACTIVE & RUN_ENDED
    assert STEP_OUT < STEP_ACTIVE
    assert set(RUN_MOVES) == RUN_ACTIVE
    assert set(STEP_MOVES) == STEP_ACTIVE
    # whatever is unfinished can end in every way
    assert all(targets >= RUN_ENDED for targets in RUN_MOVES.values())
    assert all(targets >= STEP_ENDED for targets in STEP_MOVES.values())


def test_moving_touches_one_row(connection: sa.Connection) -> None:
    insert_run(connection, [run_row(id="r"), run_row(id="other")])
    assert move_run(connection, "r", RunState.RUNNING)
    assert not move_run(connection, "nobody", RunState.RUNNING)
    assert {row.id: row.state for row in connection.execute(sa.select(runs))} == {"r": "running", "other": "queued"}


def test_extending_changes_no_state(connection: sa.Connection) -> None:
    insert_steps(connection, [step_row()])
    wake = NOW + timedelta(seconds=5)
    assert extend(connection, "s", waits_for=Waits.MODULE, wake_at=wake, args={"a": 1})
    row = connection.execute(sa.select(steps)).one()
    assert (row.state, row.waits_for, row.wake_at, row.args) == ("queued", "module", wake, {"a": 1})


@pytest.mark.parametrize("state", ["running", "succeeded", "lost", "timed_out", "cancelled", "nonsense"])
def test_a_run_cannot_begin_so(connection: sa.Connection, state: str) -> None:
    with pytest.raises(ValueError, match=state):
        insert_run(connection, [run_row(), run_row(state, id="x")])
    assert connection.execute(sa.select(runs)).all() == []


@pytest.mark.parametrize("state", ["running", "failed", "lost", "timed_out", "cancelled", "nonsense"])
def test_a_step_cannot_begin_so(connection: sa.Connection, state: str) -> None:
    with pytest.raises(ValueError, match=state):
        insert_steps(connection, [step_row(state)])


def test_the_states_have_their_names_in_both_languages() -> None:
    from server.messages import CATALOGUE

    assert all(f"state.{state.value}" in CATALOGUE for state in RunState)
