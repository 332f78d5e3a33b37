"""Named calendars: kept, imported, changed; schedules that use one follow at once."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.platform import audit
from server.platform.schedules import rows
from server.platform.schedules.calendar_files import parse_calendar_json, parse_calendar_xlsx
from server.platform.schedules.calendars_model import Calendar
from server.platform.schedules.errors import CalendarInUse, CalendarNotFound
from server.platform.schedules.rows import ScheduleChanged
from server.platform.tables import calendars, schedules

XLSX_MAGIC = b"PK\x03\x04"


class CalendarBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A calendar as people write it; see Calendar for what each part means."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=190)]
    description: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    exclude: Annotated[list[date], msgspec.Meta(max_length=20000)] = []
    include: Annotated[list[date], msgspec.Meta(max_length=20000)] = []
    weekdays: list[Annotated[int, msgspec.Meta(ge=1, le=7)]] | None = None
    include_only: bool = False
    notes: dict[date, str] = {}


class CalendarView(CalendarBody):
    id: int
    used_by: int
    created_at: datetime
    updated_at: datetime


def _view(row: Any, used_by: int) -> CalendarView:
    body = msgspec.convert(row.body, Calendar)
    return CalendarView(
        id=row.id,
        name=row.name,
        description=body.description,
        exclude=sorted(body.exclude),
        include=sorted(body.include),
        weekdays=list(body.weekdays) if body.weekdays is not None else None,
        include_only=body.include_only,
        notes=dict(body.notes),
        used_by=used_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _uses(connection: sa.Connection) -> dict[str, int]:
    counted = sa.select(schedules.c.calendar, sa.func.count()).where(schedules.c.calendar.is_not(None)).group_by(schedules.c.calendar)
    return {str(row[0]): int(row[1]) for row in connection.execute(counted)}


async def list_calendars(ctx: Context, actor: Actor) -> list[CalendarView]:
    def transaction(connection: sa.Connection) -> list[CalendarView]:
        used = _uses(connection)
        return [_view(row, used.get(row.name, 0)) for row in connection.execute(sa.select(calendars).order_by(calendars.c.name))]

    return await ctx.sql.read(transaction)


def _row(connection: sa.Connection, name: str) -> Any:
    row = connection.execute(sa.select(calendars).where(calendars.c.name == name)).one_or_none()
    if row is None:
        raise CalendarNotFound()
    return row


async def get_calendar(ctx: Context, actor: Actor, name: str) -> CalendarView:
    """Raises CalendarNotFound."""
    return await ctx.sql.read(lambda connection: _view(_row(connection, name), _uses(connection).get(name, 0)))


async def put_calendar(ctx: Context, actor: Actor, body: CalendarBody) -> CalendarView:
    """Make or replace the calendar of that name; schedules that use it are planned anew from now on. Raises Invalid."""
    both = sorted(set(body.exclude) & set(body.include))
    if both:
        raise Invalid.field("include", "calendar.both_lists", dates=", ".join(day.isoformat() for day in both[:5]))
    calendar = Calendar(
        name=body.name,
        description=body.description,
        exclude=frozenset(body.exclude),
        include=frozenset(body.include),
        weekdays=tuple(sorted(set(body.weekdays))) if body.weekdays is not None else None,
        include_only=body.include_only,
        notes=body.notes,
    )
    return await keep(ctx, actor, calendar)


async def keep(ctx: Context, actor: Actor, calendar: Calendar) -> CalendarView:
    """Store a calendar under its name, new or in place of the old one."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> int:
        values = {"body": calendar, "updated_at": now}
        if not connection.execute(calendars.update().where(calendars.c.name == calendar.name).values(**values)).rowcount:
            connection.execute(calendars.insert().values(name=calendar.name, created_at=now, **values))
        audit.note(connection, now, actor, "calendar.put", f"calendar:{calendar.name}", dates=len(calendar.exclude) + len(calendar.include))
        return rows.touch_calendar(connection, calendar.name, now)

    if await ctx.sql.write(transaction):
        await ctx.events.publish(ScheduleChanged(None))
    return await get_calendar(ctx, actor, calendar.name)


async def import_calendar(ctx: Context, actor: Actor, name: str, data: bytes) -> CalendarView:
    """Make or replace a calendar from an .xlsx or JSON file. Raises Invalid naming row and column."""
    if not 1 <= len(name) <= 190:
        raise Invalid.field("name", "field.range", low=1, high=190)
    parse = parse_calendar_xlsx if data.startswith(XLSX_MAGIC) else parse_calendar_json
    draft = await asyncio.to_thread(parse, data)
    return await keep(ctx, actor, msgspec.structs.replace(draft, name=name))


async def remove_calendar(ctx: Context, actor: Actor, name: str) -> None:
    """Raises CalendarNotFound; CalendarInUse while a schedule uses it."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        row = _row(connection, name)
        used = _uses(connection).get(name, 0)
        if used:
            raise CalendarInUse(count=used)
        connection.execute(calendars.delete().where(calendars.c.id == row.id))
        audit.note(connection, now, actor, "calendar.remove", f"calendar:{name}")

    await ctx.sql.write(transaction)
