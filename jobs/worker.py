"""Queue workers: claim due tasks, run their jobs, settle them; several instances share the table."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from jobs.outcomes import Outcomes
from jobs.registry import Giveup, Job, Work
from server.context import Context
from server.engines.sql import Transaction
from server.errors import EngineAway
from server.events import Resync
from server.platform import tasks
from server.platform.queue_settings import QueueSettingsChanged, read_settings
from server.platform.task_logs import Lines, TaskLogs, lines_of_task, trace_of
from server.platform.tasks import Claimed, Queue, TaskChanged, TaskQueued

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
# How often leases are renewed, and with them a request to stop noticed.
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
# While tasks take less than this on average, more are claimed than can run: a claim costs as much as many of them.
SHORT_S = 0.02
AHEAD = 128
# The weight of the newest task in the average.
NEWEST = 0.1


class _Held(NamedTuple):
    """A task in our hands: since when (monotonic), what works on it, and what it logs."""

    task: Claimed
    since: float
    working: asyncio.Task[None]
    lines: Lines


class QueueWorker:
    """Works on one queue with bounded concurrency until stopped."""

    def __init__(self, ctx: Context, jobs: Mapping[str, Job], queue: Queue, *, concurrency: int) -> None:
        self._ctx = ctx
        self._jobs = jobs
        self._takes_work: dict[str, bool] = {}
        self.queue = queue
        self.concurrency = concurrency
        self._default = concurrency
        self._held: dict[tuple[str, int], _Held] = {}
        # Claimed, not begun; with the time of the claim.
        self._ready: deque[tuple[Claimed, float]] = deque()
        self._average_s = 1.0
        self._outcomes = Outcomes(ctx, queue)
        self._look = asyncio.Event()
        # Whether the last claim left something over, as far as it could see.
        self._more = False
        self._settings_are_old = True
        self._stopping = False
        self._loops: list[asyncio.Task[None]] = []
        ctx.events.listen(TaskQueued, self._heard)
        ctx.events.listen(QueueSettingsChanged, self._set)
        ctx.events.listen(Resync, self._resync)

    @property
    def running(self) -> int:
        """How many tasks are being worked on."""
        return len(self._held)

    def start(self) -> None:
        self._loops = [
            asyncio.create_task(self._serve(), name=f"queue-{self.queue}"),
            asyncio.create_task(self._keep(), name=f"keep-{self.queue}"),
        ]

    async def stop(self, grace_s: float) -> None:
        """Claim nothing more; hand back at once what can go on elsewhere, give the rest `grace_s` seconds, then hand it back."""
        self._stopping = True
        self._look.set()
        if self._loops:  # a claim that is under way must not be forgotten: its tasks would wait for their leases
            await asyncio.wait(self._loops[:1], timeout=max(grace_s, 2.0))
            self._loops[0].cancel()
            await asyncio.gather(self._loops[0], return_exceptions=True)
        await self._return(0.0)
        for held in list(self._held.values()):
            job = self._jobs.get(held.task.kind)
            if job is not None and job.resumable:
                held.working.cancel()
        if self._held:
            await asyncio.wait(self._working(), timeout=grace_s)
        for working in self._working():
            if not working.cancelling():  # else it is being handed back already
                working.cancel()
        await asyncio.gather(*self._working(), return_exceptions=True)
        await self._outcomes.flushed()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []

    def _working(self) -> list[asyncio.Task[None]]:
        return [held.working for held in self._held.values()]

    # What is heard.

    def _heard(self, event: TaskQueued) -> None:
        if event.queue == self.queue.value:
            self._look.set()

    def _set(self, event: QueueSettingsChanged) -> None:
        if event.queue == self.queue.value:
            self.concurrency = event.concurrency
            self._look.set()

    def _resync(self, _event: Resync) -> None:
        self._settings_are_old = True
        self._look.set()

    # Claiming.

    async def _serve(self) -> None:
        while not self._stopping:
            self._look.clear()
            try:
                if self._settings_are_old:
                    await self._read_settings()
                await self._claim()
            except EngineAway as away:
                log.warning("queue %s waits: %s", self.queue, away.cause or away)
            except Exception:
                log.exception("queue %s could not claim", self.queue)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), ROUND_S)

    async def _read_settings(self) -> None:
        self._settings_are_old = False
        try:
            set_by_people = await self._ctx.sql.read(read_settings)
        except EngineAway:
            self._settings_are_old = True
            raise
        self.concurrency = set_by_people.get(self.queue.value, self._default)

    async def _claim(self) -> None:
        """Take what is due and fits, and begin it."""
        free = self.concurrency - len(self._held) - len(self._ready)
        ahead = AHEAD if self._average_s < SHORT_S else 0
        room = max(0, self.concurrency + ahead - len(self._held) - len(self._ready) - len(self._outcomes))
        if free <= 0 and room <= AHEAD // 2:
            return
        limit = min(max(0, free), room)
        ahead = min(ahead, room - limit)
        now, owner = self._ctx.clock.now(), self._ctx.instance
        claimed = await self._ctx.sql.write(
            lambda connection: tasks.claim(connection, self.queue.value, limit, owner=owner, now=now, lease=LEASE, ahead=ahead)
        )
        self._more = len(claimed) >= limit and bool(claimed)
        since = time.monotonic()
        self._ready.extend((task, since) for task in claimed)
        self._begin()

    def _begin(self) -> None:
        """Begin as many of the claimed as may run."""
        while self._ready and len(self._held) < self.concurrency and not self._stopping:
            task, _ = self._ready.popleft()
            lines, key = Lines(), (task.id, task.attempt)
            working = asyncio.create_task(self._work(task, lines), name=f"task-{task.kind}")
            self._held[key] = _Held(task, time.monotonic(), working, lines)
            working.add_done_callback(lambda _done, key=key: self._over(key))  # type: ignore[misc]
        self._ctx.metrics.tasks_running.labels(self.queue.value).set(len(self._held))

    def _over(self, key: tuple[str, int]) -> None:
        self._held.pop(key, None)
        self._begin()
        if self._more and len(self._ready) <= AHEAD // 2:
            self._look.set()

    async def _return(self, older_than_s: float) -> None:
        """Hand back what was claimed so long ago and has not begun: another instance may have room for it."""
        before = time.monotonic() - older_than_s
        old = [task for task, since in self._ready if since <= before]
        if not old:
            return
        self._ready = deque((task, since) for task, since in self._ready if since > before)
        now, owner = self._ctx.clock.now(), self._ctx.instance
        await self._outcomes.settle(lambda connection: [tasks.give_back(connection, task, owner, now) for task in old])

    # Keeping.

    async def _keep(self) -> None:
        """Look after what lasts: a task that is over before the next round costs nothing here."""
        while True:
            await asyncio.sleep(KEPT_EVERY_S)
            try:
                await self._renew()
                await self._return(KEPT_EVERY_S)
            except EngineAway:
                continue  # the leases may run out: then another worker takes over, and our outcome is not written
            except Exception:
                log.exception("queue %s could not keep its leases", self.queue)

    async def _renew(self) -> None:
        """Renew the leases; stop what has lost its lease or is to be cancelled."""
        begun_before = time.monotonic() - KEPT_EVERY_S / 2
        old = [held for held in self._held.values() if held.since <= begun_before]
        if not old:
            return
        owner, until = self._ctx.instance, self._ctx.clock.now() + LEASE
        stops = await self._ctx.sql.write(lambda connection: [tasks.renew(connection, held.task, owner, until) for held in old])
        for held, stop in zip(old, stops, strict=True):
            if stop is not False and (held.task.id, held.task.attempt) in self._held:
                held.working.cancel("stop" if stop else "lease lost")
        for held in old:
            await self._ctx.services.get(TaskLogs).store(held.task.id, held.task.attempt, held.lines)

    # Working.

    async def _work(self, task: Claimed, lines: Lines) -> None:
        job = self._jobs.get(task.kind)
        if job is None:
            await self._fail(task, None, f"no job is called {task.kind!r}", again=False)
            return
        lines_of_task.set(lines)
        began = time.monotonic()
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
            await self._fail(task, job, trace_of(error), again=True)
        else:
            self._outcomes.succeed(task, result)
        finally:
            took_s = time.monotonic() - began
            self._average_s += NEWEST * (took_s - self._average_s)
            self._ctx.metrics.task_time.labels(self.queue.value, task.kind).observe(took_s)
            if lines.count:
                await self._ctx.services.get(TaskLogs).store(task.id, task.attempt, lines)

    def _arguments(self, job: Job, task: Claimed) -> dict[str, object]:
        arguments: dict[str, object] = dict(task.payload)
        takes_work = self._takes_work.get(job.kind)
        if takes_work is None:
            takes_work = self._takes_work[job.kind] = "work" in inspect.signature(job.function).parameters
        if takes_work:
            arguments["work"] = Work(
                self._ctx, lambda percent, message: self._report(task, percent, message), task.attempt, task.max_attempts
            )
        return arguments

    async def _report(self, task: Claimed, percent: int, message: str) -> None:
        percent = max(0, min(100, percent))
        await self._ctx.sql.write(lambda connection: tasks.report(connection, task, self._ctx.instance, percent, message))
        await self._ctx.events.publish(TaskChanged(task.id, "running", percent, message))

    async def _interrupted(self, task: Claimed, cancelled: asyncio.CancelledError) -> None:
        why, now, owner = (cancelled.args or ("",))[0], self._ctx.clock.now(), self._ctx.instance
        if why == "stop":
            await self._settle(lambda connection: tasks.end_cancelled(connection, task, owner, now))
            await self._outcomes.ended(task, "cancelled")
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
        await self._outcomes.ended(task, "retried" if retry_at else "dead")

    async def _settle(self, transaction: Transaction[bool]) -> None:
        if await self._outcomes.settle(transaction) is False:
            log.warning("a task of queue %s was settled after its lease was lost", self.queue)
