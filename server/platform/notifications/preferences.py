"""What people want to be told, and how: by kind, in the application, by mail and at their webhooks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Forbidden, Invalid
from server.messages import Locale
from server.platform import audit
from server.platform.notifications.kinds import KINDS, Channel, Kind, name_of
from server.platform.tables import notification_preferences as preferences


class Preference(msgspec.Struct, kw_only=True):
    """Whether a kind is told in each channel; `always`: it cannot be turned off in the application."""

    kind: Kind
    name: str
    app: bool
    mail: bool
    webhook: bool
    always: bool


class Preferences(msgspec.Struct):
    preferences: list[Preference]


class Choice(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A channel that is left out stays as it is."""

    kind: Kind
    app: bool | msgspec.UnsetType = msgspec.UNSET
    mail: bool | msgspec.UnsetType = msgspec.UNSET
    webhook: bool | msgspec.UnsetType = msgspec.UNSET


class Choices(msgspec.Struct, forbid_unknown_fields=True):
    """Kinds that are left out stay as they are."""

    preferences: Annotated[list[Choice], msgspec.Meta(max_length=100)]


def own_id(actor: Actor) -> int:
    """The caller's user id. Raises Forbidden for keys and modules: what a key is for does not include what its owner is told."""
    if actor.user_id is None or actor.session_id is None:
        raise Forbidden(scope="session")
    return actor.user_id


async def get_preferences(ctx: Context, actor: Actor) -> Preferences:
    """The caller's choices, and for what they have not chosen the default of the kind. Raises Forbidden."""
    user_id = own_id(actor)
    return await ctx.sql.read(lambda connection: _shown(connection, user_id, actor.locale))


async def put_preferences(ctx: Context, actor: Actor, choices: Choices) -> Preferences:
    """Keep the caller's choices. Raises Forbidden, Invalid for a kind that is given twice or that cannot be turned off."""
    user_id, now = own_id(actor), ctx.clock.now()
    wanted = _checked(choices)

    def transaction(connection: sa.Connection) -> Preferences:
        for (kind, channel), enabled in sorted(wanted.items()):
            one = (preferences.c.user_id == user_id, preferences.c.kind == kind.value, preferences.c.channel == channel.value)
            connection.execute(preferences.delete().where(*one))
            row = {"user_id": user_id, "kind": kind.value, "channel": channel.value, "enabled": enabled}
            connection.execute(preferences.insert().values(**row))
        if wanted:
            told = {f"{kind.value}:{channel.value}": enabled for (kind, channel), enabled in sorted(wanted.items())}
            audit.note(connection, now, actor, "notifications.preferences", f"user:{user_id}", chosen=told)
        return _shown(connection, user_id, actor.locale)

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # chosen in another tab at the same moment
        return await ctx.sql.write(transaction)


def wanted_by(connection: sa.Connection, kind: Kind, user_ids: Collection[int]) -> dict[int, set[Channel]]:
    """The channels in which each of the users wants to be told of a kind; at most 500 users at a time."""
    chosen = sa.select(preferences).where(preferences.c.kind == kind.value, preferences.c.user_id.in_(list(user_ids)))
    found = {one: _default(kind) for one in user_ids}
    for row in connection.execute(chosen) if user_ids else ():
        if row.enabled:
            found[row.user_id].add(Channel(row.channel))
        elif not (row.channel == Channel.APP and KINDS[kind].always):
            found[row.user_id].discard(Channel(row.channel))
    return found


def _default(kind: Kind) -> set[Channel]:
    """A webhook is told of everything: whoever has set one up wants it."""
    return {Channel.APP, Channel.MAIL, Channel.WEBHOOK} if KINDS[kind].by_mail else {Channel.APP, Channel.WEBHOOK}


def _checked(choices: Choices) -> dict[tuple[Kind, Channel], bool]:
    wanted: dict[tuple[Kind, Channel], bool] = {}
    kinds = [choice.kind for choice in choices.preferences]
    for place, choice in enumerate(choices.preferences):
        if choice.kind in kinds[:place]:
            raise Invalid.field(f"preferences.{place}.kind", "notification.twice", kind=choice.kind.value)
        if choice.app is False and KINDS[choice.kind].always:
            raise Invalid.field(f"preferences.{place}.app", "notification.always")
        for channel, enabled in ((Channel.APP, choice.app), (Channel.MAIL, choice.mail), (Channel.WEBHOOK, choice.webhook)):
            if enabled is not msgspec.UNSET:
                wanted[choice.kind, channel] = enabled
    return wanted


def _shown(connection: sa.Connection, user_id: int, locale: Locale) -> Preferences:
    rows = connection.execute(sa.select(preferences).where(preferences.c.user_id == user_id)).all()
    chosen = {(row.kind, row.channel): bool(row.enabled) for row in rows}
    return Preferences(
        [
            Preference(
                kind=kind,
                name=name_of(kind, locale),
                app=told.always or chosen.get((kind.value, Channel.APP.value), True),
                mail=chosen.get((kind.value, Channel.MAIL.value), told.by_mail),
                webhook=chosen.get((kind.value, Channel.WEBHOOK.value), True),
                always=told.always,
            )
            for kind, told in KINDS.items()
        ]
    )
