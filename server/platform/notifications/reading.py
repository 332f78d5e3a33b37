"""The caller's notifications: listed, counted, marked as read, and as sockets show them. Nobody sees anybody else's."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.messages import Locale
from server.paging import Page, PageQuery, page_of
from server.platform.notifications.kinds import Kind, sentence_of
from server.platform.notifications.preferences import own_id
from server.platform.notifications.telling import AT_ONCE, NotificationsChanged
from server.platform.tables import notifications

MOST_READ = 1000
Id = Annotated[int, msgspec.Meta(ge=1, le=999_999_999_999_999)]


class Notification(msgspec.Struct, kw_only=True):
    """What somebody is told. `text`: in the reader's language; `link`: a path of the interface, or empty."""

    id: int
    kind: str
    text: str
    params: dict[str, Any]
    link: str
    organization_id: int | None
    created_at: datetime
    read_at: datetime | None


class NotificationQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`unread`: 1 for those that have not been read."""

    unread: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    kind: Kind | None = None


class Unread(msgspec.Struct):
    unread: int


class ReadRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which are read now: those of `ids`, or all."""

    ids: Annotated[list[Id], msgspec.Meta(max_length=MOST_READ)] = []
    all: bool = False


class Read(msgspec.Struct):
    """How many were read by this, and how many are left."""

    read: int
    unread: int


class Pushed(msgspec.Struct):
    """What a socket gets: what is new, if anything, and how many are unread."""

    notification: Notification | None
    unread: int


async def list_own(ctx: Context, actor: Actor, query: NotificationQuery) -> Page[Notification]:
    """The caller's notifications, newest first. Raises Forbidden for keys."""
    wanted = sa.select(notifications).where(notifications.c.user_id == own_id(actor), notifications.c.shown.is_(True))
    if query.unread:
        wanted = wanted.where(notifications.c.read_at.is_(None))
    if query.kind is not None:
        wanted = wanted.where(notifications.c.kind == query.kind.value)
    sortable = {"id": notifications.c.id, "created_at": notifications.c.created_at, "kind": notifications.c.kind}
    return await ctx.sql.read(
        lambda connection: page_of(connection, wanted, query, lambda row: shown(row, actor.locale), sortable=sortable, order="-id")
    )


async def count_unread(ctx: Context, actor: Actor) -> Unread:
    """Raises Forbidden for keys."""
    user_id = own_id(actor)
    return await ctx.sql.read(lambda connection: Unread(_unread(connection, [user_id]).get(user_id, 0)))


async def mark_read(ctx: Context, actor: Actor, request: ReadRequest) -> Read:
    """Mark some or all of the caller's as read; ids of others' change nothing. The caller's other windows hear of it.

    Raises Forbidden for keys, Invalid when neither or both are given.
    """
    user_id, now = own_id(actor), ctx.clock.now()
    if bool(request.ids) == request.all:
        raise Invalid.field("ids", "notification.nothing_to_read")

    def transaction(connection: sa.Connection) -> Read:
        mine = notifications.update().where(
            notifications.c.user_id == user_id, notifications.c.shown.is_(True), notifications.c.read_at.is_(None)
        )
        read = 0
        if request.all:
            read = connection.execute(mine.values(read_at=now)).rowcount
        for first in range(0, len(request.ids), AT_ONCE):
            some = mine.where(notifications.c.id.in_(request.ids[first : first + AT_ONCE]))
            read += connection.execute(some.values(read_at=now)).rowcount
        return Read(read, _unread(connection, [user_id]).get(user_id, 0))

    done = await ctx.sql.write(transaction)
    if done.read:
        await ctx.events.publish(NotificationsChanged((user_id,)))
    return done


def pushed(connection: sa.Connection, user_ids: Collection[int], event_key: str) -> dict[int, tuple[Any, int]]:
    """For each of the users the row of an event, if they are told of it, and how many are unread."""
    found: dict[int, tuple[Any, int]] = {}
    wanted = sorted(user_ids)
    for first in range(0, len(wanted), AT_ONCE):
        some = wanted[first : first + AT_ONCE]
        of_event = sa.select(notifications).where(
            notifications.c.user_id.in_(some), notifications.c.event_key == event_key, notifications.c.shown.is_(True)
        )
        rows = {row.user_id: row for row in connection.execute(of_event)} if event_key else {}
        counts = _unread(connection, some)
        found |= {one: (rows.get(one), counts.get(one, 0)) for one in some}
    return found


def shown(row: Any, locale: Locale) -> Notification:
    return Notification(
        id=row.id,
        kind=row.kind,
        text=sentence_of(row.kind, row.params, locale),
        params=row.params,
        link=row.link or "",
        organization_id=row.organization_id,
        created_at=row.created_at,
        read_at=row.read_at,
    )


def _unread(connection: sa.Connection, user_ids: list[int]) -> dict[int, int]:
    counted = (
        sa.select(notifications.c.user_id, sa.func.count().label("number"))
        .where(notifications.c.user_id.in_(user_ids), notifications.c.shown.is_(True), notifications.c.read_at.is_(None))
        .group_by(notifications.c.user_id)
    )
    return {row.user_id: row.number for row in connection.execute(counted)}
