"""When a reminder's time has come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from server.projects.reminders import due_now, window

DUE = datetime(2026, 6, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "days"),
    [
        (8, None),
        (7.01, None),
        (7, 7),
        (5, 7),
        (4.01, 7),
        (4, None),
        (1, 1),
        (0, 1),
        (-0.9, 1),
        (-1, -1),
        (-3.9, -1),
        (-4, None),
        (-7, -7),
        (-11, None),
    ],
)
def test_the_latest_reminder_that_is_not_too_old(before: float, days: int | None) -> None:
    assert due_now(DUE, DUE - timedelta(days=before)) == days


def test_a_reminder_from_before_the_date_was_set_is_not_sent() -> None:
    now = DUE - timedelta(days=5)
    assert due_now(DUE, now, since=now - timedelta(days=1)) is None
    assert due_now(DUE, now, since=now - timedelta(days=10)) == 7


def test_every_date_with_a_reminder_is_in_the_window() -> None:
    for hours in range(-24 * 15, 24 * 15):
        now = DUE + timedelta(hours=hours)
        first, last = window(now)
        assert due_now(DUE, now) is None or first < DUE <= last
