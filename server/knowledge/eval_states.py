"""The states of an evaluation run, and the only place that changes them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from server.knowledge.tables import evaluation_runs as table
from server.knowledge.wording import stored
from server.messages import text
from server.platform.task_states import ended_tasks


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # `error` says why


GOING_ON = (RunState.QUEUED, RunState.RUNNING)
_FROM: dict[RunState, tuple[RunState, ...]] = {
    RunState.RUNNING: GOING_ON,  # again after a restart: it starts over
    RunState.SUCCEEDED: (RunState.RUNNING,),
    RunState.FAILED: GOING_ON,
}


def insert(connection: sa.Connection, set_id: int, task_id: str, run_id: str, now: datetime) -> None:
    """A new run, queued."""
    values = {"id": run_id, "set_id": set_id, "task_id": task_id, "state": RunState.QUEUED.value, "model": "", "created_at": now}
    connection.execute(table.insert().values(values))


def move(connection: sa.Connection, run_id: str, to: RunState, **values: Any) -> bool:
    """Put a run into a state; False when it is gone or in a state from which this cannot follow."""
    moved = table.update().where(table.c.id == run_id, table.c.state.in_([state.value for state in _FROM[to]]))
    return connection.execute(moved.values(state=to.value, **values)).rowcount == 1


def lost(connection: sa.Connection, set_id: int | None = None) -> list[str]:
    """Runs that go on by their own account while their task has ended."""
    wanted = sa.select(table.c.id, table.c.task_id).where(table.c.state.in_([state.value for state in GOING_ON]))
    if set_id is not None:
        wanted = wanted.where(table.c.set_id == set_id)
    rows = connection.execute(wanted).all()
    over = ended_tasks(connection, [row.task_id for row in rows])
    return [row.id for row in rows if row.task_id in over]


def end_lost(connection: sa.Connection, set_id: int | None, now: datetime) -> None:
    """End the runs whose task was cancelled or gave up."""
    for run_id in lost(connection, set_id):
        move(connection, run_id, RunState.FAILED, ended_at=now, error=stored(text("evaluation.task_ended")))
