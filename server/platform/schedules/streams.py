"""Turns the wall-clock times of one cron into instants, across changes of the clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from server.platform.schedules.crons import Pattern, Ticks
from server.platform.schedules.zones import FIRST, HORIZON, Segment, segment_at

_MICROSECOND = timedelta(microseconds=1)


class Stream:
    """The instants of one cron after a naive UTC time; `at` is the present one, None at the end.

    The rule is Vixie cron's. A cron with every hour (`30 * * * *`) means elapsed time: it fires in both passes of a repeated
    hour, and not for a skipped one. Any other names a time of day: it fires in the first pass alone, and for skipped wall
    times once, at the first instant after them (`moved`, unless it names that instant anyway).
    """

    __slots__ = ("_pattern", "_tick", "_ticks", "at", "moved", "segment")

    def __init__(self, pattern: Pattern, zone: str, after: datetime) -> None:
        self._pattern = pattern
        self._ticks = Ticks(pattern)
        self.segment = segment_at(zone, after)
        self.at: datetime | None = None
        self.moved = False
        start = after + self.segment.offset
        if not pattern.every_hour and start < self.segment.earlier_end:
            start = self.segment.earlier_end - _MICROSECOND  # the second pass was served by the first
        self._tick = self._ticks.seek_after(start)
        self._place()

    def advance(self) -> None:
        """Step to the next instant."""
        if not self.moved:  # else the tick has left the skipped times already
            self._tick = self._ticks.next()
        self._place()

    def _place(self) -> None:
        """Find the instant of the present wall-clock time, in this segment or a later one."""
        self.moved = False
        segment = self.segment
        while self._tick is not None and segment.start < HORIZON:
            if self._tick >= segment.local_end:
                segment = self._enter(segment, segment.after())
            elif self._tick >= segment.local_start:
                self.segment, self.at = segment, self._tick - segment.offset
                return
            else:  # skipped; all that was skipped is one instant, which is not moved when the cron names it anyway
                self._tick = self._ticks.seek_after(segment.local_start - _MICROSECOND)
                if not self._pattern.every_hour and self._tick != segment.local_start:
                    self.segment, self.at, self.moved = segment, segment.start, True
                    return
        self.segment, self.at = segment, None

    def _enter(self, old: Segment, new: Segment) -> Segment:
        if self._pattern.every_hour and new.local_start < old.local_end:
            self._tick = self._ticks.seek_after(new.local_start - _MICROSECOND)
        return new


class BackwardStream:
    """The same instants before a naive UTC time (exclusive), the newest first."""

    __slots__ = ("_pattern", "_tick", "_ticks", "at", "moved", "segment")

    def __init__(self, pattern: Pattern, zone: str, before: datetime) -> None:
        self._pattern = pattern
        self._ticks = Ticks(pattern)
        self.segment: Segment = segment_at(zone, before - _MICROSECOND)
        self.at: datetime | None = None
        self.moved = False
        self._tick = self._ticks.seek_before(before + self.segment.offset)
        self._place(None)

    def advance(self) -> None:
        """Step to the instant before."""
        last = self.at
        if self.moved:
            self._tick = self._ticks.seek_before(self.segment.earlier_end)
        else:
            self._tick = self._ticks.previous()
        self._place(last)

    def _place(self, last: datetime | None) -> None:
        self.moved = False
        segment = self.segment
        skips = not self._pattern.every_hour
        while self._tick is not None and segment.end > FIRST:
            floor = max(segment.local_start, segment.earlier_end) if skips else segment.local_start
            if self._tick >= floor:
                self.segment, self.at = segment, self._tick - segment.offset
                return
            if skips and segment.earlier_end <= self._tick < segment.local_start and last != segment.start:
                self.segment, self.at, self.moved = segment, segment.start, True
                return
            segment = segment.before()
            self._tick = self._ticks.seek_before(segment.local_end)
        self.segment, self.at = segment, None
