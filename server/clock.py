"""The clock: time is a parameter, so that tests can hold it still."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


class Clock:
    """The real time. `now()` is aware and in UTC; `monotonic()` is in seconds."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class HeldClock(Clock):
    """A clock that moves only when told to."""

    at: datetime = field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, **parts: float) -> None:
        """Move forward by a timedelta's parts, such as seconds=5."""
        self.at += timedelta(**parts)
