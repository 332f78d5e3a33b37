"""Outcomes of tasks on their way to the database: those that wait at the same moment share a commit."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from server.context import Context
from server.engines.sql import Transaction
from server.errors import EngineAway
from server.platform import tasks
from server.platform.tasks import Claimed, Queue, TaskChanged

log = logging.getLogger(__name__)

AT_ONCE = 200
# While the database is away: for as long as the lease could hold.
WAITS_S = (0.2, 1, 3, 10, 20)


class Outcomes:
    """Settles the tasks of one queue. Only the attempt that holds the lease is settled; the outcome of any other is dropped."""

    def __init__(self, ctx: Context, queue: Queue) -> None:
        self._ctx = ctx
        self._queue = queue
        self._done: list[tuple[Claimed, Any]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._succeeded = ctx.metrics.tasks.labels(queue.value, "succeeded")

    def __len__(self) -> int:
        """Successes that are not written yet, as far as nobody writes them already."""
        return len(self._done)

    def succeed(self, task: Claimed, result: Any) -> None:
        """Write the success soon, with whatever else has succeeded by then."""
        self._done.append((task, result))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(), name=f"outcomes-{self._queue}")

    async def flushed(self) -> None:
        """Wait until all successes are written, or given up."""
        while self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        try:
            while self._done:
                batch, self._done = self._done[:AT_ONCE], self._done[AT_ONCE:]
                try:
                    await self._write(batch)
                except Exception:
                    if len(batch) == 1:
                        await self._unwritable(*batch[0])
                        continue
                    log.exception("successes in queue %s are written one by one", self._queue)
                    for one in batch:
                        try:
                            await self._write([one])
                        except Exception:
                            await self._unwritable(*one)
        finally:
            self._flushing = None

    async def _write(self, batch: list[tuple[Claimed, Any]]) -> None:
        ctx, now = self._ctx, self._ctx.clock.now()
        stood = await self.settle(lambda connection: tasks.succeed_all(connection, batch, ctx.instance, now))
        if stood is None:
            return
        if not all(stood):
            log.warning("%d tasks of queue %s were settled after their lease was lost", stood.count(False), self._queue)
        self._succeeded.inc(len(batch))
        told = (ctx.events.publish(TaskChanged(task.id, "succeeded", 100, "")) for task, _ in batch)
        if ctx.bus.mode == "embedded":
            for one in told:
                await one
        else:  # each is an exchange with the bus
            await asyncio.gather(*told)

    async def _unwritable(self, task: Claimed, result: Any) -> None:
        """What a job returned cannot be stored: trying again would end in the same way."""
        log.error("the result of task %s (%s) cannot be stored", task.id, task.kind)
        now, error = self._ctx.clock.now(), f"the result cannot be stored: {result!r}"[:2000]
        await self.settle(lambda connection: tasks.fail(connection, task, self._ctx.instance, error, now, retry_at=None))
        await self.ended(task, "dead")

    async def settle(self, transaction: Transaction[Any]) -> Any:
        """Write an outcome; what the transaction returned, or None when the database was away for too long."""
        for wait_s in (*WAITS_S, None):
            try:
                return await self._ctx.sql.write(transaction)
            except EngineAway:
                if wait_s is not None:
                    await asyncio.sleep(wait_s)
        log.error("an outcome in queue %s could not be written; the task will be tried again", self._queue)
        return None

    async def ended(self, task: Claimed, outcome: str) -> None:
        self._ctx.metrics.tasks.labels(self._queue.value, outcome).inc()
        await self._ctx.events.publish(TaskChanged(task.id, outcome, 0, ""))
