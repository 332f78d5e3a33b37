"""What people do with tasks: list them, look at one, retry, cancel, see the figures of the queues."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, NotFound
from server.paging import Page, PageQuery, page_of
from server.platform import audit, tasks
from server.platform.tables import tasks as table
from server.platform.tasks import TaskState


class TaskNotFound(NotFound):
    type = "task_not_found"


class TaskInOtherState(Conflict):
    """The task's state does not allow it; `state` says which it is."""

    type = "task_state"


class TaskQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    queue: str = ""
    state: str = ""
    kind: str = ""


class Task(msgspec.Struct):
    """A task as people see it. Its payload holds ids, no secrets."""

    id: str
    queue: str
    kind: str
    payload: dict[str, Any]
    state: str
    attempts: int
    max_attempts: int
    progress: int
    progress_message: str | None
    result: Any
    error: str | None
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class QueueStats(msgspec.Struct):
    """One queue: counts by state, the age in seconds of the oldest due task, tasks ended in the last hour."""

    queue: str
    active: int
    scheduled: int
    reserved: int
    dead: int
    oldest_s: float
    ended_last_hour: int


def _shown(row: Any) -> Task:
    return Task(**{name: getattr(row, name) for name in Task.__struct_fields__})


async def list_tasks(ctx: Context, actor: Actor, query: TaskQuery) -> Page[Task]:
    wanted = sa.select(table)
    for column, value in ((table.c.queue, query.queue), (table.c.state, query.state), (table.c.kind, query.kind)):
        if value:
            wanted = wanted.where(column == value)
    sortable = {"created_at": table.c.created_at, "run_at": table.c.run_at, "ended_at": table.c.ended_at, "kind": table.c.kind}
    return await ctx.sql.read(
        lambda connection: page_of(
            connection, wanted, query, _shown, sortable=sortable, searched=(table.c.kind, table.c.error), order="-created_at"
        )
    )


async def get_task(ctx: Context, actor: Actor, task_id: str) -> Task:
    row = await ctx.sql.read(lambda connection: connection.execute(sa.select(table).where(table.c.id == task_id)).one_or_none())
    if row is None:
        raise TaskNotFound()
    return _shown(row)


async def retry_task(ctx: Context, actor: Actor, task_id: str) -> Task:
    """Queue a dead or cancelled task again. Raises TaskNotFound, TaskInOtherState."""
    task = await get_task(ctx, actor, task_id)
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> bool:
        done = tasks.put_back(connection, task_id, now)
        if done:
            audit.note(connection, now, actor, "task.retry", f"task:{task_id}", kind=task.kind)
        return done

    if not await ctx.sql.write(transaction):
        raise TaskInOtherState(state=task.state)
    await ctx.events.publish(tasks.TaskQueued(task.queue))
    return await get_task(ctx, actor, task_id)


async def cancel_task(ctx: Context, actor: Actor, task_id: str) -> Task:
    """Cancel a queued task, or ask a running one to stop. Raises TaskNotFound, TaskInOtherState."""
    task = await get_task(ctx, actor, task_id)
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> bool:
        done = tasks.request_cancel(connection, task_id, now)
        if done:
            audit.note(connection, now, actor, "task.cancel", f"task:{task_id}", kind=task.kind)
        return done

    if not await ctx.sql.write(transaction):
        raise TaskInOtherState(state=task.state)
    return await get_task(ctx, actor, task_id)


async def queue_stats(ctx: Context, actor: Actor) -> list[QueueStats]:
    """The figures of each queue: active (being worked on), scheduled (later), reserved (due, not yet claimed), dead."""
    now = ctx.clock.now()
    due = sa.and_(table.c.state == TaskState.QUEUED.value, table.c.run_at <= now)

    def many(condition: Any) -> Any:
        return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)

    wanted = sa.select(
        table.c.queue,
        many(table.c.state == TaskState.RUNNING.value).label("active"),
        many(sa.and_(table.c.state == TaskState.QUEUED.value, table.c.run_at > now)).label("scheduled"),
        many(due).label("reserved"),
        many(table.c.state == TaskState.DEAD.value).label("dead"),
        sa.func.min(sa.case((due, table.c.run_at))).label("oldest"),
        many(table.c.ended_at > now - timedelta(hours=1)).label("ended"),
    ).group_by(table.c.queue)
    rows = {row.queue: row for row in await ctx.sql.read(lambda connection: connection.execute(wanted).all())}
    stats = []
    for queue in tasks.Queue:
        row = rows.get(queue.value)
        if row is None:
            stats.append(QueueStats(queue.value, 0, 0, 0, 0, 0.0, 0))
        else:
            oldest = max(0.0, (now - row.oldest).total_seconds()) if row.oldest else 0.0
            stats.append(
                QueueStats(queue.value, int(row.active), int(row.scheduled), int(row.reserved), int(row.dead), oldest, int(row.ended))
            )
    return stats
