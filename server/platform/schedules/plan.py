"""The instants of a cadence: a pure function of time, daylight saving and calendar included."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from server.platform.schedules.cadence import Cadence
from server.platform.schedules.crons import parse_cron
from server.platform.schedules.streams import BackwardStream, Stream
from server.platform.schedules.zones import HORIZON


class ClockChange(StrEnum):
    """How an instant meets a change of the clock."""

    MOVED = "moved"  # the cron names a wall time that the clock skipped: fires at the first instant after it
    FIRST_PASS = "first_pass"  # this wall time comes twice today; this is the first
    SECOND_PASS = "second_pass"  # … and this the second, which only crons with every hour use


class Instant(msgspec.Struct, frozen=True, gc=False):
    """One planned instant.

    `planned_at` is the cron time and `starts_at` that plus the shift, both in UTC; `local` is the cron time on the wall clock of
    the cadence's zone, naive. `excluded` says which rule of the calendar closes it (a ClosedBy), None when it may fire.
    """

    planned_at: datetime
    starts_at: datetime
    local: datetime
    excluded: str | None = None
    clock: ClockChange | None = None


class Cursor:
    """Walks the instants of a cadence that start after a given time, in order; keeps its place, so a step is cheap."""

    __slots__ = ("_cadence", "_next", "_shift", "_streams")

    def __init__(self, cadence: Cadence, after: datetime) -> None:
        self._cadence = cadence
        self._shift = timedelta(seconds=cadence.shift_s)
        start = _naive(after) - self._shift
        self._streams = [Stream(parse_cron(cron), cadence.timezone, start) for cron in cadence.crons]
        self._next: Instant | None = None

    def peek(self) -> Instant | None:
        """The next instant; None when there is none within the horizon."""
        if self._next is None:
            first: Stream | None = None
            for stream in self._streams:
                if stream.at is not None and (first is None or first.at is None or stream.at < first.at):
                    first = stream
            if first is not None and first.at is not None and first.at < HORIZON:
                at = first.at
                moved = all(stream.moved for stream in self._streams if stream.at == at)
                self._next = _instant(self._cadence, first, at, moved, self._shift)
        return self._next

    def pop(self) -> Instant | None:
        """The next instant, and step past it; several crons on one instant are one."""
        instant = self.peek()
        if instant is not None:
            at = instant.planned_at.replace(tzinfo=None)
            for stream in self._streams:
                if stream.at == at:
                    stream.advance()
            self._next = None
        return instant


def instants(cadence: Cadence, after: datetime, until: datetime, limit: int) -> list[Instant]:
    """At most `limit` instants whose `starts_at` lies in `(after, until]`, in order. Closed dates are among them, marked."""
    cursor = Cursor(cadence, after)
    found: list[Instant] = []
    while len(found) < limit:
        instant = cursor.pop()
        if instant is None or instant.starts_at > until:
            break
        found.append(instant)
    return found


def next_instant(cadence: Cadence, after: datetime, *, open_only: bool = False) -> Instant | None:
    """The first instant that starts after `after`, or None; with `open_only` the first that the calendar leaves open.

    An open date is looked for among the next 10,000 instants, so that a calendar without one ends the search.
    """
    cursor = Cursor(cadence, after)
    for _ in range(10_000):
        instant = cursor.pop()
        if instant is None or not open_only or instant.excluded is None:
            return instant
    return None


def newest_first(cadence: Cadence, until: datetime) -> Iterator[Instant]:
    """The instants with `starts_at` at or before `until`, the newest first, without end in sight: the caller stops."""
    shift = timedelta(seconds=cadence.shift_s)
    bound = _naive(until) - shift + timedelta(microseconds=1)
    streams = [BackwardStream(parse_cron(cron), cadence.timezone, bound) for cron in cadence.crons]
    while True:
        last: BackwardStream | None = None
        for stream in streams:
            if stream.at is not None and (last is None or last.at is None or stream.at > last.at):
                last = stream
        if last is None or last.at is None:
            return
        at = last.at
        here = [stream for stream in streams if stream.at == at]
        yield _instant(cadence, last, at, all(stream.moved for stream in here), shift)
        for stream in here:
            stream.advance()


def _instant(cadence: Cadence, stream: Stream | BackwardStream, at: datetime, moved: bool, shift: timedelta) -> Instant:
    segment = stream.segment
    local = at + segment.offset
    clock: ClockChange | None = None
    if moved:
        clock = ClockChange.MOVED
    elif local < segment.earlier_end:
        clock = ClockChange.SECOND_PASS
    elif local >= segment.later_start:
        clock = ClockChange.FIRST_PASS
    planned = at.replace(tzinfo=UTC)
    excluded = None if cadence.calendar is None else cadence.calendar.find_closed(local.date())
    return Instant(planned, planned + shift, local, excluded, clock)


def _naive(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)
