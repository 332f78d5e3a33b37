"""A cadence: what a schedule says about time, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from server.errors import Fields, Invalid
from server.messages import text
from server.platform.schedules.calendars_model import Calendar
from server.platform.schedules.crons import BadCron, check_cron

MAX_CRONS = 32
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# A shift beyond a year says that something else was meant; it also keeps every computed time representable.
MAX_SHIFT_S = 366 * 86400
# A date that never comes takes croniter some 10 ms to tell: a body full of them is told of the first few.
MAX_CRON_ERRORS = 4
# Names that depend on the machine rather than on the zone database, or that stand for no zone.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})


class Cadence(msgspec.Struct, frozen=True, kw_only=True):
    """When a schedule fires: its crons (none: by hand alone), zone, shift in seconds (may be negative) and calendar.

    Each start is put off by up to `jitter_s` seconds, drawn from `seed` and the instant.
    """

    crons: tuple[str, ...]
    timezone: str = "Asia/Shanghai"
    shift_s: int = 0
    calendar: Calendar | None = None
    jitter_s: int = 0
    seed: str = ""


class FieldNames(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller's body calls each part, so that an error names the field that the caller wrote."""

    crons: str = "execute_cron_list"
    timezone: str = "timezone"
    shift: str = "execute_shift_time"
    unit: str = "execute_shift_unit"


WORKFLOW_FIELDS = FieldNames()


def check_cadence(
    crons: Sequence[str],
    timezone: str,
    shift: int = 0,
    unit: str = "s",
    calendar: Calendar | None = None,
    *,
    names: FieldNames = WORKFLOW_FIELDS,
) -> Cadence:
    """The cadence that these parts describe.

    Raises Invalid with the wrong fields, such as `execute_cron_list[1]`, all at once (of many wrong crons the first four).
    """
    fields: Fields = {}
    if len(crons) > MAX_CRONS:
        fields[names.crons] = [text("cron.too_many", limit=MAX_CRONS)]
    for index, cron in enumerate(crons[:MAX_CRONS]):
        try:
            check_cron(cron)
        except BadCron as error:
            fields[f"{names.crons}[{index}]"] = [text(error.key, **error.params)]
            if len(fields) >= MAX_CRON_ERRORS:
                break
    if not is_zone(timezone):
        fields[names.timezone] = [text("cron.zone", zone=timezone[:100])]
    seconds = UNIT_SECONDS.get(unit)
    if seconds is None:
        fields[names.unit] = [text("field.choice", choices=", ".join(UNIT_SECONDS))]
    elif abs(shift * seconds) > MAX_SHIFT_S:
        limit = MAX_SHIFT_S // seconds
        fields[names.shift] = [text("field.range", low=-limit, high=limit)]
    if fields:
        raise Invalid(fields=fields)
    return Cadence(
        crons=tuple(cron.strip() for cron in crons),
        timezone=timezone,
        shift_s=shift * (seconds or 0),
        calendar=calendar,
    )


def is_zone(name: str) -> bool:
    """Whether the zone database has `name`; lists no directory."""
    if not name or name in _NO_ZONES:
        return False
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a folder such as `Asia` is an OSError
        return False
    return True
