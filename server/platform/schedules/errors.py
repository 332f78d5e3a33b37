"""What can go wrong with schedules and calendars."""

from __future__ import annotations

from server.errors import Conflict, NotFound


class ScheduleNotFound(NotFound):
    type = "schedule_not_found"


class CalendarNotFound(NotFound):
    type = "calendar_not_found"


class CalendarInUse(Conflict):
    """`count` schedules use it."""

    type = "calendar_in_use"
