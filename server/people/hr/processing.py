"""Works on the account tasks of a target until none is due: a few at a time, each read, decided, written and read back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.errors import EngineAway
from server.ids import new_id
from server.people.hr import account_states, local_round
from server.people.hr.account_settling import settle
from server.people.hr.account_states import AccountTaskState, Claimed
from server.people.hr.account_tasks import Progress, enqueue_process
from server.people.hr.attempting import Tried, attempt, failed, orders_of
from server.people.hr.protected import break_glass
from server.people.hr.tables import account_tasks, hr_targets
from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.local import LocalTarget
from server.people.hr.targets.opening import open_target
from server.people.hr.targets.target import Order, Target
from server.platform.notifications.telling import announce
from server.platform.tasks import Queue, TaskQueued

log = logging.getLogger(__name__)

# Longer than a task may take with the one that is claimed before it.
LEASE = timedelta(seconds=300)
TASK_S = 120.0
CLAIMED_PER_SIDE = 2
# After so many in a row without an answer, the target is left alone until the next round.
MOST_AWAY = 3


async def process_all(ctx: Context) -> dict[str, int]:
    """Put in the jobs of all targets that have something due, or left behind by a worker that is gone; how many."""
    now = ctx.clock.now()
    pending = sa.and_(account_tasks.c.state == AccountTaskState.PENDING.value, account_tasks.c.run_at <= now)
    lost = sa.and_(account_tasks.c.state == AccountTaskState.RUNNING.value, account_tasks.c.lease_until < now)
    due = sa.exists().where(account_tasks.c.target_id == hr_targets.c.id, sa.or_(pending, lost))
    wanted = sa.select(hr_targets.c.id).where(hr_targets.c.enabled.is_(True), due)

    def transaction(connection: sa.Connection) -> int:
        targets = connection.execute(wanted).scalars().all()
        return sum(enqueue_process(connection, now, target_id) is not None for target_id in targets)

    queued = await ctx.sql.write(transaction)
    if queued:
        await ctx.events.publish(TaskQueued(Queue.ACCOUNT_PROCESSING.value))
    return {"targets": queued}


async def process(ctx: Context, target_id: int, progress: Progress | None = None) -> dict[str, int]:
    """Do what is due at a target; several at once do no harm. Raises SealBroken, and TargetError for settings that are wrong."""
    wanted = sa.select(hr_targets).where(hr_targets.c.id == target_id, hr_targets.c.enabled.is_(True))
    row = await ctx.sql.read(lambda connection: connection.execute(wanted).one_or_none())
    if row is None:
        return {"done": 0, "failed": 0}
    target = await open_target(ctx, row)
    owner = new_id()
    try:
        if isinstance(target, LocalTarget):
            counts = {"done": 0}
            while number := await local_round.work_on_some(ctx, target, target_id, owner):
                counts["done"] += number
                if progress is not None:
                    await progress(0, str(counts["done"]))
        else:
            counts = await _Round(ctx, target, target_id, owner).run()
    finally:
        await target.close()
    await _come_back(ctx, target_id)
    return counts


async def _come_back(ctx: Context, target_id: int) -> None:
    """See to it that what is to be tried again is tried in time."""
    now = ctx.clock.now()
    pending = (account_tasks.c.target_id == target_id, account_tasks.c.state == AccountTaskState.PENDING.value)
    next_due = sa.select(sa.func.min(account_tasks.c.run_at)).where(*pending)

    def transaction(connection: sa.Connection) -> None:
        due: Any = connection.execute(next_due).scalar()
        if due is not None:
            enqueue_process(connection, now, target_id, run_at=max(due, now + timedelta(seconds=10)))

    await ctx.sql.write(transaction)


class _Round:
    """One worker's round over a target outside: some sides, each doing one task after another."""

    def __init__(self, ctx: Context, target: Target, target_id: int, owner: str) -> None:
        self._ctx = ctx
        self._target = target
        self._target_id = target_id
        self._owner = owner
        self._protected = break_glass(ctx.settings)
        self._waiting: deque[tuple[Claimed, Order]] = deque()
        self._started: set[int] = set()
        self._claiming = asyncio.Lock()
        self._away_in_a_row = 0
        self._over = False
        self._counts = {"done": 0, "failed": 0}

    async def run(self) -> dict[str, int]:
        """Until nothing is due, or the target does not let us in. What was begun and not settled is given back."""
        sides = [asyncio.create_task(self._side()) for _ in range(self._target.concurrency)]
        try:
            await asyncio.gather(*sides)
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)
            await asyncio.shield(self._give_back())
        return self._counts

    async def _side(self) -> None:
        while (given := await self._next()) is not None:
            task, order = given
            self._started.add(task.id)
            tried = await self._attempt(task, order)
            await self._settle(tried, order)
            self._started.discard(task.id)

    async def _next(self) -> tuple[Claimed, Order] | None:
        async with self._claiming:
            if not self._waiting and not self._over:
                now, limit = self._ctx.clock.now(), CLAIMED_PER_SIDE * self._target.concurrency

                def transaction(connection: sa.Connection) -> list[tuple[Claimed, Order]]:
                    tasks = account_states.claim(connection, self._target_id, limit, owner=self._owner, now=now, lease=LEASE)
                    orders = orders_of(connection, tasks, self._target_id) if tasks else {}
                    return [(task, orders[task.id]) for task in tasks]

                self._waiting.extend(await self._ctx.sql.write(transaction))
            return None if self._over or not self._waiting else self._waiting.popleft()

    async def _attempt(self, task: Claimed, order: Order) -> Tried:
        now = self._ctx.clock.now()
        try:
            if task.attempt > account_states.MOST_TRIES:
                raise TargetError(ErrorClass.BROKEN, "the worker was lost during each attempt")
            async with asyncio.timeout(TASK_S):
                return await attempt(self._target, task, order, self._protected, now)
        except TimeoutError:
            return failed(task, TargetError(ErrorClass.AWAY, f"it took longer than {TASK_S:.0f} s"), now)
        except TargetError as error:
            return failed(task, error, now)
        except EngineAway:
            raise
        except Exception as error:
            log.exception("account task %s failed", task.id)
            return failed(task, TargetError(ErrorClass.BROKEN, f"{type(error).__name__}: {error}"[:500]), now)

    async def _settle(self, tried: Tried, order: Order) -> None:
        error_class = tried.ended.error_class
        self._counts["failed" if error_class else "done"] += 1
        self._away_in_a_row = self._away_in_a_row + 1 if error_class is ErrorClass.AWAY else 0
        if error_class is ErrorClass.REFUSED or self._away_in_a_row >= MOST_AWAY:
            self._over = True
        now, orders = self._ctx.clock.now(), {tried.ended.task.id: order}
        telling = await self._ctx.sql.write(lambda connection: settle(connection, [tried], orders, owner=self._owner, now=now, local=False))
        await announce(self._ctx, *telling)

    async def _give_back(self) -> None:
        """A try that was broken off counts: it may have done its work."""
        now, waiting = self._ctx.clock.now(), [task.id for task, _ in self._waiting]
        if not waiting and not self._started:
            return

        def transaction(connection: sa.Connection) -> None:
            account_states.give_back(connection, waiting, owner=self._owner, now=now, started=False)
            account_states.give_back(connection, list(self._started), owner=self._owner, now=now, started=True)

        await self._ctx.sql.write(transaction)
