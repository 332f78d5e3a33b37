"""The instants of a cadence: a pure function of time, daylight saving and calendar included."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from server.platform.schedules.cadence import Cadence
from server.platform.schedules.crons import parse_cron
from server.platform.schedules.jitter import jitter
from server.platform.schedules.streams import BackwardStream, Stream
from server.platform.schedules.zones import HORIZON


class ClockChange(StrEnum):
    """How an instant meets a change of the clock."""

    MOVED = "moved"  # the cron names a wall time that the clock skipped: fires at the first instant after it
    FIRST_PASS = "first_pass"  # this wall time comes twice today; this is the first
    SECOND_PASS = "second_pass"  # … and this the second, which only crons with every hour use


class Instant(msgspec.Struct, frozen=True, gc=False):
    """One planned instant.

    `planned_at` is the cron time and `starts_at` that plus the shift and the jitter, both in UTC; `local` is the cron time on the wall
    clock of the cadence's zone, naive. `excluded` says which rule of the calendar closes it (a ClosedBy), None when it may fire.
    """

    planned_at: datetime
    starts_at: datetime
    local: datetime
    excluded: str | None = None
    clock: ClockChange | None = None


class Cursor:
    """Walks the instants of a cadence that start after a given time, in order; keeps its place, so a step is cheap."""

    __slots__ = ("_after", "_cadence", "_following", "_next", "_shift", "_streams")

    def __init__(self, cadence: Cadence, after: datetime) -> None:
        self._cadence = cadence
        self._shift = timedelta(seconds=cadence.shift_s)
        start = _naive(after) - self._shift
        if cadence.jitter_s:
            start = _before_last(cadence, start)
        self._after = after
        self._streams = [Stream(parse_cron(cron), cadence.timezone, start) for cron in cadence.crons]
        self._next: Instant | None = None
        self._following: Instant | None = None

    def peek(self) -> Instant | None:
        """The next instant; None when there is none within the horizon."""
        if self._next is None:
            self._next = self._first() if not self._cadence.jitter_s else self._put_off()
        return self._next

    def pop(self) -> Instant | None:
        """The next instant, and step past it; several crons on one instant are one."""
        instant = self.peek()
        if instant is not None:
            if not self._cadence.jitter_s:  # else the streams are past it, to know the one that follows
                self._advance(instant)
            self._next = None
        return instant

    def _first(self) -> Instant | None:
        """The instant at which the streams stand."""
        first: Stream | None = None
        for stream in self._streams:
            if stream.at is not None and (first is None or first.at is None or stream.at < first.at):
                first = stream
        if first is None or first.at is None or first.at >= HORIZON:
            return None
        at = first.at
        moved = all(stream.moved for stream in self._streams if stream.at == at)
        return _instant(self._cadence, first, at, moved, self._shift)

    def _advance(self, instant: Instant) -> None:
        at = instant.planned_at.replace(tzinfo=None)
        for stream in self._streams:
            if stream.at == at:
                stream.advance()

    def _take(self) -> Instant | None:
        instant = self._first()
        if instant is not None:
            self._advance(instant)
        return instant

    def _put_off(self) -> Instant | None:
        """The next instant with its jitter; one that began before the planned time of this one is past."""
        while True:
            instant = self._following or self._take()
            self._following = None
            if instant is None:
                return None
            self._following = self._take()
            instant = _jittered(self._cadence, instant, self._following)
            if instant.starts_at > self._after:
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
    bound = _naive(until) - timedelta(seconds=cadence.shift_s) + timedelta(microseconds=1)
    found = _backward(cadence, bound)
    if not cadence.jitter_s:
        yield from found
        return
    following = Cursor(
        msgspec.structs.replace(cadence, jitter_s=0, shift_s=0), bound.replace(tzinfo=UTC) - timedelta(microseconds=1)
    ).peek()
    for instant in found:
        late = _jittered(cadence, instant, following)
        if late.starts_at <= until:
            yield late
        following = instant


def start_of(cadence: Cadence, planned_at: datetime) -> datetime:
    """When the instant planned at that time starts, or would if it were one."""
    start = planned_at + timedelta(seconds=cadence.shift_s)
    if not cadence.jitter_s:
        return start
    following = Cursor(msgspec.structs.replace(cadence, jitter_s=0, shift_s=0), planned_at).peek()
    return start + jitter(cadence.seed, planned_at, cadence.jitter_s, following.planned_at if following else None)


def _backward(cadence: Cadence, bound: datetime) -> Iterator[Instant]:
    """The instants planned before the naive UTC time `bound`, the newest first, without jitter."""
    shift = timedelta(seconds=cadence.shift_s)
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


def _before_last(cadence: Cadence, at: datetime) -> datetime:
    """Just before the last instant planned up to the naive UTC time `at`: of those that are past, it alone may start later."""
    last = next(_backward(cadence, at + timedelta(microseconds=1)), None)
    return at if last is None else _naive(last.planned_at) - timedelta(microseconds=1)


def _jittered(cadence: Cadence, instant: Instant, following: Instant | None) -> Instant:
    late = jitter(cadence.seed, instant.planned_at, cadence.jitter_s, following.planned_at if following else None)
    return Instant(instant.planned_at, instant.starts_at + late, instant.local, instant.excluded, instant.clock)


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
