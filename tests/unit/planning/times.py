"""What the tests of planning share: shorthand for times and cadences, and a slow but obvious reference."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter

from server.platform.schedules.cadence import Cadence
from server.platform.schedules.calendars_model import Calendar
from server.platform.schedules.plan import instants

MINUTE = timedelta(minutes=1)


def utc(written: str) -> datetime:
    """`2026-03-29 01:00` in UTC."""
    return datetime.fromisoformat(written).replace(tzinfo=UTC)


def make_cadence(*crons: str, zone: str = "Asia/Shanghai", shift_s: int = 0, calendar: Calendar | None = None) -> Cadence:
    return Cadence(crons=crons, timezone=zone, shift_s=shift_s, calendar=calendar)


def planned(cadence: Cadence, after: str, until: str, limit: int = 10_000) -> list[str]:
    """The planned instants that start in (after, until], in UTC, to the second."""
    return [f"{instant.planned_at:%Y-%m-%d %H:%M:%S}" for instant in instants(cadence, utc(after), utc(until), limit)]


def walls(cadence: Cadence, after: str, until: str) -> list[str]:
    """The same on the wall clock of the cadence's zone."""
    return [f"{instant.local:%m-%d %H:%M}" for instant in instants(cadence, utc(after), utc(until), 10_000)]


def slow_planned(crons: tuple[str, ...], zone_name: str, after: datetime, until: datetime) -> list[datetime]:
    """The rule itself, minute by minute of real time, for crons of minute and hour alone: which minutes in (after, until] fire.

    A minute fires when its wall time matches and is, for a cron that names hours, its first pass; and the first minute after a
    skip fires when such a cron matches a wall time that was skipped.
    """
    zone = ZoneInfo(zone_name)
    found: set[datetime] = set()
    for cron in crons:
        minutes, hours = croniter.expand(cron)[0][:2]

        def is_match(wall: datetime, minutes: list[Any] = minutes, hours: list[Any] = hours) -> bool:
            return (minutes == ["*"] or wall.minute in minutes) and (hours == ["*"] or wall.hour in hours)

        moment = after.replace(second=0, microsecond=0)
        while (moment := moment + MINUTE) <= until:
            local = moment.astimezone(zone)
            wall = local.replace(tzinfo=None, fold=0)
            if (local.fold == 0 or hours == ["*"]) and is_match(wall):
                found.add(moment)
            skipped = (moment - MINUTE).astimezone(zone).replace(tzinfo=None, fold=0) + MINUTE
            while hours != ["*"] and skipped < wall:
                if is_match(skipped):
                    found.add(moment)
                skipped += MINUTE
    return sorted(found)
