"""Cuts a time zone into stretches of constant offset, so that wall clock and UTC convert by one subtraction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

# Planning stays within these; outside them a cron simply has no more instants.
FIRST = datetime(1900, 1, 1)
HORIZON = datetime(2200, 1, 1)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch `[start, end)` of naive UTC in which local time is UTC + `offset`.

    `earlier_end` is where the local clock stood when the segment before ended: later than `local_start` when the clock went
    back (that wall time comes again), earlier when it went forward (that wall time never comes). `later_start` is the same
    for the segment after.
    """

    zone: str
    start: datetime
    end: datetime
    offset: timedelta
    local_start: datetime
    local_end: datetime
    earlier_end: datetime
    later_start: datetime

    def after(self) -> Segment:
        return segment_at(self.zone, self.end)

    def before(self) -> Segment:
        return segment_at(self.zone, self.start - timedelta(seconds=1))


def segment_at(zone: str, at: datetime) -> Segment:
    """The segment of `zone` that holds the naive UTC time `at`."""
    for segment in _segments_of_year(zone, at.year):
        if at < segment.end:
            return segment
    raise AssertionError("the last segment of a year ends with the year")


def get_offset(zone: ZoneInfo, at: datetime) -> timedelta:
    """How far local time is ahead of UTC at the naive UTC time `at`."""
    return zone.fromutc(at.replace(tzinfo=zone)).replace(tzinfo=None) - at


# A memo of a pure function: a year costs 366 look-ups of an offset (about 0.3 ms), and thousands of schedules share few zones.
@lru_cache(maxsize=2048)
def _segments_of_year(key: str, year: int) -> tuple[Segment, ...]:
    """The segments of one UTC year, cut at its ends; zoneinfo has no list of transitions, so days are compared and halved."""
    zone = ZoneInfo(key)
    first, last = datetime(year, 1, 1), datetime(year + 1, 1, 1)
    cuts = [first]
    day = first
    offset = get_offset(zone, day)
    while day < last:
        following = day + timedelta(days=1)
        new = get_offset(zone, following)
        if new != offset:
            change = _bisect_change(zone, day, following, offset)
            if change < last:
                cuts.append(change)
        day, offset = following, new
    ends = [*cuts[1:], last]
    offsets = [get_offset(zone, cut) for cut in cuts]
    earlier = [get_offset(zone, first - timedelta(seconds=1)), *offsets[:-1]]
    later = [*offsets[1:], get_offset(zone, last)]
    return tuple(
        Segment(key, start, end, own, start + own, end + own, start + before, end + after)
        for start, end, own, before, after in zip(cuts, ends, offsets, earlier, later, strict=True)
    )


def _bisect_change(zone: ZoneInfo, low: datetime, high: datetime, before: timedelta) -> datetime:
    """The first whole second after `low` at which the offset is no longer `before`."""
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if get_offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high
