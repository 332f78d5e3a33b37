"""Schedules as rows: what people see of each, with when it fires next and what its last fire came to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.messages import Locale
from server.paging import Page, PageQuery, page_of
from server.platform.registered_jobs import RegisteredJobs
from server.platform.schedules import preview, rows
from server.platform.schedules.errors import ScheduleNotFound
from server.platform.schedules.plan import next_instant
from server.platform.schedules.rows import Schedule, ScheduleKind
from server.platform.tables import fires, schedules


class ScheduleQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`kind` is workflow or system; `job` narrows to the schedules of one job."""

    kind: str = ""
    job: str = ""
    enabled: bool | None = None


class ScheduleView(msgspec.Struct):
    """A schedule. `workflow_id` is set for a workflow's, `job` and `queue` for the others; a `built_in` one cannot be removed."""

    id: int
    kind: str
    built_in: bool
    name: str
    workflow_id: int | None
    job: str
    queue: str
    kwargs: dict[str, Any]
    crons: list[str]
    timezone: str
    calendar: str | None
    shift_s: int
    jitter_s: int
    enabled: bool
    misfire: str
    misfire_max_age_s: int
    overlap: str
    version: int
    next_run_time: datetime | None
    last_run_time: datetime | None
    last_outcome: str | None


class ComingQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    days: Annotated[int, msgspec.Meta(ge=1, le=preview.MAX_DAYS)] = 30
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class Coming(msgspec.Struct):
    """A coming instant: planned, and with shift and jitter started; `note` says what is odd about it."""

    planned_at: datetime
    starts_at: datetime
    local: str
    excluded: bool
    note: str | None


async def list_rows(ctx: Context, query: ScheduleQuery, *, seen: sa.ColumnElement[bool] | None) -> Page[ScheduleView]:
    """One page of the schedules; `seen` narrows them to what the caller may see."""
    now = ctx.clock.now()
    wanted = sa.select(schedules.c.id)
    if seen is not None:
        wanted = wanted.where(seen)
    if query.kind:
        wanted = wanted.where(schedules.c.kind == query.kind)
    if query.job:
        wanted = wanted.where(schedules.c.job == query.job)
    if query.enabled is not None:
        wanted = wanted.where(schedules.c.enabled.is_(query.enabled))
    sortable: dict[str, sa.ColumnElement[Any]] = {
        "id": schedules.c.id,
        "name": schedules.c.name,
        "job": schedules.c.job,
        "updated_at": schedules.c.updated_at,
    }
    searched = (schedules.c.name, schedules.c.job)

    def transaction(connection: sa.Connection) -> Page[ScheduleView]:
        page = page_of(connection, wanted, query, lambda row: int(row.id), sortable=sortable, searched=searched, order="id")
        found = rows.read_some(connection, page.items)
        views = _views(ctx, connection, [found[number] for number in page.items], now)
        return Page(views, page.total, page.page, page.page_size)

    return await ctx.sql.read(transaction)


async def get_row(ctx: Context, schedule_id: int) -> ScheduleView:
    """Raises ScheduleNotFound."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> ScheduleView:
        schedule = rows.find(connection, schedule_id)
        if schedule is None:
            raise ScheduleNotFound()
        return _views(ctx, connection, [schedule], now)[0]

    return await ctx.sql.read(transaction)


async def coming(ctx: Context, schedule: Schedule, query: ComingQuery, locale: Locale) -> list[Coming]:
    """What the schedule will do, the jitter of each start included."""
    found = await asyncio.to_thread(preview.preview, schedule.cadence, ctx.clock.now(), query.days, query.limit)
    return [
        Coming(
            fire.instant.planned_at,
            fire.instant.starts_at,
            fire.instant.local.isoformat(),
            fire.instant.excluded is not None,
            " ".join(note.say(locale) for note in fire.notes) or None,
        )
        for fire in found
    ]


def _views(ctx: Context, connection: sa.Connection, found: Sequence[Schedule], now: datetime) -> list[ScheduleView]:
    ids = [schedule.id for schedule in found]
    newest = (
        sa.select(fires.c.schedule_id, sa.func.max(fires.c.planned_at).label("planned_at"))
        .where(fires.c.schedule_id.in_(ids))
        .group_by(fires.c.schedule_id)
        .subquery()
    )
    same = sa.and_(fires.c.schedule_id == newest.c.schedule_id, fires.c.planned_at == newest.c.planned_at)
    last = {
        row.schedule_id: row
        for row in connection.execute(sa.select(fires.c.schedule_id, fires.c.starts_at, fires.c.outcome).join(newest, same))
    }
    built_in = ctx.services.get(RegisteredJobs).built_in
    return [_view(schedule, last.get(schedule.id), schedule.name in built_in, now) for schedule in found]


def _view(schedule: Schedule, last: Any, has_built_in_name: bool, now: datetime) -> ScheduleView:
    is_workflow = schedule.kind is ScheduleKind.WORKFLOW
    following = next_instant(schedule.cadence, now, open_only=True) if schedule.enabled else None
    return ScheduleView(
        id=schedule.id,
        kind=schedule.kind.value,
        built_in=not is_workflow and has_built_in_name,
        name=schedule.name,
        workflow_id=schedule.target_id if is_workflow else None,
        job=schedule.job,
        queue=schedule.queue,
        kwargs=schedule.kwargs,
        crons=list(schedule.cadence.crons),
        timezone=schedule.cadence.timezone,
        calendar=schedule.calendar,
        shift_s=schedule.cadence.shift_s,
        jitter_s=schedule.cadence.jitter_s,
        enabled=schedule.enabled,
        misfire=schedule.misfire.value,
        misfire_max_age_s=schedule.misfire_max_age_s,
        overlap=schedule.overlap,
        version=schedule.version,
        next_run_time=following.starts_at if following else None,
        last_run_time=last.starts_at if last else None,
        last_outcome=last.outcome if last else None,
    )
