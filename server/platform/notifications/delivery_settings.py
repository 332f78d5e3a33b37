"""When people get their mails: at once or once a day, and never in their quiet hours."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Fields, Invalid
from server.messages import text
from server.platform import audit
from server.platform.notifications.preferences import own_id
from server.platform.notifications.quiet import Daily, Quiet, quiet_of
from server.platform.tables import notification_settings as settings

ClockTime = Annotated[str, msgspec.Meta(max_length=5, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class MailMode(StrEnum):
    AT_ONCE = "at_once"
    DAILY = "daily"  # together, at one hour of the day


class DeliverySettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`digest_hour`: of a daily mail. Mails and the person's webhooks wait from `quiet_from` to `quiet_to` (HH:MM).

    All by the clock of `timezone`; without one by the server's.
    """

    mail: MailMode = MailMode.AT_ONCE
    digest_hour: Annotated[int, msgspec.Meta(ge=0, le=23)] = 8
    quiet_from: ClockTime | None = None
    quiet_to: ClockTime | None = None
    timezone: Zone | None = None


class Timing(msgspec.Struct, frozen=True):
    """When somebody may be written to; without either part at any time."""

    daily: Daily | None = None
    quiet: Quiet | None = None


AT_ANY_TIME = Timing()


async def get_settings(ctx: Context, actor: Actor) -> DeliverySettings:
    """The caller's. Raises Forbidden for keys."""
    one = sa.select(settings).where(settings.c.user_id == own_id(actor))
    row = await ctx.sql.read(lambda connection: connection.execute(one).one_or_none())
    return DeliverySettings(timezone=ctx.settings.timezone) if row is None else _shown(row)


async def put_settings(ctx: Context, actor: Actor, body: DeliverySettings) -> DeliverySettings:
    """Keep the caller's; what waits already comes when it was to come. Raises Forbidden for keys, Invalid naming the field."""
    user_id, now = own_id(actor), ctx.clock.now()
    zone = body.timezone or ctx.settings.timezone
    if wrong := wrong_hours(body.quiet_from, body.quiet_to, zone):
        raise Invalid(fields=wrong)
    values = {
        "mail": body.mail.value,
        "digest_hour": body.digest_hour,
        "quiet_from": body.quiet_from,
        "quiet_to": body.quiet_to,
        "timezone": zone,
    }

    def transaction(connection: sa.Connection) -> DeliverySettings:
        connection.execute(settings.delete().where(settings.c.user_id == user_id))
        connection.execute(settings.insert().values(user_id=user_id, **values, updated_at=now))
        audit.note(connection, now, actor, "notifications.settings", f"user:{user_id}", **values)
        return _shown(connection.execute(sa.select(settings).where(settings.c.user_id == user_id)).one())

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # chosen in another tab at the same moment
        return await ctx.sql.write(transaction)


def timing_of(connection: sa.Connection, user_ids: Collection[int]) -> dict[int, Timing]:
    """When each of at most 500 users may be written to; who has said nothing is left out."""
    if not user_ids:
        return {}
    rows = connection.execute(sa.select(settings).where(settings.c.user_id.in_(sorted(user_ids))))
    return {row.user_id: _timing(row) for row in rows}


def wrong_hours(starts: str | None, ends: str | None, zone: str | None) -> Fields:
    """What is wrong with quiet hours, by field."""
    wrong: Fields = {}
    if (starts is None) != (ends is None):
        wrong["quiet_to" if ends is None else "quiet_from"] = [text("notification.quiet_both")]
    elif starts is not None and starts == ends:
        wrong["quiet_to"] = [text("notification.quiet_same")]
    if zone is not None and not is_zone(zone):
        wrong["timezone"] = [text("notification.zone", zone=zone)]
    return wrong


def is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # an unknown name is a KeyError, a folder such as Asia an OSError
        return False
    return True


def _timing(row: Any) -> Timing:
    daily = Daily(row.digest_hour, row.timezone) if row.mail == MailMode.DAILY else None
    return Timing(daily, quiet_of(row.quiet_from, row.quiet_to, row.timezone))


def _shown(row: Any) -> DeliverySettings:
    return DeliverySettings(
        mail=MailMode(row.mail), digest_hour=row.digest_hour, quiet_from=row.quiet_from, quiet_to=row.quiet_to, timezone=row.timezone
    )
