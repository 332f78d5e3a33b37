"""Sign-in sessions: opened by a proof of who somebody is, carried on by rotating refresh tokens, ended by logout and by others."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from server.actor import Actor, ActorKind
from server.context import Context
from server.errors import NotSignedIn
from server.events import Event
from server.ids import new_id
from server.people import captcha, login_delay, tokens
from server.people.passwords import Passwords
from server.people.schemas import LoginRequest, Me, TokenPair
from server.people.tables import sessions, users
from server.people.users import get_me
from server.platform import audit


class CredentialsWrong(NotSignedIn):
    """Unknown, wrong and disabled look alike."""

    type = "credentials_wrong"


class RefreshReused(NotSignedIn):
    """An old refresh token came again: its whole session is ended."""

    type = "refresh_reused"


class SessionEnded(Event, frozen=True):
    """A session ended, or an API key was revoked: what was opened with it closes."""

    session_id: str
    key_id: int | None = None


async def log_in(ctx: Context, actor: Actor, request: LoginRequest, *, agent: str) -> TokenPair:
    """Open a session with a user name (or mail address) and a password.

    Raises CredentialsWrong; TooMany after repeated failures of this account from this address; CaptchaRequired and CaptchaWrong after a
    few of this account or of this address, where a captcha is set up.
    """
    key = request.username.strip().casefold()
    await login_delay.check(ctx, key, actor.address)
    passed = await captcha.check_sign_in(ctx, actor, key, request.captcha)
    by_name = sa.select(users).where(sa.or_(users.c.username_key == key, users.c.email_key == key))
    found = await ctx.sql.read_small(lambda connection: connection.execute(by_name).first())
    passwords = ctx.services.get(Passwords)
    async with passwords.turn:
        # Again: of many tries that come at once, those after the last free one must find the delay that it caused.
        await login_delay.check(ctx, key, actor.address)
        if not passed:
            await captcha.check_sign_in(ctx, actor, key, None)
        right = await passwords.check(found.password_hash if found else None, request.password)
        if not found or not right or found.state != "active":
            await login_delay.failed(ctx, key, actor.address)
            await captcha.failed(ctx, key, actor.address)
            target = f"user:{found.id if found else '?'}"
            await audit.note_bounded(ctx, actor, "login.refused", target, f"address:{actor.address}")
            raise CredentialsWrong()
    await login_delay.succeeded(ctx, key, actor.address)
    await captcha.succeeded(ctx, key)
    proved = found.password_hash
    if passwords.needs_rehash(proved):
        proved = await _rehash(ctx, found, await passwords.hash(request.password))
    return await open_session(ctx, actor, found.id, method="password", agent=agent, proved=proved)


async def _rehash(ctx: Context, user: Any, hashed: str) -> str:
    """Keep the password under today's cost, unless it was changed meanwhile; the hash that the sign-in has proved."""
    same = users.update().where(users.c.id == user.id, users.c.password_hash == user.password_hash)
    turned = await ctx.sql.write(lambda connection: connection.execute(same.values(password_hash=hashed)).rowcount)
    return hashed if turned == 1 else str(user.password_hash)


async def open_session(ctx: Context, actor: Actor, user_id: int, *, method: str, agent: str, proved: str | None = None) -> TokenPair:
    """A new session of a user whose identity has been proved by `method`; `proved` is the hash of the password that proved it.

    Raises CredentialsWrong when the user was disabled, or the password changed, since then.
    """
    now = ctx.clock.now()
    session_id = new_id()
    still = users.update().where(users.c.id == user_id, users.c.state == "active")
    if proved is not None:
        still = still.where(users.c.password_hash == proved)

    def transaction(connection: sa.Connection) -> Me | None:
        # The user's row first: who changes the password, and then ends the sessions, comes before all of this or after.
        if connection.execute(still.values(last_login_at=now)).rowcount != 1:
            return None
        connection.execute(
            sessions.insert().values(
                id=session_id,
                user_id=user_id,
                generation=1,
                method=method,
                address=actor.address[:64],
                agent=agent[:300],
                created_at=now,
                seen_at=now,
                expires_at=now + timedelta(days=ctx.settings.refresh_token_days),
            )
        )
        audit.note(connection, now, actor, "login", f"user:{user_id}", method=method, session=session_id)
        return get_me(connection, user_id)

    me = await ctx.sql.write(transaction)
    if me is None:
        raise CredentialsWrong()
    return _pair(ctx, tokens.Claims(user_id, session_id, 1), me)


async def refresh(ctx: Context, actor: Actor, refresh_token: str) -> TokenPair:
    """A new pair for a refresh token; the old one no longer holds.

    Raises TokenInvalid and TokenExpired; RefreshReused for a token that was used before, which ends the session, or whose session is over.
    """
    now = ctx.clock.now()
    claims = tokens.read(ctx.secrets.secret_key, "refresh", refresh_token, now=now)

    def transaction(connection: sa.Connection) -> Me | None:
        turned = connection.execute(
            sessions.update()
            .where(
                sessions.c.id == claims.session_id,
                sessions.c.user_id == claims.user_id,
                sessions.c.generation == claims.generation,
                sessions.c.ended_at.is_(None),
                sessions.c.expires_at > now,
                sa.exists().where(users.c.id == claims.user_id, users.c.state == "active"),
            )
            .values(generation=sessions.c.generation + 1, seen_at=now, expires_at=now + timedelta(days=ctx.settings.refresh_token_days))
        )
        if turned.rowcount == 1:
            return get_me(connection, claims.user_id)
        ended = connection.execute(
            sessions.update()
            .where(sessions.c.id == claims.session_id, sessions.c.generation > claims.generation, sessions.c.ended_at.is_(None))
            .values(ended_at=now, end_reason="refresh_reused")
        )
        if ended.rowcount == 1:
            audit.note(connection, now, actor, "session.refresh_reused", f"user:{claims.user_id}", session=claims.session_id)
        return None

    me = await ctx.sql.write(transaction)
    if me is None:
        await ctx.events.publish(SessionEnded(claims.session_id))
        raise RefreshReused()
    return _pair(ctx, tokens.Claims(claims.user_id, claims.session_id, claims.generation + 1), me)


async def log_out(ctx: Context, actor: Actor) -> None:
    """End the caller's session; its tokens no longer hold and its sockets close."""
    if actor.session_id is None:
        return
    session_id, now = actor.session_id, ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        if end_views(connection, now, "logout", sessions.c.id == session_id, actor=actor):
            return
        ended = sessions.update().where(sessions.c.id == session_id, sessions.c.ended_at.is_(None))
        if connection.execute(ended.values(ended_at=now, end_reason="logout")).rowcount:
            audit.note(connection, now, actor, "logout", f"user:{actor.user_id}", session=session_id)

    await ctx.sql.write(transaction)
    await ctx.events.publish(SessionEnded(session_id))


def end_sessions(connection: sa.Connection, now: datetime, user_id: int, *, reason: str, keep: str = "") -> list[str]:
    """End a user's sessions, all but `keep`, in the caller's transaction; their ids, for `tell_ended` after the commit."""
    theirs = (sessions.c.user_id == user_id, sessions.c.ended_at.is_(None), sessions.c.id != keep)
    viewed = end_views(connection, now, reason, *theirs)
    ended = list(connection.execute(sa.select(sessions.c.id).where(*theirs).with_for_update()).scalars())
    connection.execute(sessions.update().where(*theirs).values(ended_at=now, end_reason=reason))
    return [*viewed, *ended]


def end_views(
    connection: sa.Connection, now: datetime, reason: str, *where: sa.ColumnElement[bool], actor: Actor | None = None
) -> list[str]:
    """End those of the sessions that an administrator looks by, each with a line in the audit log; their ids.

    `actor` is who ends them; without one the line is about the administrator.
    """
    viewers = users.alias()
    views = sa.select(sessions.c.id, sessions.c.user_id, sessions.c.viewer_id, sessions.c.view_reason, viewers.c.username)
    views = views.join(viewers, viewers.c.id == sessions.c.viewer_id).where(sessions.c.ended_at.is_(None), *where)
    ended = []
    for view in connection.execute(views).all():
        closing = sessions.update().where(sessions.c.id == view.id, sessions.c.ended_at.is_(None))
        if not connection.execute(closing.values(ended_at=now, end_reason=reason)).rowcount:
            continue
        who = actor or Actor(kind=ActorKind.PERSON, name=view.username, user_id=view.viewer_id)
        told = {"session": view.id, "viewer": view.username, "reason": view.view_reason, "ended_by": reason}
        audit.note(connection, now, who, "view.end", f"user:{view.user_id}", **told)
        ended.append(view.id)
    return ended


async def tell_ended(ctx: Context, session_ids: Iterable[str]) -> None:
    """Close what was opened with sessions that have ended."""
    for session_id in session_ids:
        await ctx.events.publish(SessionEnded(session_id))


def _pair(ctx: Context, claims: tokens.Claims, me: Me) -> TokenPair:
    now, settings, secret = ctx.clock.now(), ctx.settings, ctx.secrets.secret_key
    life = timedelta(minutes=settings.access_token_minutes)
    return TokenPair(
        access_token=tokens.issue(secret, "access", claims, now=now, life=life),
        refresh_token=tokens.issue(secret, "refresh", claims, now=now, life=timedelta(days=settings.refresh_token_days)),
        token_type="Bearer",
        expires_in=int(life.total_seconds()),
        user=me,
    )
