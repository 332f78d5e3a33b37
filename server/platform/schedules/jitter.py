"""Jitter: puts each start off by a time that is drawn from the instant itself, so that every instance draws the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b

# Longer than this is a different time of day, not a jitter.
MAX_JITTER_S = 3600
_MILLISECOND = timedelta(milliseconds=1)


def jitter(seed: str, planned_at: datetime, jitter_s: int, following: datetime | None) -> timedelta:
    """How long after its time the instant `planned_at` starts: up to `jitter_s`, in whole milliseconds.

    Always less than the time to the `following` instant, so that the starts of a schedule keep the order of its instants.
    """
    most = 1000 * jitter_s
    if following is not None:
        most = min(most, (following - planned_at) // _MILLISECOND - 1)
    if most <= 0:
        return timedelta()
    drawn = blake2b(f"{seed}:{int(planned_at.timestamp())}".encode(), digest_size=8).digest()
    return (int.from_bytes(drawn) % (most + 1)) * _MILLISECOND
