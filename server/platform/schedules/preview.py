"""Shows a cadence before it is saved: its coming fires with a word on each odd one, and what an edit would change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from server.messages import Text, text
from server.platform.schedules.cadence import Cadence
from server.platform.schedules.plan import Cursor, Instant

MAX_DAYS = 90
DIFF_LIMIT = 5000


class Fire(msgspec.Struct, frozen=True):
    """A coming instant; `notes` say what is odd about it (closed by the calendar, a change of the clock), mostly nothing."""

    instant: Instant
    notes: tuple[Text, ...] = ()


class Diff(msgspec.Struct, frozen=True):
    """How many starts an edit adds and drops; `capped`: only starts up to `until` were compared, so there may be more."""

    added: int
    dropped: int
    until: datetime
    capped: bool


def preview(cadence: Cadence, now: datetime, days: int = 30, limit: int = 1000) -> list[Fire]:
    """The instants that start within `days` (at most 90) after `now`, at most `limit`; closed dates are shown with their reason."""
    until = now + timedelta(days=min(days, MAX_DAYS))
    fires: list[Fire] = []
    for instant in _until(cadence, now, until):
        if len(fires) == limit:
            break
        fires.append(Fire(instant, notes(cadence, instant)))
    return fires


def notes(cadence: Cadence, instant: Instant) -> tuple[Text, ...]:
    """What is odd about an instant, in words."""
    found: list[Text] = []
    if instant.excluded is not None and cadence.calendar is not None:
        day = instant.local.date()
        found.append(
            text(
                f"schedule.closed.{instant.excluded}",
                calendar=cadence.calendar.name,
                date=day.isoformat(),
                weekday=text(f"schedule.weekday.{day.isoweekday()}"),
            )
        )
        if name := cadence.calendar.notes.get(day):
            found.append(text("schedule.closed.note", note=name))
    if instant.clock is not None:
        found.append(text(f"schedule.clock.{instant.clock}", time=f"{instant.local:%Y-%m-%d %H:%M:%S}", zone=cadence.timezone))
    return tuple(found)


def diff(old: Cadence | None, new: Cadence, now: datetime, days: int = 30, limit: int = DIFF_LIMIT) -> Diff:
    """What replacing `old` by `new` changes among the fires of the coming `days`; fires that a calendar closes do not count.

    At most `limit` instants of each are compared; both sides stop where the denser one was cut.
    """
    until = now + timedelta(days=min(days, MAX_DAYS))
    before, before_cut = _starts(old, now, until, limit)
    after, after_cut = _starts(new, now, until, limit)
    cuts = [cut for cut in (before_cut, after_cut) if cut is not None]
    if cuts:
        until = min(cuts)
        before = {at for at in before if at <= until}
        after = {at for at in after if at <= until}
    return Diff(added=len(after - before), dropped=len(before - after), until=until, capped=bool(cuts))


def _starts(cadence: Cadence | None, now: datetime, until: datetime, limit: int) -> tuple[set[datetime], datetime | None]:
    """The open starts, and, when there were more than `limit` instants, the last that was looked at."""
    starts: set[datetime] = set()
    if cadence is None:
        return starts, None
    last = now
    for number, instant in enumerate(_until(cadence, now, until)):
        if number == limit:
            return starts, last
        last = instant.starts_at
        if instant.excluded is None:
            starts.add(instant.starts_at)
    return starts, None


def _until(cadence: Cadence, after: datetime, until: datetime) -> Iterator[Instant]:
    cursor = Cursor(cadence, after)
    while (instant := cursor.pop()) is not None and instant.starts_at <= until:
        yield instant
