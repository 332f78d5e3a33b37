"""Reads one cron expression, and walks the wall-clock times that it names."""

from __future__ import annotations

import copy
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from croniter import CroniterBadDateError, CroniterError, croniter

MAX_LENGTH = 200
_ALIASES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY, _SECOND = range(6)
_PROBE = datetime(2000, 1, 1)
_ONE_DAY = timedelta(days=1)


class BadCron(ValueError):
    """The expression cannot be used; `key` and `params` are the sentence in the catalogue that says why."""

    def __init__(self, key: str, **params: Any) -> None:
        self.key = key
        self.params = params
        super().__init__(key)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed cron: the times of day that it names, and croniter for the days.

    Which day matches does not depend on the time of day, so croniter is asked for days only (`0 0 day month weekday`), and the
    times within a day are the product of the expanded fields. `every_hour`: the hour field is a plain wildcard, so the cron
    means elapsed time rather than a time of day.
    """

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    every_hour: bool
    every_day: bool
    day_fields: str
    days: croniter[datetime]


def check_cron(expression: str) -> None:
    """Refuse with BadCron what is not 5 fields, or 6 with seconds last, or names a date that never comes (31 February)."""
    text = expression.strip()
    if not text:
        raise BadCron("cron.empty")
    if len(text) > MAX_LENGTH:
        raise BadCron("cron.too_long", limit=MAX_LENGTH)
    fields = text.split()
    if text.lower() not in _ALIASES and len(fields) not in (5, 6):
        raise BadCron("cron.fields", count=len(fields))
    for field in fields:
        # croniter draws R at random each time it reads the cron, and H needs an identity that a cron does not carry.
        if field[0] in "hHrR":
            raise BadCron("cron.hashed", part=field)
    try:
        croniter(text, _PROBE)
    except (CroniterError, ValueError, KeyError, TypeError, IndexError) as error:
        raise BadCron("cron.syntax", cron=text, detail=_first_line(error)) from error
    try:
        possible = croniter.is_valid(text, strict=True)
        # 28 years from 2000 hold every pair of date and weekday, 29 February on a Monday too; croniter's own 50 take twice as long.
        croniter(text, _PROBE, max_years_between_matches=28).get_next(datetime)
    except CroniterBadDateError:
        possible = False
    if not possible:
        raise BadCron("cron.impossible", cron=text)


@lru_cache(maxsize=8192)
def parse_cron(expression: str) -> Pattern:
    """The parsed form of an expression that `check_cron` accepts; a memo, for reading one costs more than copying it."""
    parsed = croniter(expression.strip(), _PROBE)
    fields = parsed.expressions
    day_fields = (fields[_DAY], fields[_MONTH], fields[_WEEKDAY])
    days = croniter(f"0 0 {' '.join(day_fields)}", _PROBE, ret_type=datetime)
    expanded = parsed.expanded
    return Pattern(
        hours=_numbers(expanded[_HOUR], 24),
        minutes=_numbers(expanded[_MINUTE], 60),
        seconds=_numbers(expanded[_SECOND], 60) if len(expanded) > 5 else (0,),
        every_hour=expanded[_HOUR] == ["*"],
        every_day=all(field in ("*", "?") for field in day_fields),
        day_fields=" ".join(day_fields),
        days=days,
    )


class Ticks:
    """The naive wall-clock times of one pattern, forward from or backward to a point."""

    __slots__ = ("_day", "_days", "_hour", "_minute", "_pattern", "_second")

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        # croniter keeps its position in itself, and never changes what it parsed.
        self._days = copy.copy(pattern.days)
        self._day: datetime | None = None
        self._hour = self._minute = self._second = 0

    def seek_after(self, local: datetime) -> datetime | None:
        """Move to the first time later than `local`; None when there is none."""
        pattern = self._pattern
        target = local.replace(microsecond=0) + timedelta(seconds=1)
        midnight = target.replace(hour=0, minute=0, second=0)
        self._day = self.find_day_from(midnight)
        self._hour = self._minute = self._second = 0
        if self._day is None or self._day > midnight:
            return self._here()
        hour = bisect_left(pattern.hours, target.hour)
        if hour < len(pattern.hours) and pattern.hours[hour] == target.hour:
            minute = bisect_left(pattern.minutes, target.minute)
            if minute < len(pattern.minutes) and pattern.minutes[minute] == target.minute:
                second = bisect_left(pattern.seconds, target.second)
                if second < len(pattern.seconds):
                    self._hour, self._minute, self._second = hour, minute, second
                    return self._here()
                minute += 1
            if minute < len(pattern.minutes):
                self._hour, self._minute = hour, minute
                return self._here()
            hour += 1
        if hour < len(pattern.hours):
            self._hour = hour
            return self._here()
        self._day = self.find_day_from(midnight + _ONE_DAY)
        return self._here()

    def next(self) -> datetime | None:
        """Move to the following time."""
        pattern = self._pattern
        self._second += 1
        if self._second < len(pattern.seconds):
            return self._here()
        self._second = 0
        self._minute += 1
        if self._minute < len(pattern.minutes):
            return self._here()
        self._minute = 0
        self._hour += 1
        if self._hour < len(pattern.hours):
            return self._here()
        self._hour = 0
        if self._day is not None:
            self._day = self.find_day_from(self._day + _ONE_DAY)
        return self._here()

    def seek_before(self, local: datetime) -> datetime | None:
        """Move to the last time earlier than `local`; None when there is none."""
        pattern = self._pattern
        target = (local - timedelta(microseconds=1)).replace(microsecond=0)
        midnight = target.replace(hour=0, minute=0, second=0)
        self._day = self.find_day_to(midnight)
        self._to_last_time()
        if self._day is None or self._day < midnight:
            return self._here()
        hour = bisect_left(pattern.hours, target.hour + 1) - 1
        if hour >= 0 and pattern.hours[hour] == target.hour:
            minute = bisect_left(pattern.minutes, target.minute + 1) - 1
            if minute >= 0 and pattern.minutes[minute] == target.minute:
                second = bisect_left(pattern.seconds, target.second + 1) - 1
                if second >= 0:
                    self._hour, self._minute, self._second = hour, minute, second
                    return self._here()
                minute -= 1
            if minute >= 0:
                self._hour, self._minute = hour, minute
                return self._here()
            hour -= 1
        if hour >= 0:
            self._hour = hour
            return self._here()
        self._day = self.find_day_to(midnight - _ONE_DAY)
        return self._here()

    def previous(self) -> datetime | None:
        """Move to the time before."""
        here = self._here()
        return None if here is None else self.seek_before(here)

    def _here(self) -> datetime | None:
        if self._day is None:
            return None
        pattern = self._pattern
        return self._day.replace(hour=pattern.hours[self._hour], minute=pattern.minutes[self._minute], second=pattern.seconds[self._second])

    def _to_last_time(self) -> None:
        pattern = self._pattern
        self._hour, self._minute, self._second = len(pattern.hours) - 1, len(pattern.minutes) - 1, len(pattern.seconds) - 1

    def find_day_from(self, midnight: datetime) -> datetime | None:
        """The first matching day at or after `midnight`."""
        if self._pattern.every_day:
            return midnight
        self._days.set_current(midnight - timedelta(seconds=1))
        try:
            return self._days.get_next(datetime)
        except (CroniterBadDateError, OverflowError):
            return None

    def find_day_to(self, midnight: datetime) -> datetime | None:
        """The last matching day at or before `midnight`."""
        if self._pattern.every_day:
            return midnight
        self._days.set_current(midnight + timedelta(seconds=59))
        try:
            return self._days.get_prev(datetime)
        except (CroniterBadDateError, OverflowError):
            return None


def _numbers(field: list[Any], size: int) -> tuple[int, ...]:
    return tuple(range(size)) if field == ["*"] else tuple(sorted(field))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1][:200] if lines else type(error).__name__
