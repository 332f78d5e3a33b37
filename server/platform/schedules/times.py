"""Times as people write them: with an offset, or on the wall clock of a zone, and within what can be planned."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from server.errors import Invalid
from server.platform.schedules.zones import FIRST, HORIZON


def read_time(given: str, timezone: str, field: str) -> datetime:
    """The time that ISO 8601 text stands for; without an offset it is in `timezone`.

    Raises Invalid naming the field for what is no time, or none between 1900 and 2200. A space before the offset is read as the
    plus sign that a query turns into a space.
    """
    text = given.strip()
    if "T" in text and text.count(" ") == 1:
        text = text.replace(" ", "+")
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=ZoneInfo(timezone))
        if FIRST <= at.astimezone(UTC).replace(tzinfo=None) < HORIZON:
            return at
    except (ValueError, OverflowError):
        pass  # told below
    raise Invalid.field(field, "field.value", detail=given[:40])
