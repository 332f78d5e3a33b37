"""Schedules as people see them: list, edit a system job, run one now, reload; and the system's own rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict
from server.platform import audit
from server.platform.registered_jobs import RegisteredJobs
from server.platform.schedules import ledger, rows
from server.platform.schedules.cadence import FieldNames, check_cadence
from server.platform.schedules.errors import ScheduleNotFound
from server.platform.schedules.plan import Cursor
from server.platform.schedules.rows import Schedule, ScheduleChanged, ScheduleKind
from server.platform.schedules.task_starts import start_task
from server.platform.tables import fires
from server.platform.tasks import Queue, TaskQueued

FIELDS = FieldNames(crons="cron", timezone="timezone", shift="shift_s", unit="unit")


class ScheduleBusy(Conflict):
    """The task of an earlier run is not over."""

    type = "schedule_busy"


class ScheduledJob(msgspec.Struct):
    """A row of /scheduler/jobs; `workflow_id` is set for workflows, `job` names the task for system jobs."""

    id: int
    kind: str
    name: str
    cron: list[str]
    timezone: str
    calendar: str | None
    enabled: bool
    next_run_time: datetime | None
    last_run_time: datetime | None
    last_outcome: str | None
    workflow_id: int | None
    job: str
    kwargs: dict[str, Any]
    misfire: str
    overlap: str


class JobPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What may be changed. `cron` is one expression or several; `kwargs` only for system jobs."""

    cron: str | list[str] | None = None
    timezone: str | None = None
    enabled: bool | None = None
    kwargs: dict[str, Any] | None = None

    @property
    def crons(self) -> list[str] | None:
        return [self.cron] if isinstance(self.cron, str) else self.cron


class JobStarted(msgspec.Struct):
    id: int
    task_id: str | None = None
    run_id: str | None = None


class SystemSchedule(msgspec.Struct, frozen=True):
    """A schedule that the system brings along; people may then edit it."""

    name: str
    job: str
    queue: Queue
    crons: tuple[str, ...]


async def ensure_system_schedules(ctx: Context, actor: Actor, wanted: Sequence[SystemSchedule]) -> None:
    """Add the system's rows that are missing; rows that people have edited stay as they are."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> bool:
        ledger.hold(connection, now)
        present = {schedule.name for schedule in rows.read_all(connection) if schedule.kind is ScheduleKind.SYSTEM}
        added = [one for one in wanted if one.name not in present]
        for one in added:
            rows.insert(
                connection,
                actor,
                now,
                kind=ScheduleKind.SYSTEM.value,
                target_id=0,
                name=one.name,
                job=one.job,
                queue=one.queue.value,
                kwargs={},
                crons=list(one.crons),
                timezone=ctx.settings.timezone,
                calendar=None,
                shift_s=0,
                misfire="last",
                misfire_max_age_s=6 * 3600,
                overlap="skip",
                enabled=True,
            )
        return bool(added)

    try:
        added = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # another instance starts at the same moment
        added = await ctx.sql.write(transaction)
    if added:
        await ctx.events.publish(ScheduleChanged(None))


async def list_jobs(ctx: Context, actor: Actor) -> list[ScheduledJob]:
    """All schedules, with when each fires next and what its last fire came to."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> list[ScheduledJob]:
        newest = (
            sa.select(fires.c.schedule_id, sa.func.max(fires.c.planned_at).label("planned_at")).group_by(fires.c.schedule_id).subquery()
        )
        last = {
            row.schedule_id: row
            for row in connection.execute(
                sa.select(fires.c.schedule_id, fires.c.starts_at, fires.c.outcome).join(
                    newest, sa.and_(fires.c.schedule_id == newest.c.schedule_id, fires.c.planned_at == newest.c.planned_at)
                )
            )
        }
        return [_shown(schedule, last.get(schedule.id), now) for schedule in rows.read_all(connection)]

    return await ctx.sql.read(transaction)


def _shown(schedule: Schedule, last: Any, now: datetime) -> ScheduledJob:
    return ScheduledJob(
        id=schedule.id,
        kind=schedule.kind.value,
        name=schedule.name,
        cron=list(schedule.cadence.crons),
        timezone=schedule.cadence.timezone,
        calendar=schedule.calendar,
        enabled=schedule.enabled,
        next_run_time=_next_open(schedule, now) if schedule.enabled else None,
        last_run_time=last.starts_at if last else None,
        last_outcome=last.outcome if last else None,
        workflow_id=schedule.target_id if schedule.kind is ScheduleKind.WORKFLOW else None,
        job=schedule.job,
        kwargs=schedule.kwargs,
        misfire=schedule.misfire.value,
        overlap=schedule.overlap,
    )


def _next_open(schedule: Schedule, now: datetime) -> datetime | None:
    cursor = Cursor(schedule.cadence, now)
    for _ in range(1000):  # past this many closed instants, the list does not say
        instant = cursor.pop()
        if instant is None:
            return None
        if instant.excluded is None:
            return instant.starts_at
    return None


async def get_schedule(ctx: Context, schedule_id: int) -> Schedule:
    """Raises ScheduleNotFound."""
    schedule = await ctx.sql.read(lambda connection: rows.find(connection, schedule_id))
    if schedule is None:
        raise ScheduleNotFound()
    return schedule


async def get_job(ctx: Context, actor: Actor, schedule_id: int) -> ScheduledJob:
    for job in await list_jobs(ctx, actor):
        if job.id == schedule_id:
            return job
    raise ScheduleNotFound()


async def patch_system_job(ctx: Context, actor: Actor, schedule: Schedule, patch: JobPatch) -> None:
    """Edit a system job. Raises Invalid."""
    now = ctx.clock.now()
    crons = patch.crons if patch.crons is not None else list(schedule.cadence.crons)
    check_cadence(crons, patch.timezone if patch.timezone is not None else schedule.cadence.timezone, names=FIELDS)
    changes: dict[str, Any] = {"crons": crons}
    for name in ("timezone", "enabled", "kwargs"):
        if getattr(patch, name) is not None:
            changes[name] = getattr(patch, name)

    def transaction(connection: sa.Connection) -> None:
        if rows.update(connection, actor, now, schedule.id, **changes):
            audit.note(connection, now, actor, "schedule.update", f"schedule:{schedule.id}", changed=sorted(changes))

    await ctx.sql.write(transaction)
    await ctx.events.publish(ScheduleChanged(schedule.id))


async def run_system_job(ctx: Context, actor: Actor, schedule: Schedule) -> JobStarted:
    """Queue a system job's task now. Raises ScheduleBusy while an earlier one is not over."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> str | None:
        queued = start_task(connection, ctx.services.get(RegisteredJobs), schedule, now)
        if queued is not None:
            audit.note(connection, now, actor, "schedule.run", f"schedule:{schedule.id}", task=queued)
        return queued

    task_id = await ctx.sql.write(transaction)
    if task_id is None:
        raise ScheduleBusy()
    await ctx.events.publish(TaskQueued(schedule.queue))
    return JobStarted(id=schedule.id, task_id=task_id)
