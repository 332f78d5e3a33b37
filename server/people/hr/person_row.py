"""A person and a department as HR says them, in our field names, and the hash that tells whether anything changed."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from typing import Literal

import msgspec

# Where a row's `extra` says what could not be taken: names of PROBLEMS with commas.
PROBLEMS_KEY = "_problems"

_ENCODE = msgspec.json.Encoder(order="sorted").encode


class Position(msgspec.Struct, kw_only=True):
    """A further position, beside the one in `department_code` and `title`."""

    department_code: str | None = None
    title: str | None = None


class PersonRow(msgspec.Struct, kw_only=True):
    """One person. Dates are ISO text; what HR leaves out is None. `extra` are the fields of `field_map.extra`, and PROBLEMS_KEY."""

    employee_no: str
    name: str
    email: str | None = None
    phone: str | None = None
    department_code: str | None = None
    title: str | None = None
    status: Literal["active", "left"] = "active"
    start_date: str | None = None
    end_date: str | None = None
    positions: list[Position] = []
    extra: dict[str, str] = {}


class DepartmentRow(msgspec.Struct, kw_only=True):
    """One department; without `parent_code` it is right below the source's organization."""

    code: str
    name: str
    parent_code: str | None = None


def row_hash(row: PersonRow | DepartmentRow) -> str:
    """SHA-256 in hex of the row as JSON with sorted keys: the same content has the same hash."""
    return hashlib.sha256(_ENCODE(row)).hexdigest()


def email_key(email: str | None) -> str | None:
    """What mail addresses are compared by."""
    return email.casefold() if email else None


def problems_of(row: PersonRow) -> list[str]:
    """What could not be taken from HR's row; names of PROBLEMS in normalizing.py."""
    return [name for name in row.extra.get(PROBLEMS_KEY, "").split(",") if name]


def is_active(row: PersonRow, today: date, early_days: int = 0) -> bool:
    """Whether the person should have accounts on a day: not left, started (or about to, within `early_days`), and not yet ended.

    The last day is a day of work.
    """
    if row.status != "active":
        return False
    if row.start_date is not None and row.start_date > (today + timedelta(days=early_days)).isoformat():
        return False
    return row.end_date is None or row.end_date >= today.isoformat()
