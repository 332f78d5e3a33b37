"""What people do with tasks: list them, look at one, retry, cancel, see the figures of the queues."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Invalid, NotFound
from server.paging import Page, PageQuery, page_of
from server.platform import audit, tasks
from server.platform.tables import tasks as table
from server.platform.tasks import Queue, TaskState

# Tasks a transaction when all of a kind are changed.
AT_ONCE = 500


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


class EveryTask(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which tasks: of a kind, of a queue, or all; of those that may be, in one `state` when it is given."""

    kind: str = ""
    queue: str = ""
    state: str = ""


class Counted(msgspec.Struct):
    count: int


async def retry_all(ctx: Context, actor: Actor, which: EveryTask) -> Counted:
    """Queue all dead tasks again, or all cancelled ones; how many. Raises Invalid."""
    state = which.state or TaskState.DEAD.value
    if state not in (TaskState.DEAD, TaskState.CANCELLED):
        raise Invalid.field("state", "field.choice", choices="dead, cancelled")
    now = ctx.clock.now()
    # One that dies again meanwhile is not among them: it could go round for ever.
    wanted = _every(which).where(table.c.state == state, table.c.ended_at <= now)
    return await _each(ctx, actor, which, "task.retry_all", wanted, lambda connection, ids: tasks.put_back_all(connection, ids, now))


async def cancel_all(ctx: Context, actor: Actor, which: EveryTask) -> Counted:
    """Cancel all queued tasks and ask all running ones to stop; how many. Raises Invalid."""
    states = [which.state] if which.state else [TaskState.QUEUED.value, TaskState.RUNNING.value]
    if not set(states) <= {TaskState.QUEUED, TaskState.RUNNING}:
        raise Invalid.field("state", "field.choice", choices="queued, running")
    now = ctx.clock.now()
    wanted = _every(which).where(table.c.state.in_(states), table.c.cancel_requested.is_(False), table.c.created_at <= now)
    return await _each(ctx, actor, which, "task.cancel_all", wanted, lambda connection, ids: tasks.request_cancel_all(connection, ids, now))


def _every(which: EveryTask) -> sa.Select[Any]:
    wanted = sa.select(table.c.id).where(table.c.queue.in_([which.queue] if which.queue else [queue.value for queue in Queue]))
    return wanted.where(table.c.kind == which.kind) if which.kind else wanted


async def _each(
    ctx: Context,
    actor: Actor,
    which: EveryTask,
    action: str,
    wanted: sa.Select[Any],
    change: Callable[[sa.Connection, list[str]], int],
) -> Counted:
    """Change what is wanted, in small transactions; each changes what it found, so that the next finds the rest."""
    if which.queue and which.queue not in set(Queue):
        raise Invalid.field("queue", "field.choice", choices=", ".join(Queue))

    def transaction(connection: sa.Connection) -> tuple[int, int]:
        ids = list(connection.execute(wanted.limit(AT_ONCE)).scalars())
        return len(ids), change(connection, ids) if ids else 0

    total, found, changed = 0, AT_ONCE, 1
    while found == AT_ONCE and changed:
        found, changed = await ctx.sql.write(transaction)
        total += changed
    now, detail = ctx.clock.now(), {name: value for name, value in msgspec.structs.asdict(which).items() if value}
    if total:
        await ctx.sql.write(lambda connection: audit.note(connection, now, actor, action, "tasks", count=total, **detail))
        for queue in [which.queue] if which.queue else [queue.value for queue in Queue]:
            await ctx.events.publish(tasks.TaskQueued(queue))
    return Counted(total)


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
