"""The states of an evaluation run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from server.engines.schema import metadata
from server.knowledge import eval_states
from server.knowledge.eval_states import RunState
from server.knowledge.tables import evaluation_runs
from server.platform.tables import tasks
from server.platform.tasks import Queue, enqueue, request_cancel
from tests.unit.knowledge.conftest import NOW

RUN = 32 * "a"


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.connect() as opened:
        metadata.create_all(opened, tables=[evaluation_runs, tasks])
        yield opened
    engine.dispose()


@pytest.fixture
def task_id(connection: sa.Connection) -> str:
    """The task of a queued run of the set 1."""
    made = enqueue(connection, Queue.MAINTENANCE, "run_evaluation", {"run_id": RUN}, now=NOW)
    assert made is not None
    eval_states.insert(connection, 1, made, RUN, NOW)
    return made


def state(connection: sa.Connection) -> tuple[str, str | None]:
    row = connection.execute(sa.select(evaluation_runs)).one()
    return row.state, row.error and row.error["key"]


def test_a_run_goes_its_way_and_an_end_is_an_end(connection: sa.Connection, task_id: str) -> None:
    assert state(connection) == ("queued", None)
    assert not eval_states.move(connection, RUN, RunState.SUCCEEDED)
    assert eval_states.move(connection, RUN, RunState.RUNNING)
    assert eval_states.move(connection, RUN, RunState.RUNNING)  # after a restart
    assert eval_states.move(connection, RUN, RunState.SUCCEEDED, model="m")
    for later in (RunState.RUNNING, RunState.FAILED, RunState.SUCCEEDED):
        assert not eval_states.move(connection, RUN, later)
    assert state(connection) == ("succeeded", None)


def test_a_run_that_is_gone_is_not_moved(connection: sa.Connection) -> None:
    assert not eval_states.move(connection, RUN, RunState.RUNNING)


def test_a_run_whose_task_was_cancelled_ends(connection: sa.Connection, task_id: str) -> None:
    eval_states.end_lost(connection, 1, NOW)
    assert state(connection) == ("queued", None)
    assert request_cancel(connection, task_id, NOW)
    eval_states.end_lost(connection, 2, NOW)
    assert state(connection) == ("queued", None)  # another set's
    assert eval_states.lost(connection) == [RUN]
    eval_states.end_lost(connection, None, NOW)
    assert state(connection) == ("failed", "evaluation.task_ended")
    assert eval_states.lost(connection) == []
