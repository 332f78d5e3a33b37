"""A calendar: on which dates a schedule may fire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum

import msgspec


class ClosedBy(StrEnum):
    """Why a calendar keeps a date closed."""

    EXCLUDED = "excluded_date"  # the date is in `exclude`: a holiday
    WEEKDAY = "closed_weekday"  # the weekday is not among `weekdays`, and the date is not in `include`
    NOT_INCLUDED = "not_included"  # `include_only`, and the date is not in `include`


class Calendar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named calendar. Dates are local to the schedule's zone.

    A date in `exclude` is closed whatever else is said. A date in `include` is open even when its weekday is not (a make-up
    workday, 调休). Otherwise `weekdays` decides: the ISO weekdays (Monday is 1) that are open, None for all. With
    `include_only`, the dates in `include` are the only ones that can be open. `notes` name single dates (Spring Festival).
    """

    name: str = ""
    description: str = ""
    exclude: frozenset[date] = frozenset()
    include: frozenset[date] = frozenset()
    weekdays: tuple[int, ...] | None = None
    include_only: bool = False
    notes: Mapping[date, str] = {}

    def find_closed(self, day: date) -> ClosedBy | None:
        """Why the calendar is closed on `day`, or None when it is open."""
        if day in self.exclude:
            return ClosedBy.EXCLUDED
        if day in self.include:
            return None
        if self.include_only:
            return ClosedBy.NOT_INCLUDED
        if self.weekdays is not None and day.isoweekday() not in self.weekdays:
            return ClosedBy.WEEKDAY
        return None

    def is_open(self, day: date) -> bool:
        return self.find_closed(day) is None
