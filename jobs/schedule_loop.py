"""The schedule loop: one instance leads; it plans what is due and hands it to the fire writer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime, timedelta

from jobs.firing import Firing
from server.context import Context
from server.dispatch.definitions import Definitions
from server.errors import EngineAway
from server.events import Resync
from server.platform.schedules import ledger, rows
from server.platform.schedules.agenda import Agenda, Due, Planned
from server.platform.schedules.ledger import LeaseLost
from server.platform.schedules.pausing import PauseChanged, read_pause
from server.platform.schedules.plan import start_of
from server.platform.schedules.rows import Schedule, ScheduleChanged, ScheduleKind

log = logging.getLogger(__name__)

LEASE = "planner"
LEASE_TTL_S = 15.0
LONGEST_SLEEP_S = 1.0


class ScheduleLoop:
    """Runs until stopped; leads while it holds the lease."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._firing = Firing(ctx)
        self._agenda = Agenda()
        self._schedules: dict[int, Schedule] = {}
        self._changed: set[int | None] = set()
        self._stretches: dict[int, datetime] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.leading = False
        self.epoch = 0
        ctx.events.listen(ScheduleChanged, lambda event: self._heard(event.schedule_id))
        ctx.events.listen(PauseChanged, lambda _event: self._heard(None))
        ctx.events.listen(Resync, lambda _event: self._heard(None))

    def start(self) -> None:
        self._task = asyncio.create_task(self._serve(), name="schedule-loop")

    async def stop(self) -> None:
        """Plan nothing more, say so in the ledger, and let another instance lead."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        if self.epoch:
            epoch, now = self.epoch, self._ctx.clock.now()
            with contextlib.suppress(EngineAway):
                await self._ctx.sql.write(lambda connection: ledger.stop(connection, epoch, now))

    def _heard(self, schedule_id: int | None) -> None:
        self._changed.add(schedule_id)
        self._wake.set()

    async def _serve(self) -> None:
        while True:
            try:
                await self._try_to_lead()
            except (LeaseLost, EngineAway) as lost:
                log.warning("planning stopped: %s", lost)
            except Exception:
                log.exception("planning failed and begins anew")
            await asyncio.sleep(1.0)

    async def _try_to_lead(self) -> None:
        ctx = self._ctx
        epoch = await ctx.bus.acquire(LEASE, ctx.instance, LEASE_TTL_S)
        if epoch is None:
            return
        lost = asyncio.Event()
        renewing = asyncio.create_task(self._renew(epoch, lost))
        try:
            self.epoch = await self._raise_epoch(epoch)
            self.leading = True
            ctx.metrics.leader.set(1)
            await self._lead(lost)
        finally:
            self.leading = False
            ctx.metrics.leader.set(0)
            renewing.cancel()
            with contextlib.suppress(EngineAway):
                await asyncio.shield(ctx.bus.release(LEASE, ctx.instance, epoch))

    async def _raise_epoch(self, epoch: int) -> int:
        """The epoch that storage checks: above all that storage has seen, even when the bus has forgotten its own count.

        A bus that starts anew (Redis without its data) would count from 1 again; the stored epoch goes on from where it was.
        """
        seen = await self._ctx.sql.read(ledger.latest_epoch)
        return max(epoch, seen + 1)

    async def _renew(self, epoch: int, lost: asyncio.Event) -> None:
        failing_since: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LEASE_TTL_S / 3)
            try:
                if not await self._ctx.bus.renew(LEASE, self._ctx.instance, epoch, LEASE_TTL_S):
                    break
                failing_since = None
            except EngineAway:
                failing_since = failing_since or loop.time()
                if loop.time() - failing_since > LEASE_TTL_S / 2:
                    break
        lost.set()
        self._wake.set()

    async def _lead(self, lost: asyncio.Event) -> None:
        ctx = self._ctx
        now, epoch = ctx.clock.now(), self.epoch
        taken = await ctx.sql.write(lambda connection: ledger.take_over(connection, epoch, ctx.instance, now))
        until = taken.until
        log.info("planning under epoch %d; the ledger is complete up to %s", epoch, until.isoformat())
        self._firing.begin(epoch, stopped_at=taken.stopped_at, taken_over_at=now, paused=(await ctx.sql.read(read_pause)).paused)
        self._agenda, self._schedules = Agenda(), {}
        self._changed.clear()
        self._stretches = await ctx.sql.read(lambda connection: ledger.find_stretches(connection, until))
        await self._load(until)
        while not lost.is_set():
            await self._fire_due()
            if self._changed:
                await self._take_changes(until)
                continue
            await self._sleep()
        raise LeaseLost("the lease could not be renewed")

    async def _fire_due(self) -> None:
        now = self._ctx.clock.now()
        due = await self._due(now)
        if due:
            await self._firing.fire(due, self._schedules, now=now)

    async def _due(self, now: datetime) -> list[Due]:
        next_at = self._agenda.next_at()
        if next_at is None or next_at > now:
            return []
        if len(self._agenda) < 100:
            return self._agenda.due(now)
        return await asyncio.to_thread(self._agenda.due, now)  # thousands of rows at once would hold the loop

    async def _sleep(self) -> None:
        next_at = self._agenda.next_at()
        sleep_s = LONGEST_SLEEP_S
        if next_at is not None:
            sleep_s = min(sleep_s, max(0.0, (next_at - self._ctx.clock.now()).total_seconds()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), sleep_s)
        self._wake.clear()

    async def _load(self, until: datetime) -> int:
        """Put every row into the agenda whose version it does not have; how many rows were removed."""
        found = await self._ctx.sql.read(rows.read_all)
        await self._fire_due()
        await asyncio.to_thread(self._put_all, found, until)
        kept = {schedule.id for schedule in found}
        gone = [schedule_id for schedule_id in self._schedules if schedule_id not in kept]
        for schedule_id in gone:
            self._remove(schedule_id)
        await self._prepare_soon()
        return len(gone)

    async def _prepare_soon(self) -> None:
        """Have the definitions at hand that fire within a minute: thousands that are due at once could not wait to be read."""
        horizon = self._ctx.clock.now() + timedelta(minutes=1)
        soon = [
            schedule.target_id
            for schedule in self._schedules.values()
            if schedule.kind is ScheduleKind.WORKFLOW
            and (instant := self._agenda.find_next(str(schedule.id))) is not None
            and instant.starts_at < horizon
        ]
        await self._ctx.services.get(Definitions).get_many(soon)

    def _put_all(self, found: list[Schedule], until: datetime) -> None:
        for schedule in found:
            self._put(schedule, until)

    def _put(self, schedule: Schedule, until: datetime) -> None:
        planned = Planned(id=str(schedule.id), version=schedule.version, cadence=schedule.cadence)
        after = max(until, schedule.effective_from)
        if schedule.id in self._stretches:
            after = max(after, start_of(schedule.cadence, self._stretches[schedule.id]))
        if self._agenda.put(planned, after):
            self._schedules[schedule.id] = schedule

    def _remove(self, schedule_id: int) -> None:
        self._agenda.remove(str(schedule_id))
        self._schedules.pop(schedule_id, None)

    async def _take_changes(self, until: datetime) -> None:
        """Bring in what was edited. What an old version still owes is handed out between reading the new one and putting it in: by then
        the time of the edit has passed, so that nothing falls between the two."""
        changed, self._changed = self._changed, set()
        self._firing.paused = (await self._ctx.sql.read(read_pause)).paused
        if None in changed or len(changed) > 50:
            await self._load(until)
            return
        edited: dict[int, Schedule | None] = {}
        for schedule_id in changed:
            assert schedule_id is not None
            edited[schedule_id] = await self._ctx.sql.read(lambda connection, number=schedule_id: rows.find(connection, number))  # type: ignore[misc]
        await self._fire_due()
        for schedule_id, schedule in edited.items():
            if schedule is None:
                self._remove(schedule_id)
            else:
                self._put(schedule, until)
