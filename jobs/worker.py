"""Queue workers: claim due tasks, run their jobs, settle them; several instances share the table."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
import traceback
from collections.abc import Mapping
from datetime import timedelta

from jobs.registry import Giveup, Job, Work
from server.context import Context
from server.engines.sql import Transaction
from server.errors import EngineAway
from server.platform import tasks
from server.platform.tasks import Claimed, Queue, TaskChanged, TaskQueued

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
# How often a lease is renewed, and with it a request to stop noticed.
KEPT_EVERY_S = 2.0
ROUND_S = 2.0
CONCURRENCY = {
    Queue.HR_SYNC: 1,
    Queue.ACCOUNT_TASKS: 2,
    Queue.ACCOUNT_PROCESSING: 8,
    # They wait for worker processes most of the time, and none should wait for another's end to have its first pages found.
    Queue.DOCUMENTS: 8,
    Queue.MAIL: 4,
    Queue.MAINTENANCE: 2,
}


class QueueWorker:
    """Works on one queue with bounded concurrency until stopped."""

    def __init__(self, ctx: Context, jobs: Mapping[str, Job], queue: Queue, *, concurrency: int) -> None:
        self._ctx = ctx
        self._jobs = jobs
        self.queue = queue
        self.concurrency = concurrency
        self._running: set[asyncio.Task[None]] = set()
        self._resumable: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None
        ctx.events.listen(TaskQueued, self._heard)

    def start(self) -> None:
        self._loop = asyncio.create_task(self._serve(), name=f"queue-{self.queue}")

    async def stop(self, grace_s: float) -> None:
        """Claim nothing more; hand back at once what can go on elsewhere, give the rest `grace_s` seconds, then hand it back."""
        self._stopping = True
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        for task in self._running & self._resumable:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _heard(self, event: TaskQueued) -> None:
        if event.queue == self.queue.value:
            self._look.set()

    async def _serve(self) -> None:
        while True:
            try:
                full = await self._claim()
            except EngineAway as away:
                log.warning("queue %s waits: %s", self.queue, away.cause or away)
                full = False
            except Exception:
                log.exception("queue %s could not claim", self.queue)
                full = False
            if not full:
                await self._wait()
            elif len(self._running) >= self.concurrency:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._look.wait(), ROUND_S)
        self._look.clear()

    async def _claim(self) -> bool:
        """Start what is due and fits; True when there may be more."""
        room = self.concurrency - len(self._running)
        if room <= 0:
            return True
        now, owner = self._ctx.clock.now(), self._ctx.instance
        claimed = await self._ctx.sql.write(
            lambda connection: tasks.claim(connection, self.queue.value, room, owner=owner, now=now, lease=LEASE)
        )
        for task in claimed:
            working = asyncio.create_task(self._work(task), name=f"task-{task.kind}")
            self._running.add(working)
            working.add_done_callback(self._running.discard)
            job = self._jobs.get(task.kind)
            if job is not None and job.resumable:
                self._resumable.add(working)
                working.add_done_callback(self._resumable.discard)
        self._ctx.metrics.tasks_running.labels(self.queue.value).set(len(self._running))
        return len(claimed) == room

    async def _work(self, task: Claimed) -> None:
        job = self._jobs.get(task.kind)
        if job is None:
            await self._fail(task, None, f"no job is called {task.kind!r}", again=False)
            return
        began = time.monotonic()
        keeper = asyncio.create_task(self._keep(task, asyncio.current_task()))
        try:
            async with asyncio.timeout(job.time_limit_s):
                result = await job.function(self._ctx, **self._arguments(job, task))
        except asyncio.CancelledError as cancelled:
            await self._interrupted(task, cancelled)
        except TimeoutError:
            await self._fail(task, job, f"took longer than {job.time_limit_s:.0f} s", again=True)
        except Giveup as error:
            await self._fail(task, job, str(error), again=False)
        except job.gives_up_on as error:
            await self._fail(task, job, f"{type(error).__name__}: {error}", again=False)
        except EngineAway as away:
            await self._fail(task, job, f"{away} {away.cause}".strip(), again=True)
        except Exception as error:
            log.warning("task %s (%s) failed: %s", task.id, task.kind, error)
            await self._fail(task, job, "".join(traceback.format_exception(error, limit=-6)), again=True)
        else:
            now = self._ctx.clock.now()
            await self._settle(lambda connection: tasks.succeed(connection, task, self._ctx.instance, result, now))
            await self._ended(task, "succeeded")
        finally:
            keeper.cancel()
            self._ctx.metrics.task_time.labels(self.queue.value, task.kind).observe(time.monotonic() - began)

    def _arguments(self, job: Job, task: Claimed) -> dict[str, object]:
        arguments: dict[str, object] = dict(task.payload)
        if "work" in inspect.signature(job.function).parameters:
            arguments["work"] = Work(
                self._ctx, lambda percent, message: self._report(task, percent, message), task.attempt, task.max_attempts
            )
        return arguments

    async def _report(self, task: Claimed, percent: int, message: str) -> None:
        percent = max(0, min(100, percent))
        await self._ctx.sql.write(lambda connection: tasks.report(connection, task, self._ctx.instance, percent, message))
        await self._ctx.events.publish(TaskChanged(task.id, "running", percent, message))

    async def _keep(self, task: Claimed, working: asyncio.Task[None] | None) -> None:
        """Renew the lease; stop the work when the lease is lost or the task is to be cancelled."""
        while True:
            await asyncio.sleep(KEPT_EVERY_S)
            until = self._ctx.clock.now() + LEASE
            try:
                stop = await self._ctx.sql.write(lambda connection, until=until: tasks.renew(connection, task, self._ctx.instance, until))  # type: ignore[misc]
            except EngineAway:
                continue  # the lease may run out: then another worker takes over, and our outcome is not written
            if stop is not False and working is not None:
                working.cancel("stop" if stop else "lease lost")
                return

    async def _interrupted(self, task: Claimed, cancelled: asyncio.CancelledError) -> None:
        why, now, owner = (cancelled.args or ("",))[0], self._ctx.clock.now(), self._ctx.instance
        if why == "stop":
            await self._settle(lambda connection: tasks.end_cancelled(connection, task, owner, now))
            await self._ended(task, "cancelled")
        elif why != "lease lost":
            await self._settle(lambda connection: tasks.give_back(connection, task, owner, now))

    async def _fail(self, task: Claimed, job: Job | None, error: str, *, again: bool) -> None:
        now = self._ctx.clock.now()
        retry_at = None
        if again and job is not None and task.attempt < task.max_attempts:
            retry_at = now + timedelta(seconds=job.retry_after(task.attempt))
        await self._settle(lambda connection: tasks.fail(connection, task, self._ctx.instance, error, now, retry_at=retry_at))
        if retry_at is None:
            log.error("task %s (%s) is a dead letter: %s", task.id, task.kind, error.strip().splitlines()[-1] if error.strip() else "")
        await self._ended(task, "retried" if retry_at else "dead")

    async def _settle(self, transaction: Transaction[bool]) -> None:
        """Write the outcome; while the database is away, keep trying for as long as the lease could hold."""
        for wait_s in (0.2, 1, 3, 10, 20):
            try:
                if not await self._ctx.sql.write(transaction):
                    log.warning("a task of queue %s was settled after its lease was lost", self.queue)
                return
            except EngineAway:
                await asyncio.sleep(wait_s)
        log.error("an outcome in queue %s could not be written; the task will be tried again", self.queue)

    async def _ended(self, task: Claimed, outcome: str) -> None:
        self._ctx.metrics.tasks.labels(self.queue.value, outcome).inc()
        await self._ctx.events.publish(TaskChanged(task.id, outcome, 100 if outcome == "succeeded" else 0, ""))
