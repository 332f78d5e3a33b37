"""Who is signed in where: a user's sessions, shown and ended by the user or by who may change the user."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Forbidden, NotFound
from server.paging import Page, PageQuery, page_of
from server.people.sessions import end_sessions, end_views, tell_ended
from server.people.tables import sessions, users
from server.people.user_rights import check_not_above
from server.people.users import UserNotFound
from server.platform import audit


class SessionNotFound(NotFound):
    type = "session_not_found"


class OpenSession(msgspec.Struct, omit_defaults=True):
    """`method` is how it was opened: password, code, cas or view; `seen_at` is when its tokens were last renewed; `current`: asks now.

    By a `view` an administrator looks with the user's eyes: `viewed_by` is their user name, and `view_reason` what they gave as reason.
    """

    id: str
    address: str
    agent: str
    method: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    current: bool
    viewed_by: str | None = None
    view_reason: str | None = None


class Ended(msgspec.Struct):
    """How many sessions were ended."""

    ended: int


_SORTABLE = {name: getattr(sessions.c, name) for name in ("id", "address", "agent", "method", "created_at", "seen_at", "expires_at")}


def own_session(actor: Actor) -> tuple[int, str]:
    """The caller's user id and session id. Raises Forbidden for keys: what a key is for does not include its owner's sessions."""
    if actor.user_id is None or actor.session_id is None:
        raise Forbidden(scope="session")
    return actor.user_id, actor.session_id


async def list_own(ctx: Context, actor: Actor, query: PageQuery) -> Page[OpenSession]:
    """The caller's open sessions; `q` searches addresses and agents."""
    user_id, current = own_session(actor)
    return await ctx.sql.read(lambda connection: _open(ctx, connection, user_id, current, query))


async def list_of_user(ctx: Context, actor: Actor, user_id: int, query: PageQuery) -> Page[OpenSession]:
    """A user's open sessions. Raises UserNotFound where the caller may not change users."""

    def transaction(connection: sa.Connection) -> Page[OpenSession]:
        _check_may_end(connection, actor, user_id)
        return _open(ctx, connection, user_id, actor.session_id or "", query)

    return await ctx.sql.read(transaction)


async def end_own(ctx: Context, actor: Actor, session_id: str) -> None:
    """End one of the caller's sessions, also the present one. Raises SessionNotFound for one that is over or somebody else's."""
    user_id, _ = own_session(actor)
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> bool:
        if end_views(connection, now, "ended_by_user", sessions.c.id == session_id, *_is_open(user_id, now), actor=actor):
            return True
        mine = sessions.update().where(sessions.c.id == session_id, *_is_open(user_id, now))
        ended = connection.execute(mine.values(ended_at=now, end_reason="ended_by_user")).rowcount
        if ended:
            audit.note(connection, now, actor, "session.end", f"user:{user_id}", session=session_id)
        return bool(ended)

    if not await ctx.sql.write(transaction):
        raise SessionNotFound()
    await tell_ended(ctx, [session_id])


async def end_others(ctx: Context, actor: Actor) -> Ended:
    """End all of the caller's sessions but the present one."""
    user_id, current = own_session(actor)
    return await _end_all(ctx, actor, user_id, reason="ended_by_user", keep=current)


async def end_of_user(ctx: Context, actor: Actor, user_id: int) -> Ended:
    """End all sessions of a user. Raises UserNotFound where the caller may not change users, UserAbove for one who may more."""
    return await _end_all(ctx, actor, user_id, reason="ended_by_admin", checked=True)


async def _end_all(ctx: Context, actor: Actor, user_id: int, *, reason: str, keep: str = "", checked: bool = False) -> Ended:
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> list[str]:
        if checked:
            _check_may_end(connection, actor, user_id)
        ended = end_sessions(connection, now, user_id, reason=reason, keep=keep)
        if ended:
            audit.note(connection, now, actor, "session.end_all", f"user:{user_id}", number=len(ended), kept=keep)
        return ended

    ended = await ctx.sql.write(transaction)
    await tell_ended(ctx, ended)
    return Ended(len(ended))


def _check_may_end(connection: sa.Connection, actor: Actor, user_id: int) -> None:
    home = connection.execute(sa.select(users.c.organization_id).where(users.c.id == user_id)).scalar()
    if home is None or not actor.may("users:write", home):
        raise UserNotFound()
    check_not_above(connection, actor, user_id)


def _is_open(user_id: int, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return sessions.c.user_id == user_id, sessions.c.ended_at.is_(None), sessions.c.expires_at > now


def _open(ctx: Context, connection: sa.Connection, user_id: int, current: str, query: PageQuery) -> Page[OpenSession]:
    def read(row: Any) -> OpenSession:
        shown = {name: getattr(row, name) for name in OpenSession.__struct_fields__ if name != "current"}
        return OpenSession(**shown, current=row.id == current)

    viewers = users.alias()
    wanted = sa.select(sessions, viewers.c.username.label("viewed_by")).outerjoin(viewers, viewers.c.id == sessions.c.viewer_id)
    wanted = wanted.where(*_is_open(user_id, ctx.clock.now()))
    return page_of(connection, wanted, query, read, sortable=_SORTABLE, searched=(sessions.c.address, sessions.c.agent), order="-id")
