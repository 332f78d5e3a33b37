"""Who is behind a bearer token: a session, an API key or the module key."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import NOBODY, Actor, ActorKind, Grant, Viewer
from server.context import Context
from server.engines.prepared import Prepared
from server.errors import Forbidden, NotSignedIn
from server.events import Event
from server.messages import Locale
from server.people.organization_tree import tree_of
from server.people.tables import api_keys, organizations, role_grants, roles, sessions, users
from server.people.tokens import TokenReader

KEY_PREFIX = "zk_"
# The time of last use is written at most this often.
USE_NOTED_EVERY = timedelta(minutes=1)
MODULE_SCOPES = frozenset({"modules:read", "modules:write"})
# The role without which nobody looks with another user's eyes, held at the root.
VIEWERS_ROLE = "administrator"
# Of a name that is shown beside another.
LONGEST_SHOWN = 90


class SessionOver(NotSignedIn):
    type = "session_over"


class KeyInvalid(NotSignedIn):
    type = "key_invalid"


class ViewOnly(Forbidden):
    """Who looks with another user's eyes changes nothing."""

    type = "view_only"


class RightsChanged(Event, frozen=True):
    """What a user may do has changed; without one, what anybody may. Requests find it by themselves, open sockets must ask again."""

    user_id: int | None = None


# What a user was granted, one row each, or one of nothing. Joined one by one: a subquery would be made of all users' grants first.
_GRANTED = (roles.c.name.label("role"), roles.c.scopes, role_grants.c.organization_id, organizations.c.parent_id)


def _with_grants(source: sa.FromClause) -> sa.Join:
    return (
        source.outerjoin(role_grants, role_grants.c.user_id == users.c.id)
        .outerjoin(roles, roles.c.id == role_grants.c.role_id)
        .outerjoin(organizations, organizations.c.id == role_grants.c.organization_id)
    )


_by_session = Prepared(
    sa.select(
        sessions.c.ended_at,
        sessions.c.expires_at,
        sessions.c.viewer_id,
        sessions.c.viewer_session_id,
        users.c.state,
        users.c.username,
        *_GRANTED,
    )
    .select_from(_with_grants(sessions.join(users, users.c.id == sessions.c.user_id)))
    .where(sessions.c.id == sa.bindparam("session"), users.c.id == sa.bindparam("user"))
)
_by_user = Prepared(
    sa.select(users.c.state, users.c.username, *_GRANTED).select_from(_with_grants(users)).where(users.c.id == sa.bindparam("user"))
)
_keys = sa.select(
    api_keys.c.id,
    api_keys.c.user_id,
    api_keys.c.secret_hash,
    api_keys.c.scopes.label("key_scopes"),
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
    api_keys.c.last_used_at,
    users.c.state,
    users.c.username,
    *_GRANTED,
).select_from(_with_grants(api_keys.join(users, users.c.id == api_keys.c.user_id)))
_by_key = Prepared(_keys.where(api_keys.c.prefix == sa.bindparam("prefix")))
_by_key_id = Prepared(_keys.where(api_keys.c.id == sa.bindparam("id")))
# A key's first half, by which it is found.
_PREFIX = re.compile(r"[0-9a-f]{12}")


async def identify(
    ctx: Context,
    bearer: str,
    *,
    address: str,
    request_id: str = "",
    locale: Locale = "zh",
) -> Actor:
    """The caller behind a bearer token; nobody for an empty one. Raises NotSignedIn for one that does not hold."""
    if not bearer:
        return Actor(kind=NOBODY.kind, name="", address=address, request_id=request_id, locale=locale)
    if bearer.startswith(KEY_PREFIX):
        return await _by_api_key(ctx, bearer, address, request_id, locale)
    if hmac.compare_digest(bearer.encode(), ctx.secrets.module_key.encode()):
        return Actor(
            kind=ActorKind.MODULE, name="module key", grants=(Grant(MODULE_SCOPES),), address=address, request_id=request_id, locale=locale
        )
    now = ctx.clock.now()
    claims = ctx.services.get(TokenReader).read(bearer, now=now)
    found = await _session(ctx, claims.session_id, claims.user_id, now)
    grants = await _grants(ctx, found, None)
    viewer = await _viewer(ctx, found, grants, now)
    return Actor(
        kind=ActorKind.PERSON,
        name=_shown(found[0].username, viewer),
        user_id=claims.user_id,
        session_id=claims.session_id,
        grants=grants,
        address=address,
        request_id=request_id,
        locale=locale,
        viewer=viewer,
    )


async def identify_again(ctx: Context, actor: Actor) -> Actor:
    """The same caller with what it may do by now. Raises NotSignedIn when its session or key no longer holds."""
    now = ctx.clock.now()
    if actor.session_id is not None and actor.user_id is not None:
        found = await _session(ctx, actor.session_id, actor.user_id, now)
        grants = await _grants(ctx, found, None)
        viewer = await _viewer(ctx, found, grants, now)
        return msgspec.structs.replace(actor, name=_shown(found[0].username, viewer), grants=grants, viewer=viewer)
    if actor.key_id is not None:
        held = await ctx.sql.read_small(lambda connection: _by_key_id.all(connection, {"id": actor.key_id}))
        _check_key(held, now)
        return msgspec.structs.replace(actor, name=held[0].username, grants=await _grants(ctx, held, frozenset(held[0].key_scopes)))
    return actor


async def act_for(ctx: Context, user_id: int, key_id: int | None) -> Actor:
    """A user, or one of the user's keys, with what it may do by now: for a job that goes on in its name. Raises NotSignedIn."""
    if key_id is not None:
        return await identify_again(ctx, Actor(kind=ActorKind.API_KEY, name="", user_id=user_id, key_id=key_id))
    found = await ctx.sql.read_small(lambda connection: _by_user.all(connection, {"user": user_id}))
    if not found or found[0].state != "active":
        raise NotSignedIn()
    return Actor(kind=ActorKind.PERSON, name=found[0].username, user_id=user_id, grants=await _grants(ctx, found, None))


async def _session(ctx: Context, session_id: str, user_id: int, now: datetime) -> list[Any]:
    found = await ctx.sql.read_small(lambda connection: _by_session.all(connection, {"session": session_id, "user": user_id}))
    if not found or found[0].ended_at is not None or found[0].expires_at <= now or found[0].state != "active":
        raise SessionOver()
    return found


async def _viewer(ctx: Context, found: list[Any], grants: Iterable[Grant], now: datetime) -> Viewer | None:
    """Who looks by this session of another user; None for who it is. Raises SessionOver when they are signed out or may no longer."""
    view = found[0]
    if view.viewer_id is None:
        return None
    theirs = await _session(ctx, view.viewer_session_id or "", view.viewer_id, now)
    viewer = Actor(kind=ActorKind.PERSON, name=theirs[0].username, grants=await _grants(ctx, theirs, None))
    administers = any(row.role == VIEWERS_ROLE and row.parent_id is None for row in theirs)
    if not administers or not all(_holds(viewer, grant) for grant in grants):
        raise SessionOver()
    return Viewer(view.viewer_id, theirs[0].username, view.viewer_session_id)


def _shown(username: str, viewer: Viewer | None) -> str:
    """The name in logs: of who only looks, both."""
    return username if viewer is None else f"{viewer.name[:LONGEST_SHOWN]} as {username[:LONGEST_SHOWN]}"


def _holds(viewer: Actor, grant: Grant) -> bool:
    """Whether the viewer holds whatever is granted, wherever it is."""
    for scope in grant.scopes:
        places = viewer.organizations(scope)
        if places is not None and (grant.organizations is None or not grant.organizations <= places):
            return False
    return True


async def _grants(ctx: Context, rows: Iterable[Any], limit: frozenset[str] | None) -> tuple[Grant, ...]:
    grants = []
    for row in rows:
        if row.scopes is None:
            continue
        scopes = frozenset(row.scopes) if limit is None else frozenset(row.scopes) & limit
        # What is granted at the root holds everywhere; elsewhere, in the organization and all below it.
        places = None if row.parent_id is None else await tree_of(ctx).within(row.organization_id)
        grants.append(Grant(scopes, places))
    return tuple(grants)


def key_hash(secret: str) -> str:
    """API keys are long and random, so that a plain SHA-256 of them is safe to keep and quick to check."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def _by_api_key(ctx: Context, bearer: str, address: str, request_id: str, locale: Locale) -> Actor:
    prefix, _, secret = bearer.removeprefix(KEY_PREFIX).partition("_")
    now = ctx.clock.now()
    if not _PREFIX.fullmatch(prefix):
        raise KeyInvalid()
    found = await ctx.sql.read_small(lambda connection: _by_key.all(connection, {"prefix": prefix}))
    if not found or not hmac.compare_digest(found[0].secret_hash, key_hash(secret)):
        raise KeyInvalid()
    _check_key(found, now)
    key = found[0]
    if key.last_used_at is None or now - key.last_used_at > USE_NOTED_EVERY:
        await ctx.sql.write(
            lambda connection: connection.execute(api_keys.update().where(api_keys.c.id == key.id).values(last_used_at=now))
        )
    return Actor(
        kind=ActorKind.API_KEY,
        name=key.username,
        user_id=key.user_id,
        key_id=key.id,
        grants=await _grants(ctx, found, frozenset(key.key_scopes)),
        address=address,
        request_id=request_id,
        locale=locale,
    )


def _check_key(found: list[Any], now: datetime) -> None:
    if not found:
        raise KeyInvalid()
    key = found[0]
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now) or key.state != "active":
        raise KeyInvalid()
