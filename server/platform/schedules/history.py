"""What became of a schedule's fires: the ledger, with the task that each one queued."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.paging import Page, PageQuery, page_of
from server.platform.tables import fires, tasks


class HistoryQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    outcome: str = ""


class FiredTask(msgspec.Struct):
    """The task of a fire. `duration_s` from the start of its last attempt to its end; `log` is the address of what it logged."""

    id: str
    state: str
    attempts: int
    result: Any
    error: str | None
    duration_s: float | None
    log: str


class HistoryRow(msgspec.Struct):
    """A fire, or a stretch of `count` up to `through` that ended alike. No task: there was none, or it is gone."""

    id: str
    planned_at: datetime
    starts_at: datetime
    outcome: str
    reason: str | None
    lag_ms: int
    through: datetime | None
    count: int
    run_id: str | None
    task_id: str | None
    task: FiredTask | None


async def list_history(ctx: Context, schedule_id: int, query: HistoryQuery) -> Page[HistoryRow]:
    """Newest first."""
    task = (tasks.c.state, tasks.c.attempts, tasks.c.result, tasks.c.error, tasks.c.started_at, tasks.c.ended_at)
    wanted = sa.select(fires, *task).select_from(fires.outerjoin(tasks, tasks.c.id == fires.c.task_id))
    wanted = wanted.where(fires.c.schedule_id == schedule_id)
    if query.outcome:
        wanted = wanted.where(fires.c.outcome == query.outcome)
    sortable = {"planned_at": fires.c.planned_at, "lag_ms": fires.c.lag_ms}
    return await ctx.sql.read(
        lambda connection: page_of(
            connection, wanted, query, _shown, sortable=sortable, searched=(fires.c.reason, tasks.c.error), order="-planned_at"
        )
    )


def _shown(row: Any) -> HistoryRow:
    task = None
    if row.state is not None:
        took = (row.ended_at - row.started_at).total_seconds() if row.ended_at and row.started_at else None
        task = FiredTask(row.task_id, row.state, row.attempts, row.result, row.error, took, f"/api/tasks/{row.task_id}/log")
    return HistoryRow(
        id=row.id,
        planned_at=row.planned_at,
        starts_at=row.starts_at,
        outcome=row.outcome,
        reason=row.reason,
        lag_ms=row.lag_ms,
        through=row.through,
        count=row.count,
        run_id=row.run_id,
        task_id=row.task_id,
        task=task,
    )
