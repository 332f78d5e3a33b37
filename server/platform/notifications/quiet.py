"""When a mail may go out: outside somebody's quiet hours, and once a day for those who want it so. Functions of time alone."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec


class Quiet(msgspec.Struct, frozen=True):
    """Hours of every day in which nobody is disturbed, by the clock of a zone; over midnight when the end is the earlier one."""

    starts: time
    ends: time
    zone: str


class Daily(msgspec.Struct, frozen=True):
    """Once a day, at an hour of a zone."""

    hour: int
    zone: str


def quiet_of(starts: str | None, ends: str | None, zone: str | None) -> Quiet | None:
    """Quiet hours as they are stored (HH:MM); None when there are none."""
    return Quiet(time.fromisoformat(starts), time.fromisoformat(ends), zone) if starts and ends and zone else None


def leave(quiet: Quiet | None, at: datetime) -> datetime:
    """The instant itself when it is not in quiet hours, else the one at which they end."""
    if quiet is None:
        return at
    zone = ZoneInfo(quiet.zone)
    local = at.astimezone(zone)
    clock = local.time().replace(tzinfo=None)
    if quiet.starts < quiet.ends:
        inside, days = quiet.starts <= clock < quiet.ends, 0
    else:
        inside, days = clock >= quiet.starts or clock < quiet.ends, int(clock >= quiet.starts)
    if not inside:
        return at
    end = datetime.combine(local.date() + timedelta(days=days), quiet.ends, zone).astimezone(UTC)
    # Where the clock goes back, the end comes twice and the first may be over.
    return end if end > at else end + timedelta(hours=1)


def next_digest(daily: Daily, quiet: Quiet | None, at: datetime) -> datetime:
    """The first digest after an instant; one whose hour is in quiet hours comes at their end."""
    zone = ZoneInfo(daily.zone)
    day = at.astimezone(zone).date() - timedelta(days=1)  # yesterday's may wait for the end of quiet hours
    while True:
        slot = leave(quiet, datetime.combine(day, time(daily.hour), zone).astimezone(UTC))
        if slot > at:
            return slot
        day += timedelta(days=1)


def next_mail(daily: Daily | None, quiet: Quiet | None, at: datetime) -> datetime | None:
    """None: at once, with a mail of its own; else when it is told together with others."""
    if daily is not None:
        return next_digest(daily, quiet, at)
    end = leave(quiet, at)
    return None if end == at else end
