"""Works on the tasks of our own users: claimed, written, read back and settled in one transaction, many at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from server.context import Context
from server.events import Event
from server.people.hr import account_states
from server.people.hr.account_settling import settle
from server.people.hr.account_states import AttemptOutcome, Claimed, Ended
from server.people.hr.attempting import Tried, failed, outcome_of
from server.people.hr.attempting import orders_of as read_orders
from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.local import Carried, LocalTarget
from server.platform.notifications.telling import Told, announce

log = logging.getLogger(__name__)

AT_ONCE = 50
LEASE = timedelta(seconds=60)


async def work_on_some(ctx: Context, target: LocalTarget, target_id: int, owner: str) -> int:
    """Do the next tasks that are due; how many. When they cannot be done together, they are done one by one."""
    try:
        return await _do(ctx, target, target_id, owner, AT_ONCE)
    except sa.exc.IntegrityError:  # somebody made a user of the same name meanwhile: now it is seen
        pass
    except TargetError:
        raise
    except (sa.exc.DBAPIError, ValueError, KeyError, TypeError, AttributeError):
        log.exception("tasks of target %s could not be done together", target_id)
    return await _one_by_one(ctx, target, target_id, owner)


async def _do(ctx: Context, target: LocalTarget, target_id: int, owner: str, limit: int) -> int:
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> tuple[int, list[Event], list[Told]]:
        tasks = account_states.claim(connection, target_id, limit, owner=owner, now=now, lease=LEASE)
        if not tasks:
            return 0, [], []
        events, telling = _carry_out(connection, target, target_id, tasks, owner, ctx)
        return len(tasks), events, telling

    number, events, telling = await ctx.sql.write(transaction)
    await target.tell(events)
    await announce(ctx, *telling)
    return number


def _carry_out(
    connection: sa.Connection, target: LocalTarget, target_id: int, tasks: Sequence[Claimed], owner: str, ctx: Context
) -> tuple[list[Event], list[Told]]:
    now = ctx.clock.now()
    orders = read_orders(connection, tasks, target_id)
    carried, events = target.carry_out(connection, now, {task.person_id: orders[task.id] for task in tasks})
    tried = []
    for task in tasks:
        one = carried[task.person_id]
        if one.error is not None or one.step is None:
            error = one.error or TargetError(ErrorClass.BROKEN, "nothing was decided")
            tried.append(failed(task, error, now, before=one.before, after=one.after))
        else:
            tried.append(_done(task, one))
    return events, settle(connection, tried, orders, owner=owner, now=now, local=True)


async def _one_by_one(ctx: Context, target: LocalTarget, target_id: int, owner: str) -> int:
    """Each task claimed for itself, so that the one that cannot be done is known."""
    now = ctx.clock.now()
    tasks = await ctx.sql.write(lambda connection: account_states.claim(connection, target_id, AT_ONCE, owner=owner, now=now, lease=LEASE))
    for task in tasks:
        try:
            events, telling = await ctx.sql.write(
                lambda connection, task=task: _carry_out(connection, target, target_id, [task], owner, ctx)  # type: ignore[misc]
            )
        except (sa.exc.DBAPIError, ValueError, KeyError, TypeError, AttributeError) as error:
            taken = isinstance(error, sa.exc.IntegrityError)
            told_as = TargetError(ErrorClass.BUSY if taken else ErrorClass.BROKEN, f"{type(error).__name__}: {error}"[:500])
            tried = [failed(task, told_as, ctx.clock.now())]
            events, telling = (
                [],
                await ctx.sql.write(
                    lambda connection, tried=tried: settle(connection, tried, {}, owner=owner, now=ctx.clock.now(), local=True)  # type: ignore[misc]
                ),
            )
        await target.tell(events)
        await announce(ctx, *telling)
    return len(tasks)


def _done(task: Claimed, one: Carried) -> Tried:
    ended = Ended(
        task=task,
        outcome=outcome_of(one.step) if one.step is not None else AttemptOutcome.ALREADY,
        started_at=task.claimed_at,
        before=one.before.shown() if one.before else None,
        after=one.after.shown() if one.after else None,
    )
    return Tried(ended=ended, found=one.after)
