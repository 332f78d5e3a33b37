"""Ids of rows: 32 hex digits that begin with the time, so that new rows lie beside each other in the database's trees."""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """48 bits of milliseconds since 1970, then 80 random bits, as in UUID version 7 (RFC 9562) without its version and variant."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
