"""Makes, edits and removes schedules of jobs; those of workflows belong to their workflow."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Invalid
from server.platform import audit
from server.platform.registered_jobs import RegisteredJobs
from server.platform.schedules import reading, rows
from server.platform.schedules.cadence import FieldNames, check_cadence
from server.platform.schedules.errors import ScheduleNotFound
from server.platform.schedules.jitter import MAX_JITTER_S
from server.platform.schedules.misfire import Misfire
from server.platform.schedules.reading import ScheduleView
from server.platform.schedules.rows import Schedule, ScheduleChanged, ScheduleKind
from server.platform.tables import schedules

FIELDS = FieldNames(crons="crons", timezone="timezone", shift="shift_s", unit="unit")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=190, pattern=r"\S")]
Jitter = Annotated[int, msgspec.Meta(ge=0, le=MAX_JITTER_S)]
# A start that is older than a month is of no use to anybody.
Age = Annotated[int, msgspec.Meta(ge=0, le=31 * 86400)]
MisfireName = Literal["skip", "last", "all"]
OverlapName = Literal["skip", "parallel", "cancel_previous"]
Unset = msgspec.UnsetType
UNSET = msgspec.UNSET


class ScheduleBuiltIn(Conflict):
    """The system brings this schedule along: it can be disabled, not removed."""

    type = "schedule_built_in"


class ScheduleOfWorkflow(Conflict):
    """It is part of its workflow, and goes with it."""

    type = "schedule_of_workflow"


class ScheduleBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A schedule of a job. `queue` is the job's own, and need not be said; `jitter_s` puts each start off by up to so much."""

    name: Name
    job: str
    queue: str = ""
    kwargs: dict[str, Any] = {}
    crons: list[str] = []
    timezone: str = ""
    calendar: str | None = None
    enabled: bool = True
    misfire: MisfireName = "last"
    misfire_max_age_s: Age = 300
    overlap: OverlapName = "skip"
    jitter_s: Jitter = 0


class SchedulePatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be different. Of a workflow's schedule: crons, timezone, enabled and jitter_s."""

    name: Name | Unset = UNSET
    job: str | Unset = UNSET
    queue: str | Unset = UNSET
    kwargs: dict[str, Any] | Unset = UNSET
    crons: list[str] | Unset = UNSET
    timezone: str | Unset = UNSET
    calendar: str | Unset | None = UNSET
    enabled: bool | Unset = UNSET
    misfire: MisfireName | Unset = UNSET
    misfire_max_age_s: Age | Unset = UNSET
    overlap: OverlapName | Unset = UNSET
    jitter_s: Jitter | Unset = UNSET

    @property
    def changes(self) -> dict[str, Any]:
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}


async def create(ctx: Context, actor: Actor, body: ScheduleBody) -> ScheduleView:
    """A new schedule of a job, planned from now on. Raises Invalid."""
    now, registered = ctx.clock.now(), ctx.services.get(RegisteredJobs)
    kind = registered.check(body.job, body.kwargs)
    _check_queue(body.queue, kind.queue.value)
    timezone = body.timezone or ctx.settings.timezone
    cadence = check_cadence(body.crons, timezone, names=FIELDS)

    def transaction(connection: sa.Connection) -> int:
        _check_name(connection, body.name, registered)
        rows.get_calendar(connection, body.calendar)
        schedule_id = rows.insert(
            connection,
            actor,
            now,
            kind=ScheduleKind.SYSTEM.value,
            target_id=0,
            name=body.name,
            job=kind.kind,
            queue=kind.queue.value,
            kwargs=body.kwargs,
            crons=list(cadence.crons),
            timezone=timezone,
            calendar=body.calendar,
            shift_s=0,
            jitter_s=body.jitter_s,
            misfire=body.misfire,
            misfire_max_age_s=body.misfire_max_age_s,
            overlap=body.overlap,
            enabled=body.enabled,
        )
        audit.note(connection, now, actor, "schedule.create", f"schedule:{schedule_id}", name=body.name, job=kind.kind)
        return schedule_id

    schedule_id = await ctx.sql.write(transaction)
    await ctx.events.publish(ScheduleChanged(schedule_id))
    return await reading.get_row(ctx, schedule_id)


async def change(ctx: Context, actor: Actor, schedule_id: int, changes: dict[str, Any]) -> None:
    """Edit any columns of a row, as SchedulePatch checked them. Raises ScheduleNotFound, Invalid."""
    now, registered = ctx.clock.now(), ctx.services.get(RegisteredJobs)

    def transaction(connection: sa.Connection) -> None:
        schedule = rows.find(connection, schedule_id)
        if schedule is None:
            raise ScheduleNotFound()
        checked = _checked(connection, registered, schedule, dict(changes))
        if rows.update(connection, actor, now, schedule_id, **checked):
            audit.note(connection, now, actor, "schedule.update", f"schedule:{schedule_id}", changed=sorted(changes))

    await ctx.sql.write(transaction)
    await ctx.events.publish(ScheduleChanged(schedule_id))


async def remove(ctx: Context, actor: Actor, schedule_id: int) -> None:
    """Remove a schedule of a job; its history stays. Raises ScheduleNotFound, ScheduleBuiltIn, ScheduleOfWorkflow."""
    now, registered = ctx.clock.now(), ctx.services.get(RegisteredJobs)

    def transaction(connection: sa.Connection) -> None:
        schedule = rows.find(connection, schedule_id)
        if schedule is None:
            raise ScheduleNotFound()
        if schedule.kind is ScheduleKind.WORKFLOW:
            raise ScheduleOfWorkflow()
        if schedule.name in registered.built_in:
            raise ScheduleBuiltIn()
        rows.remove(connection, actor, now, schedule_id)
        audit.note(connection, now, actor, "schedule.delete", f"schedule:{schedule_id}", name=schedule.name, job=schedule.job)

    await ctx.sql.write(transaction)
    await ctx.events.publish(ScheduleChanged(schedule_id))


def _checked(connection: sa.Connection, registered: RegisteredJobs, old: Schedule, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes as columns."""
    if "crons" in changes or "timezone" in changes:
        crons, timezone = changes.get("crons", list(old.cadence.crons)), changes.get("timezone", old.cadence.timezone)
        changes["crons"] = list(check_cadence(crons, timezone, names=FIELDS).crons)
    if "calendar" in changes:
        rows.get_calendar(connection, changes["calendar"])
    if "misfire" in changes:
        changes["misfire"] = Misfire(changes["misfire"]).value
    if old.kind is ScheduleKind.WORKFLOW:
        return changes
    if old.name in registered.built_in:
        for name in ("name", "job"):
            if changes.get(name, getattr(old, name)) != getattr(old, name):
                raise Invalid.field(name, "schedule.built_in_field")
    elif changes.get("name", old.name) != old.name:
        _check_name(connection, changes["name"], registered)
    queue = old.queue
    if "job" in changes or "kwargs" in changes:
        kind = registered.check(changes.get("job", old.job), changes.get("kwargs", old.kwargs))
        queue = kind.queue.value
    _check_queue(changes.pop("queue", ""), queue)
    if queue != old.queue:
        changes["queue"] = queue
    return changes


def _check_queue(given: str, queue: str) -> None:
    """A job has one queue."""
    if given and given != queue:
        raise Invalid.field("queue", "field.choice", choices=queue)


def _check_name(connection: sa.Connection, name: str, registered: RegisteredJobs) -> None:
    """The system finds its own schedules by their names, so no other may have one of these."""
    same = sa.select(schedules.c.id).where(schedules.c.kind == ScheduleKind.SYSTEM.value, schedules.c.name == name)
    if name in registered.built_in or connection.execute(same).first() is not None:
        raise Invalid.field("name", "field.taken")
