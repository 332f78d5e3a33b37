"""Dates of HR systems in all their spellings."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from server.people.hr.dates import read_date

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    "given",
    [
        "2026-01-02",
        "2026/1/2",
        "2026.1.2",
        "20260102",
        20260102,
        "2026年1月2日",
        " 2026-01-02 ",
        "2026-01-02 00:00:00",
        "2026/1/2 08:30",
        "2026-01-02T08:30:00+08:00",
        "2026-01-01T16:00:00Z",
        "2026-01-01T16:00:00.000Z",
        46024,
        46024.5,
        "46024",
        date(2026, 1, 2),
        datetime(2026, 1, 2, 12),
        datetime(2026, 1, 1, 20, tzinfo=UTC),
    ],
)
def test_a_day_is_the_same_however_it_is_written(given: Any) -> None:
    assert read_date(given, SHANGHAI) == date(2026, 1, 2)


@pytest.mark.parametrize("given", [None, "", "  ", "0000-00-00", "0000-00-00 00:00:00"])
def test_nothing_means_no_day(given: Any) -> None:
    assert read_date(given, SHANGHAI) is None


@pytest.mark.parametrize(
    "given",
    ["2026-13-01", "2026-02-30", "next week", "02/01/2026", "2026-1/2", True, 5, 1e12, "1700000000000", "2026-01-02x", "1066-10-14", []],
)
def test_what_is_no_day_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_date(given, SHANGHAI)


def test_an_end_that_never_comes_can_be_read() -> None:
    assert read_date("9999-12-31", SHANGHAI) == date(9999, 12, 31)
