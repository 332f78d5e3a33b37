"""Answers kept for an Idempotency-Key: the same key and body give the same answer for 24 hours."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.errors import Conflict, Invalid
from server.platform.tables import kept_answers

KEPT_FOR = timedelta(hours=24)
# A request that is "being handled" for longer than this died with its process.
ABANDONED_AFTER = timedelta(minutes=5)


class IdempotencyMismatch(Conflict):
    type = "idempotency_mismatch"


class IdempotencyRunning(Conflict):
    type = "idempotency_running"


class Key(msgspec.Struct, frozen=True):
    """One key of one caller on one route, and the request that came with it."""

    caller: str
    route: str
    key: str
    request: bytes

    @property
    def id(self) -> str:
        return hashlib.sha256(self.seed.encode()).hexdigest()

    @property
    def seed(self) -> str:
        """What a secret of the answer may be made from, as it is stored nowhere."""
        return f"{self.caller}\n{self.route}\n{self.key}"

    @property
    def request_hash(self) -> str:
        return hashlib.sha256(self.request).hexdigest()


class Kept(msgspec.Struct, frozen=True):
    status: int
    body: str


async def begin(ctx: Context, key: Key) -> Kept | None:
    """None when this is the first request with the key, which is now being handled; else the kept answer.

    Raises IdempotencyMismatch when the key came with another body, IdempotencyRunning while the first is still being handled.
    """
    if not key.key:
        raise Invalid.field("Idempotency-Key", "field.empty")
    if len(key.key) > 200:
        raise Invalid.field("Idempotency-Key", "field.too_long", limit=200)
    now = ctx.clock.now()
    table = kept_answers

    def transaction(connection: sa.Connection) -> Any:
        row = connection.execute(sa.select(table).where(table.c.id == key.id)).one_or_none()
        if row is not None:
            age = now - row.created_at
            if age < KEPT_FOR and not (row.status is None and age > ABANDONED_AFTER):
                return row
            connection.execute(table.delete().where(table.c.id == key.id))
        connection.execute(table.insert().values(id=key.id, request_hash=key.request_hash, created_at=now))
        return None

    try:
        row = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        raise IdempotencyRunning() from None  # another instance was a moment faster
    if row is None:
        return None
    if row.request_hash != key.request_hash:
        raise IdempotencyMismatch()
    if row.status is None:
        raise IdempotencyRunning()
    return Kept(row.status, row.body)


async def keep(ctx: Context, key: Key, status: int, body: str) -> None:
    await ctx.sql.write(
        lambda connection: connection.execute(kept_answers.update().where(kept_answers.c.id == key.id).values(status=status, body=body))
    )


async def forget(ctx: Context, key: Key) -> None:
    await ctx.sql.write(lambda connection: connection.execute(kept_answers.delete().where(kept_answers.c.id == key.id)))


def sweep(connection: sa.Connection, now: Any) -> int:
    """Remove answers older than a day; how many."""
    return connection.execute(kept_answers.delete().where(kept_answers.c.created_at < now - KEPT_FOR)).rowcount
