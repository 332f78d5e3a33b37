"""Dates as HR systems write them, read as ISO dates."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

# Excel counts days from here; it believes that 1900 had a 29 February, so serials below 61 are not taken.
_EXCEL_ZERO = date(1899, 12, 30)
_LEAST_SERIAL, _LARGEST_SERIAL = 61, 109_574  # until the end of 2199
_FIRST_YEAR, _LAST_YEAR = 1900, 2199
# "No end" in systems that must write a date.
ENDLESS_YEAR = 2099
_YMD = re.compile(r"(\d{4})(?:-(\d{1,2})-(\d{1,2})|/(\d{1,2})/(\d{1,2})|\.(\d{1,2})\.(\d{1,2})|年(\d{1,2})月(\d{1,2})日|(\d{2})(\d{2}))")
_TIME = re.compile(r"[T ]\d{1,2}:\d{2}")


def read_date(value: Any, zone: tzinfo) -> date | None:
    """The day that a value means; None when it means none. Raises ValueError when it cannot be told.

    Taken are dates and times of Excel and SQL, Excel's serial numbers, and text such as 2026-01-02, 2026/1/2, 2026.1.2, 20260102,
    2026年1月2日, also with a time behind it; a time with an offset is the day that it is in `zone`.
    """
    if isinstance(value, datetime):
        return _checked((value.astimezone(zone) if value.tzinfo else value).date())
    if isinstance(value, date):
        return _checked(value)
    if value is None or isinstance(value, bool):
        if value is None:
            return None
        raise ValueError("a truth value is no date")
    if isinstance(value, (int, float)):
        return _of_number(value)
    written = str(value).strip()
    if not written or written.startswith(("0000-00-00", "0000/00/00")):  # MySQL's way to say nothing
        return None
    return _of_text(written, zone)


def _of_number(value: float) -> date:
    if 19_000_101 <= value <= 21_991_231 and value == int(value):
        return _of_text(str(int(value)), None)
    if not _LEAST_SERIAL <= value <= _LARGEST_SERIAL:
        raise ValueError(f"{value} is no day")
    return _EXCEL_ZERO + timedelta(days=int(value))


def _of_text(written: str, zone: tzinfo | None) -> date:
    if re.fullmatch(r"\d{5}(\.\d+)?", written):
        return _of_number(float(written))
    matched = _YMD.match(written)
    if matched is None:
        raise ValueError("no date")
    rest = written[matched.end() :]
    year, month, day = (int(part) for part in matched.groups() if part is not None)
    found = date(year, month, day)
    if rest:
        if not _TIME.match(rest):
            raise ValueError("no date")
        # Python reads the time of ISO text alone; with other separators the day is as it is written.
        moment = datetime.fromisoformat(f"{found.isoformat()}T{rest[1:].strip()}")
        found = moment.astimezone(zone).date() if moment.tzinfo and zone else found
    return _checked(found)


def _checked(found: date) -> date:
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR and found.year != 9999:
        raise ValueError(f"the year {found.year}")
    return found
