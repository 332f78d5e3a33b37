"""Firing: enters due instants in the ledger and starts their runs and tasks, in the same transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.dispatch import starting
from server.dispatch.committing import carry_out
from server.dispatch.definitions import Definition, Definitions
from server.dispatch.effects import Effects
from server.ids import new_id
from server.platform.registered_jobs import RegisteredJobs
from server.platform.schedules import ledger, rows
from server.platform.schedules.agenda import Due
from server.platform.schedules.ledger import Entry, Outcome
from server.platform.schedules.misfire import Verdict, settle
from server.platform.schedules.rows import Schedule, ScheduleKind
from server.platform.schedules.task_starts import start_task
from server.platform.tasks import TaskQueued

log = logging.getLogger(__name__)

# Rows a transaction; so many keep the writer busy for some tens of milliseconds.
AT_ONCE = 100
# After so many instants in a row that ended alike without firing, the last row widens instead of a new one being added.
LONGEST_STREAK = 100


class _Streak(msgspec.Struct):
    outcome: Outcome
    length: int
    row_id: str


class Firing:
    """Writes the ledger for one planner. Remembers, per schedule, how many instants in a row did not fire and why."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._streaks: dict[int, _Streak] = {}
        self._epoch = 0
        self._stopped_at: datetime | None = None
        self._taken_over_at: datetime | None = None
        self.paused = False

    def begin(self, epoch: int, *, stopped_at: datetime | None, taken_over_at: datetime, paused: bool) -> None:
        """A new term as planner. What was planned between the stop of the one before and now was missed because of that stop."""
        self._epoch, self._stopped_at, self._taken_over_at, self.paused = epoch, stopped_at, taken_over_at, paused
        self._streaks.clear()

    async def fire(self, due: list[Due], schedules: Mapping[int, Schedule], *, now: datetime) -> None:
        """Settle all that is due. Raises LeaseLost when another instance plans; nothing is then started by this one."""
        # In a thread, as writing is: thousands at once would hold the loop.
        pairs = await asyncio.to_thread(self._pairs, due, schedules, now)
        workflows = {schedule.target_id for entry, schedule in pairs if _starts_run(entry, schedule)}
        definitions = await self._ctx.services.get(Definitions).get_many(sorted(workflows))
        # All at once: what the first of them lead to waits until the last is in the ledger.
        batches = [self._write(pairs[start : start + AT_ONCE], definitions, self._epoch) for start in range(0, len(pairs), AT_ONCE)]
        for outcome in await asyncio.gather(*batches, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        epoch = self._epoch
        await self._ctx.sql.write(lambda connection: ledger.planned_until(connection, epoch, now))

    def _pairs(self, due: list[Due], schedules: Mapping[int, Schedule], now: datetime) -> list[tuple[Entry, Schedule]]:
        pairs: list[tuple[Entry, Schedule]] = []
        for item in due:
            schedule = schedules.get(int(item.schedule.id))
            if schedule is not None:
                pairs.extend((entry, schedule) for entry in self._entries(item, schedule, now))
        return pairs

    def _entries(self, due: Due, schedule: Schedule, now: datetime) -> list[Entry]:
        entries = []
        if due.older is not None:
            older = due.older
            outcome = Outcome.DISABLED if not schedule.enabled else Outcome.PAUSED if self.paused else self._missed(older.first)
            reason = None if older.exact else "at least so many"
            entries.append(_entry(schedule, older.first, older.first, outcome, reason, through=older.last, count=older.count))
        for settled in settle(due.instants, now, schedule.misfire, schedule.misfire_max_age_s):
            instant = settled.instant
            outcome, reason = Outcome.FIRED, None
            if not schedule.enabled:
                outcome = Outcome.DISABLED
            elif self.paused:
                outcome = Outcome.PAUSED
            elif settled.verdict is Verdict.CALENDAR:
                outcome, reason = Outcome.CALENDAR, instant.excluded
            elif settled.verdict is Verdict.MISFIRE:
                outcome, reason = self._missed(instant.starts_at), f"{settled.why}, {settled.late_s:.0f} s late"
            entries.append(_entry(schedule, instant.planned_at, instant.starts_at, outcome, reason))
        return entries

    def _missed(self, starts_at: datetime) -> Outcome:
        """Why a late instant is late: the server had been stopped, or was not there without a word."""
        stopped, taken_over = self._stopped_at, self._taken_over_at
        if stopped is not None and taken_over is not None and stopped <= starts_at <= taken_over:
            return Outcome.SHUTDOWN
        return Outcome.MISFIRE

    async def _write(self, pairs: list[tuple[Entry, Schedule]], definitions: Mapping[int, Definition], epoch: int) -> None:
        ctx = self._ctx

        def transaction(connection: sa.Connection) -> tuple[Effects, list[tuple[Entry, Schedule]]]:
            ledger.check_epoch(connection, epoch)
            entries = [msgspec.structs.replace(entry) for entry, _ in pairs]
            recorded = ledger.find_recorded(connection, entries)
            versions = rows.read_versions(connection, {entry.schedule_id for entry in entries})
            fresh = [
                (entry, schedule)
                for entry, (_, schedule) in zip(entries, pairs, strict=True)
                if (entry.schedule_id, entry.planned_at) not in recorded and not _is_outdated(entry, schedule, versions)
            ]
            effects = Effects(ctx)
            _begin_runs(connection, effects, fresh, definitions)
            _queue_tasks(connection, effects, ctx.services.get(RegisteredJobs), fresh)
            self._widen([entry for entry, _ in fresh])
            ledger.write(connection, [entry for entry, _ in fresh], epoch=epoch, now=effects.now)
            return effects, fresh

        effects, fresh = await ctx.sql.write(transaction)
        await carry_out(ctx, effects)
        for entry, schedule in fresh:
            self._remember(entry)
            ctx.metrics.fires.labels(schedule.kind.value, entry.outcome.value).inc(entry.count)
            if entry.outcome is Outcome.FIRED:
                ctx.metrics.fire_lag.observe(max(0.0, (effects.now - entry.starts_at).total_seconds()))

    def _widen(self, entries: list[Entry]) -> None:
        for entry in entries:
            streak = self._streaks.get(entry.schedule_id)
            if streak is not None and entry.outcome is streak.outcome and streak.length >= LONGEST_STREAK:
                entry.widen = streak.row_id

    def _remember(self, entry: Entry) -> None:
        if entry.outcome is Outcome.FIRED:
            self._streaks.pop(entry.schedule_id, None)
            return
        streak = self._streaks.get(entry.schedule_id)
        if streak is None or streak.outcome is not entry.outcome:
            self._streaks[entry.schedule_id] = _Streak(entry.outcome, 1, entry.id)
        elif entry.widen is None:
            streak.length, streak.row_id = streak.length + 1, entry.id


def _entry(
    schedule: Schedule,
    planned_at: datetime,
    starts_at: datetime,
    outcome: Outcome,
    reason: str | None,
    through: datetime | None = None,
    count: int = 1,
) -> Entry:
    return Entry(
        id=new_id(),
        schedule_id=schedule.id,
        planned_at=planned_at,
        starts_at=starts_at,
        outcome=outcome,
        reason=reason,
        through=through,
        count=count,
    )


def _is_outdated(entry: Entry, schedule: Schedule, versions: Mapping[int, tuple[int, datetime]]) -> bool:
    """Whether an edit that we have not heard of yet has taken the instant over: it is planned anew under the edited row."""
    current = versions.get(schedule.id)
    return current is not None and current[0] != schedule.version and entry.starts_at > current[1]


def _starts_run(entry: Entry, schedule: Schedule) -> bool:
    return schedule.kind is ScheduleKind.WORKFLOW and entry.outcome is Outcome.FIRED


def _start(entry: Entry, definition: Definition) -> starting.Start:
    return starting.Start(
        definition=definition,
        run_id=entry.id,  # a fire and its run have one id
        kind="fired",
        execution_time=entry.planned_at,
        requested_by="schedule",
        step_ids=[new_id() for _ in definition.steps],
    )


def _begin_runs(
    connection: sa.Connection, effects: Effects, fresh: list[tuple[Entry, Schedule]], definitions: Mapping[int, Definition]
) -> None:
    wanted, starts = [], []
    for entry, schedule in fresh:
        if _starts_run(entry, schedule):
            definition = definitions.get(schedule.target_id)
            if definition is None:
                entry.outcome, entry.reason = Outcome.DISABLED, "the workflow was removed"
            else:
                wanted.append(entry)
                starts.append(_start(entry, definition))
    for entry, begun in zip(wanted, starting.begin(connection, effects, starts), strict=True):
        if begun.refused is None:
            entry.run_id = begun.run_id
        else:
            entry.outcome, entry.reason = Outcome(begun.refused), begun.detail


def _queue_tasks(connection: sa.Connection, effects: Effects, registered: RegisteredJobs, fresh: list[tuple[Entry, Schedule]]) -> None:
    for entry, schedule in fresh:
        if schedule.kind is ScheduleKind.SYSTEM and entry.outcome is Outcome.FIRED:
            entry.task_id = start_task(connection, registered, schedule, effects.now)
            if entry.task_id is None:
                entry.outcome, entry.reason = Outcome.OVERLAP, "the task of an earlier fire is not over"
            else:
                effects.events.append(TaskQueued(schedule.queue))
