"""What people do with account tasks: try one again, all of a kind, or cancel one."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict
from server.people.hr import account_states
from server.people.hr.account_reading import AccountTaskDetail, Number, get_account_task
from server.people.hr.account_states import AccountTaskState
from server.people.hr.account_tasks import enqueue_process
from server.people.hr.tables import account_tasks
from server.people.hr.targets.errors import ErrorClass
from server.people.hr.targets.target import Operation
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued

AT_ONCE = 200


class AccountTaskInOtherState(Conflict):
    """The task's state does not allow it; `state` says which it is."""

    type = "account_task_state"


class AccountTaskOvertaken(Conflict):
    """A later task of the same account has taken its place: that is the one to try again."""

    type = "account_task_overtaken"


class RetryAll(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which dead tasks: all of them, or those of a target, a class of error, an operation."""

    target_id: Number | None = None
    error_class: ErrorClass | None = None
    operation: Operation | None = None


class Retried(msgspec.Struct, kw_only=True):
    """How many tasks wait anew, and how many a later one has overtaken."""

    retried: int
    overtaken: int


async def retry(ctx: Context, actor: Actor, task_id: int) -> AccountTaskDetail:
    """Try a dead or cancelled task again, at once. Raises AccountTaskNotFound, AccountTaskInOtherState, AccountTaskOvertaken."""
    task = await get_account_task(ctx, actor, task_id)
    if task.state not in account_states.RETRIABLE:
        raise AccountTaskInOtherState(state=task.state.value)
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> bool:
        if not account_states.put_back(connection, [task_id], now):
            return False
        enqueue_process(connection, now, task.target.id)
        audit.note(connection, now, actor, "account_task.retry", f"account_task:{task_id}", operation=task.operation.value)
        return True

    if not await ctx.sql.write(transaction):
        raise AccountTaskOvertaken()
    await ctx.events.publish(TaskQueued(Queue.ACCOUNT_PROCESSING.value))
    return await get_account_task(ctx, actor, task_id)


async def retry_all(ctx: Context, actor: Actor, body: RetryAll) -> Retried:
    """Try all dead tasks of a kind again, some at a time."""
    table = account_tasks.c
    given = ((table.target_id, body.target_id), (table.error_class, body.error_class), (table.operation, body.operation))
    dead = [table.state == AccountTaskState.DEAD.value, *(column == value for column, value in given if value is not None)]
    counts, last = Retried(retried=0, overtaken=0), 0
    while True:

        def transaction(connection: sa.Connection, after: int = last) -> tuple[int, int, int]:
            now = ctx.clock.now()
            wanted = sa.select(table.id, table.target_id).where(*dead, table.id > after).order_by(table.id).limit(AT_ONCE)
            rows = connection.execute(wanted).all()
            if not rows:
                return 0, 0, 0
            again = set(account_states.put_back(connection, [row.id for row in rows], now))
            for target_id in {row.target_id for row in rows if row.id in again}:
                enqueue_process(connection, now, target_id)
            if again:
                detail = {"tasks": len(again), **msgspec.to_builtins(body)}
                audit.note(connection, now, actor, "account_task.retry_all", "account_tasks", **detail)
            return rows[-1].id, len(again), len(rows) - len(again)

        last, again, overtaken = await ctx.sql.write(transaction)
        counts.retried += again
        counts.overtaken += overtaken
        if not last:
            break
    await ctx.events.publish(TaskQueued(Queue.ACCOUNT_PROCESSING.value))
    return counts


async def cancel(ctx: Context, actor: Actor, task_id: int) -> AccountTaskDetail:
    """Give up a task that waits; the account stays as it is until HR says something new.

    Raises AccountTaskNotFound, AccountTaskInOtherState.
    """
    task = await get_account_task(ctx, actor, task_id)
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> bool:
        done = account_states.cancel(connection, task_id, now)
        if done:
            audit.note(connection, now, actor, "account_task.cancel", f"account_task:{task_id}", operation=task.operation.value)
        return done

    if not await ctx.sql.write(transaction):
        raise AccountTaskInOtherState(state=task.state.value)
    return await get_account_task(ctx, actor, task_id)
