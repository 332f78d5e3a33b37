"""Ids of rows: 32 hex digits that begin with the time, so that new rows lie beside each other in the database's trees."""

from __future__ import annotations

import os
import re
import time

_NUMBER = re.compile(r"[0-9]{1,18}")


def new_id() -> str:
    """48 bits of milliseconds since 1970, then 80 random bits, as in UUID version 7 (RFC 9562) without its version and variant."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def find_row_number(text: str) -> int | None:
    """A row's number from its text, or None when it is none that a database counts to; `str.isdigit` would take ² for one."""
    return int(text) if _NUMBER.fullmatch(text) else None
