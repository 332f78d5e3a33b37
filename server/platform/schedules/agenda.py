"""The agenda: which schedules are due at a given time. It holds no clock; an edit recomputes one row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import msgspec

from server.platform.schedules.cadence import Cadence
from server.platform.schedules.misfire import ROW_LIMIT, Span, gather
from server.platform.schedules.plan import Cursor, Instant


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as the agenda knows it. `version` rises with each edit of the row."""

    id: str
    version: int
    cadence: Cadence


class Due(NamedTuple):
    """A schedule whose time has come: its instants in order, and `older` when they were too many to list."""

    schedule: Planned
    instants: list[Instant]
    older: Span | None


class _Row:
    """One schedule, its cursor, and how far it has been served."""

    __slots__ = ("cursor", "done_until", "schedule")

    def __init__(self, schedule: Planned, after: datetime) -> None:
        self.schedule = schedule
        self.cursor = Cursor(schedule.cadence, after)
        self.done_until = after


class Agenda:
    """A heap of (starts_at, number, row). A row that was replaced or removed stays in the heap until it comes up, and is then dropped."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._heap: list[tuple[datetime, int, _Row]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, schedule_id: object) -> bool:
        return schedule_id in self._rows

    def __iter__(self) -> Iterator[Planned]:
        return (row.schedule for row in self._rows.values())

    def put(self, schedule: Planned, after: datetime) -> bool:
        """Plan `schedule` for what starts after `after`; replaces the row of that id.

        Returns False, changing nothing, when the agenda already has this version or a newer one.
        """
        old = self._rows.get(schedule.id)
        if old is not None and old.schedule.version >= schedule.version:
            return False
        row = self._rows[schedule.id] = _Row(schedule, after)
        self._push(row)
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._rows):
            self._heap = [entry for entry in self._heap if self._is_live(entry[2])]
            heapify(self._heap)
        return True

    def remove(self, schedule_id: str) -> bool:
        """Forget a schedule; False when it was not there."""
        return self._rows.pop(schedule_id, None) is not None

    def find_next(self, schedule_id: str) -> Instant | None:
        """The next instant of one schedule, or None when it has none or is not there."""
        row = self._rows.get(schedule_id)
        return None if row is None else row.cursor.peek()

    def next_at(self) -> datetime | None:
        """When the next instant of all starts; None when there is nothing to wait for."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def due(self, now: datetime, limit: int = ROW_LIMIT) -> list[Due]:
        """All that starts at or before `now` and was not handed out before, earliest schedule first.

        At most `limit` instants a schedule are listed, the newest; older ones are one span. So a host that slept for a month
        costs no more than one that slept a minute.
        """
        found: list[Due] = []
        while True:
            self._drop_stale()
            if not self._heap or self._heap[0][0] > now:
                return found
            row = heappop(self._heap)[2]
            found.append(self._take(row, now, limit))
            self._push(row)

    def _take(self, row: _Row, now: datetime, limit: int) -> Due:
        after, row.done_until = row.done_until, now
        instants: list[Instant] = []
        while (instant := row.cursor.peek()) is not None and instant.starts_at <= now:
            if len(instants) == limit:
                window = gather(row.schedule.cadence, after, now, limit)
                row.cursor = Cursor(row.schedule.cadence, now)
                return Due(row.schedule, window.instants, window.older)
            instants.append(instant)
            row.cursor.pop()
        return Due(row.schedule, instants, None)

    def _push(self, row: _Row) -> None:
        instant = row.cursor.peek()
        if instant is not None:
            self._number += 1
            heappush(self._heap, (instant.starts_at, self._number, row))

    def _is_live(self, row: _Row) -> bool:
        return self._rows.get(row.schedule.id) is row

    def _drop_stale(self) -> None:
        while self._heap and not self._is_live(self._heap[0][2]):
            heappop(self._heap)
