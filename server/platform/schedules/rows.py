"""Schedule rows: what the planner and people read of them, and the one place that writes them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.errors import Invalid
from server.events import Event
from server.platform.schedules.cadence import Cadence
from server.platform.schedules.calendars_model import Calendar
from server.platform.schedules.misfire import Misfire
from server.platform.tables import calendars, schedule_changes, schedules


class ScheduleKind(StrEnum):
    WORKFLOW = "workflow"
    SYSTEM = "system"


class ScheduleChanged(Event, frozen=True):
    """A schedule was made, edited or removed; None: any of them may have been."""

    schedule_id: int | None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule row with its cadence."""

    id: int
    kind: ScheduleKind
    target_id: int
    name: str
    job: str
    queue: str
    kwargs: dict[str, Any]
    cadence: Cadence
    calendar: str | None
    misfire: Misfire
    misfire_max_age_s: int
    overlap: str
    enabled: bool
    version: int
    effective_from: datetime


_with_calendar = sa.select(schedules, calendars.c.body.label("calendar_body")).select_from(
    schedules.outerjoin(calendars, calendars.c.name == schedules.c.calendar)
)


def _read(row: Any) -> Schedule:
    calendar = msgspec.convert(row.calendar_body, Calendar) if row.calendar_body is not None else None
    return Schedule(
        id=row.id,
        kind=ScheduleKind(row.kind),
        target_id=row.target_id,
        name=row.name,
        job=row.job,
        queue=row.queue,
        kwargs=row.kwargs,
        cadence=Cadence(
            crons=tuple(row.crons),
            timezone=row.timezone,
            shift_s=row.shift_s,
            calendar=calendar,
            jitter_s=row.jitter_s,
            seed=str(row.id),
        ),
        calendar=row.calendar,
        misfire=Misfire(row.misfire),
        misfire_max_age_s=row.misfire_max_age_s,
        overlap=row.overlap,
        enabled=row.enabled,
        version=row.version,
        effective_from=row.effective_from,
    )


def read_all(connection: sa.Connection) -> list[Schedule]:
    return [_read(row) for row in connection.execute(_with_calendar.order_by(schedules.c.id))]


def read_some(connection: sa.Connection, schedule_ids: Iterable[int]) -> dict[int, Schedule]:
    """Those of the ids that exist, at most a page of them."""
    return {row.id: _read(row) for row in connection.execute(_with_calendar.where(schedules.c.id.in_(list(schedule_ids))))}


def read_versions(connection: sa.Connection, schedule_ids: Iterable[int]) -> dict[int, tuple[int, datetime]]:
    """The version of each schedule and the time from which it holds; a schedule that was removed is not among them."""
    columns = (schedules.c.id, schedules.c.version, schedules.c.effective_from)
    found = connection.execute(sa.select(*columns).where(schedules.c.id.in_(list(schedule_ids))))
    return {row.id: (row.version, row.effective_from) for row in found}


def find(connection: sa.Connection, schedule_id: int) -> Schedule | None:
    row = connection.execute(_with_calendar.where(schedules.c.id == schedule_id)).one_or_none()
    return None if row is None else _read(row)


def find_of(connection: sa.Connection, kind: ScheduleKind, target_id: int) -> Schedule | None:
    row = connection.execute(_with_calendar.where(schedules.c.kind == kind.value, schedules.c.target_id == target_id)).first()
    return None if row is None else _read(row)


def get_calendar(connection: sa.Connection, name: str | None, field: str = "calendar") -> Calendar | None:
    """The named calendar; None for no name. Raises Invalid for one that does not exist."""
    if name is None:
        return None
    body = connection.execute(sa.select(calendars.c.body).where(calendars.c.name == name)).scalar()
    if body is None:
        raise Invalid.field(field, "schedule.no_calendar", name=name)
    return msgspec.convert(body, Calendar)


def insert(connection: sa.Connection, actor: Actor, now: datetime, **values: Any) -> int:
    """A new row, planned from now on; its id. `values` are the columns that the caller decides."""
    made = connection.execute(schedules.insert().values(version=1, effective_from=now, created_at=now, updated_at=now, **values))
    assert made.inserted_primary_key
    schedule_id = int(made.inserted_primary_key[0])
    _note(connection, actor, now, schedule_id, "created", values["crons"], values["enabled"])
    return schedule_id


def update(connection: sa.Connection, actor: Actor, now: datetime, schedule_id: int, **changes: Any) -> bool:
    """Change a row from now on; False when nothing is different."""
    row = connection.execute(sa.select(schedules).where(schedules.c.id == schedule_id).with_for_update()).one()
    changed = {name: value for name, value in changes.items() if getattr(row, name) != value}
    if not changed:
        return False
    connection.execute(
        schedules.update()
        .where(schedules.c.id == schedule_id)
        .values(version=schedules.c.version + 1, effective_from=now, updated_at=now, **changed)
    )
    kind = "edited" if set(changed) - {"enabled"} else "enabled" if changed["enabled"] else "disabled"
    _note(connection, actor, now, schedule_id, kind, changed.get("crons", row.crons), changed.get("enabled", row.enabled))
    return True


def touch_calendar(connection: sa.Connection, name: str, now: datetime) -> int:
    """A calendar has changed: the schedules that use it are planned anew from now on; how many."""
    using = schedules.update().where(schedules.c.calendar == name)
    return connection.execute(using.values(version=schedules.c.version + 1, effective_from=now, updated_at=now)).rowcount


def remove(connection: sa.Connection, actor: Actor, now: datetime, schedule_id: int) -> None:
    """The row goes; its ledger stays until retention."""
    connection.execute(schedules.delete().where(schedules.c.id == schedule_id))
    _note(connection, actor, now, schedule_id, "removed", [], False)


def _note(connection: sa.Connection, actor: Actor, now: datetime, schedule_id: int, change: str, crons: list[str], enabled: bool) -> None:
    connection.execute(
        schedule_changes.insert().values(
            schedule_id=schedule_id, at=now, change=change, actor=actor.name, crons=list(crons), enabled=enabled
        )
    )
