"""API keys of a user: made, listed, revoked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Forbidden, Invalid, NotFound
from server.people.identify import KEY_PREFIX, key_hash
from server.people.schemas import ApiKey, ApiKeyRequest, NewApiKey
from server.people.sessions import SessionEnded
from server.people.tables import api_keys
from server.platform import audit
from server.scopes import ALL


class ApiKeyNotFound(NotFound):
    type = "api_key_not_found"


def _owner(actor: Actor) -> int:
    # A key must not make further keys: revoking it would not end what it made.
    if actor.user_id is None or actor.session_id is None:
        raise Forbidden(scope="session")
    return actor.user_id


async def list_keys(ctx: Context, actor: Actor) -> list[ApiKey]:
    """The caller's keys that are not revoked, newest first."""
    mine = sa.select(api_keys).where(api_keys.c.user_id == _owner(actor), api_keys.c.revoked_at.is_(None)).order_by(api_keys.c.id.desc())
    rows = await ctx.sql.read(lambda connection: connection.execute(mine).all())
    return [ApiKey(**_shown(row)) for row in rows]


def derived_key(ctx: Context, prefix: str, seed: str) -> str:
    """The key that `create_key` makes from a seed: it can be told again without being stored."""
    made = hmac.new(ctx.secrets.secret_key.encode(), f"api-key:{prefix}:{seed}".encode(), hashlib.sha256).digest()
    return f"{KEY_PREFIX}{prefix}_{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"


async def create_key(ctx: Context, actor: Actor, request: ApiKeyRequest, *, seed: str | None = None) -> NewApiKey:
    """A new key with some of the caller's own scopes. With `seed`, a secret text, the key is made from it.

    Raises Invalid for a scope that is unknown or not held, and for an end that is past.
    """
    user_id, now = _owner(actor), ctx.clock.now()
    unknown = sorted(set(request.scopes) - ALL)
    if unknown:
        raise Invalid.field("scopes", "field.choice", choices=", ".join(sorted(ALL)))
    beyond = sorted(set(request.scopes) - actor.scopes)
    if beyond:
        raise Invalid.field("scopes", "people.scope_not_held", scopes=", ".join(beyond))
    if request.expires_at is not None and not _is_usable(request.expires_at, now):
        raise Invalid.field("expires_at", "field.future")
    prefix = secrets.token_hex(6)
    key = derived_key(ctx, prefix, seed if seed is not None else secrets.token_urlsafe(32))

    def transaction(connection: sa.Connection) -> Any:
        made = connection.execute(
            api_keys.insert().values(
                user_id=user_id,
                name=request.name,
                prefix=prefix,
                secret_hash=key_hash(key.partition("_")[2].partition("_")[2]),
                scopes=sorted(set(request.scopes)),
                created_at=now,
                expires_at=request.expires_at,
            )
        )
        assert made.inserted_primary_key
        audit.note(
            connection,
            now,
            actor,
            "api_key.create",
            f"api_key:{made.inserted_primary_key[0]}",
            name=request.name,
            scopes=sorted(set(request.scopes)),
        )
        return connection.execute(sa.select(api_keys).where(api_keys.c.id == made.inserted_primary_key[0])).one()

    return NewApiKey(**_shown(await ctx.sql.write(transaction)), key=key)


def _is_usable(end: datetime, now: datetime) -> bool:
    """Whether a key can end then: a time with its zone, not past, and one that UTC has, too."""
    try:
        return end.tzinfo is not None and end.astimezone(UTC) > now
    except OverflowError:
        return False


async def revoke_key(ctx: Context, actor: Actor, key_id: int) -> None:
    """The key no longer holds, and its sockets close. Raises ApiKeyNotFound for one that is not the caller's."""
    user_id, now = _owner(actor), ctx.clock.now()

    def transaction(connection: sa.Connection) -> int:
        mine = api_keys.update().where(api_keys.c.id == key_id, api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
        ended = connection.execute(mine.values(revoked_at=now)).rowcount
        if ended:
            audit.note(connection, now, actor, "api_key.revoke", f"api_key:{key_id}")
        return ended

    if not await ctx.sql.write(transaction):
        raise ApiKeyNotFound()
    await ctx.events.publish(SessionEnded("", key_id))


def _shown(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ApiKey.__struct_fields__}
