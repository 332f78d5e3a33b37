"""Webhooks: the addresses of a person or an organization that are told by a POST. The address and the secret are never shown again."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid, NotFound
from server.messages import Locale, Text, say, text
from server.platform import audit
from server.platform.notifications.delivery_settings import ClockTime, Zone, wrong_hours
from server.platform.notifications.kinds import Kind
from server.platform.notifications.webhook_formats import Format, Line, NotTaken, build
from server.platform.notifications.webhook_sending import post
from server.platform.sealing import seal, unseal
from server.platform.tables import notification_webhooks as webhooks
from server.platform.tables import webhook_messages as messages

MOST_WEBHOOKS = 10
SHORTEST_SECRET = 16
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=190)]
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Secret = Annotated[str, msgspec.Meta(max_length=500)]
KindList = Annotated[list[Kind], msgspec.Meta(max_length=100)]


class WebhookNotFound(NotFound):
    type = "webhook_not_found"


class Owner(NamedTuple):
    """Whose webhook it is: a person's or an organization's."""

    user_id: int | None = None
    organization_id: int | None = None

    @property
    def condition(self) -> sa.ColumnElement[bool]:
        if self.user_id is not None:
            return webhooks.c.user_id == self.user_id
        return webhooks.c.organization_id == self.organization_id

    @property
    def inside(self) -> bool:
        """Whether addresses of private networks may be told: those that an organization's administrator names, not anybody's."""
        return self.organization_id is not None


class Webhook(msgspec.Struct, kw_only=True):
    """A webhook. `host`: of its address; `secret`: "set" or null; `failures`: in a row; `waiting`: messages that are still to be sent.

    `kinds`, `quiet_from`, `quiet_to`, `timezone` are an organization's; a person's follow their preferences and quiet hours.
    """

    id: int
    name: str
    format: Format
    host: str
    secret: str | None
    kinds: list[str]
    locale: Locale
    enabled: bool
    quiet_from: str | None
    quiet_to: str | None
    timezone: str | None
    failures: int
    last_error: str | None
    last_sent_at: datetime | None
    waiting: int
    created_at: datetime
    updated_at: datetime


class Webhooks(msgspec.Struct):
    webhooks: list[Webhook]


class WebhookBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new webhook. `secret`: signs what is sent; needed for `signed`, optional for `dingtalk`, and none for `wecom`."""

    name: Name
    format: Format = Format.SIGNED
    url: Url
    secret: Secret = ""
    locale: Locale = "zh"
    enabled: bool = True


class PlaceWebhookBody(WebhookBody, forbid_unknown_fields=True, kw_only=True):
    """`kinds`: of what it is told; with none of everything. Quiet hours (HH:MM) by the clock of `timezone`, else the server's."""

    kinds: KindList = []
    quiet_from: ClockTime | None = None
    quiet_to: ClockTime | None = None
    timezone: Zone | None = None


class WebhookPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays; but a new address makes it forget the secret unless that is given too."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    url: Url | msgspec.UnsetType = msgspec.UNSET
    secret: Secret | msgspec.UnsetType = msgspec.UNSET
    locale: Locale | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


class PlaceWebhookPatch(WebhookPatch, forbid_unknown_fields=True, kw_only=True):
    kinds: KindList | msgspec.UnsetType = msgspec.UNSET
    quiet_from: ClockTime | msgspec.UnsetType | None = msgspec.UNSET
    quiet_to: ClockTime | msgspec.UnsetType | None = msgspec.UNSET
    timezone: Zone | msgspec.UnsetType | None = msgspec.UNSET


class Tried(msgspec.Struct):
    """What came of a test message: `error` is null when it was taken."""

    sent: bool
    error: str | None


def list_of(connection: sa.Connection, owner: Owner) -> Webhooks:
    """The webhooks of an owner, oldest first."""
    rows = connection.execute(sa.select(webhooks).where(owner.condition).order_by(webhooks.c.id)).all()
    counted = (
        sa.select(messages.c.webhook_id, sa.func.count().label("number"))
        .where(messages.c.webhook_id.in_([row.id for row in rows]), messages.c.state == "waiting")
        .group_by(messages.c.webhook_id)
    )
    waiting = {row.webhook_id: row.number for row in connection.execute(counted)} if rows else {}
    return Webhooks([_shown(row, waiting.get(row.id, 0)) for row in rows])


def make(ctx: Context, connection: sa.Connection, actor: Actor, owner: Owner, body: WebhookBody) -> Webhook:
    """Raises Invalid naming the field."""
    now = ctx.clock.now()
    _check(ctx, body.format, body.url, body.secret)
    place = _place_values(ctx, {} if not isinstance(body, PlaceWebhookBody) else msgspec.structs.asdict(body), owner)
    if connection.execute(sa.select(sa.func.count()).where(owner.condition)).scalar_one() >= MOST_WEBHOOKS:
        raise Invalid.field("name", "notification.too_many_webhooks", most=MOST_WEBHOOKS)
    values = {
        "user_id": owner.user_id,
        "organization_id": owner.organization_id,
        "name": body.name,
        "format": body.format.value,
        **_sealed(ctx, body.url, body.secret),
        **place,
        "locale": body.locale,
        "enabled": body.enabled,
        "failures": 0,
        "created_by": actor.user_id,
        "created_at": now,
        "updated_at": now,
    }
    made = connection.execute(webhooks.insert().values(**values))
    assert made.inserted_primary_key
    webhook_id = int(made.inserted_primary_key[0])
    _note(connection, now, actor, "webhook.create", webhook_id, owner, format=body.format.value, host=values["host"])
    return _shown(_find(connection, owner, webhook_id), 0)


def change(ctx: Context, connection: sa.Connection, actor: Actor, owner: Owner, webhook_id: int, patch: WebhookPatch) -> Webhook:
    """Raises WebhookNotFound, Invalid naming the field, SealBroken when the secret must be given anew."""
    now, row = ctx.clock.now(), _find(connection, owner, webhook_id, lock=True)
    given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
    values: dict[str, Any] = {name: given[name] for name in ("name", "locale", "enabled") if name in given}
    if "url" in given or "secret" in given:
        kept = unseal(ctx, row.sealed) if "url" not in given else {}
        url, secret = given.get("url", kept.get("url", "")), given.get("secret", kept.get("secret", ""))
        _check(ctx, Format(row.format), url, secret)
        values |= _sealed(ctx, url, secret)
    place = {"kinds": row.kinds, "quiet_from": row.quiet_from, "quiet_to": row.quiet_to, "timezone": row.timezone}
    if owner.organization_id is not None:
        values |= _place_values(ctx, {**place, **{name: given[name] for name in place if name in given}}, owner)
    # Whoever has put it right should not wait for the pause of what was wrong.
    values |= {"failures": 0, "last_error": None, "paused_until": None, "updated_at": now}
    connection.execute(webhooks.update().where(webhooks.c.id == webhook_id).values(**values))
    _note(connection, now, actor, "webhook.change", webhook_id, owner, changed=sorted(given))
    return next(one for one in list_of(connection, owner).webhooks if one.id == webhook_id)


def remove(ctx: Context, connection: sa.Connection, actor: Actor, owner: Owner, webhook_id: int) -> None:
    """What waits for it is told to nobody. Raises WebhookNotFound."""
    row = _find(connection, owner, webhook_id, lock=True)
    connection.execute(messages.delete().where(messages.c.webhook_id == webhook_id))
    connection.execute(webhooks.delete().where(webhooks.c.id == webhook_id))
    _note(connection, ctx.clock.now(), actor, "webhook.delete", webhook_id, owner, host=row.host)


async def send_test(ctx: Context, owner: Owner, webhook_id: int) -> Tried:
    """Send a test message at once, whatever the hour. Raises WebhookNotFound, SealBroken."""
    row = await ctx.sql.read(lambda connection: _find(connection, owner, webhook_id))
    now = ctx.clock.now()
    words = say("notification.test", row.locale)
    line = Line(f"test-{secrets.token_hex(8)}", "test", words, {}, ctx.settings.url, now)
    try:
        await send(ctx, row, [line])
    except NotTaken as refused:
        return Tried(False, str(refused))
    return Tried(True, None)


async def send(ctx: Context, row: Any, lines: list[Line]) -> None:
    """Post lines to a webhook. Raises NotTaken, SealBroken."""
    kept = unseal(ctx, row.sealed)
    outgoing = build(Format(row.format), kept["url"], kept["secret"], lines, row.locale, ctx.clock.now())
    inside = Owner(row.user_id, row.organization_id).inside
    await post(Format(row.format), outgoing, inside=inside, anywhere=ctx.settings.debug)


def _find(connection: sa.Connection, owner: Owner, webhook_id: int, *, lock: bool = False) -> Any:
    wanted = sa.select(webhooks).where(webhooks.c.id == webhook_id, owner.condition)
    row = connection.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise WebhookNotFound()
    return row


def _place_values(ctx: Context, given: dict[str, Any], owner: Owner) -> dict[str, Any]:
    """What an organization's webhook has beside a person's. Raises Invalid."""
    starts, ends = given.get("quiet_from"), given.get("quiet_to")
    zone = (given.get("timezone") or ctx.settings.timezone) if owner.organization_id is not None else None
    if wrong := wrong_hours(starts, ends, zone):
        raise Invalid(fields=wrong)
    kinds = sorted({Kind(kind).value for kind in given.get("kinds", ())})
    return {"kinds": kinds, "quiet_from": starts, "quiet_to": ends, "timezone": zone}


def _check(ctx: Context, kind: Format, url: str, secret: str) -> None:
    wrong: dict[str, list[Text]] = {}
    if not _is_address(url, ("https", "http") if ctx.settings.debug else ("https",)):
        wrong["url"] = [text("notification.address")]
    if kind is Format.SIGNED and len(secret) < SHORTEST_SECRET:
        wrong["secret"] = [text("notification.secret_short", least=SHORTEST_SECRET)]
    if kind is Format.WECOM and secret:
        wrong["secret"] = [text("notification.secret_unused")]
    if wrong:
        raise Invalid(fields=wrong)


def _is_address(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and parts.username is None and not parts.fragment
    except ValueError:
        return False
    return good and url.isascii() and url.isprintable() and " " not in url


def _sealed(ctx: Context, url: str, secret: str) -> dict[str, Any]:
    return {"host": (urlsplit(url).hostname or "")[:300], "sealed": seal(ctx, {"url": url, "secret": secret}), "has_secret": bool(secret)}


def _note(connection: sa.Connection, now: datetime, actor: Actor, verb: str, webhook_id: int, owner: Owner, **detail: Any) -> None:
    whose = {"organization_id": owner.organization_id} if owner.organization_id is not None else {"user_id": owner.user_id}
    audit.note(connection, now, actor, verb, f"webhook:{webhook_id}", **whose, **detail)


def _shown(row: Any, waiting: int) -> Webhook:
    return Webhook(
        id=row.id,
        name=row.name,
        format=Format(row.format),
        host=row.host,
        secret="set" if row.has_secret else None,
        kinds=row.kinds,
        locale=row.locale,
        enabled=bool(row.enabled),
        quiet_from=row.quiet_from,
        quiet_to=row.quiet_to,
        timezone=row.timezone,
        failures=row.failures,
        last_error=row.last_error,
        last_sent_at=row.last_sent_at,
        waiting=waiting,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
