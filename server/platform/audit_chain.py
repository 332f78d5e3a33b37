"""The seal on the audit log: each row's hash covers the row and the hash before it, so that a change shows.

Rows come from many transactions at once, so they are sealed afterwards, in the order of their ids, a few seconds old. A gap between two
ids means nothing by itself: a transaction that was rolled back leaves one. What is missing shows because the next hash does not fit.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.platform import audit
from server.platform.tables import audit_log
from server.scopes import system_actor

SEAL = "audit.seal"
SWEPT = "audit.swept"
# A number is given out before its row is there: rows older than this have no neighbour on the way that nobody can see.
SETTLED = timedelta(seconds=5)
# A row from further ahead has its time from a clock that was wrong; it must not hold up the others until then.
SKEW = timedelta(minutes=1)
# Rows in a transaction: on MySQL they are read on the loop.
AT_ONCE = 250


class Overtaken(Exception):
    """Rows that were locked for sealing were sealed meanwhile; nothing was written."""


class Anchor(msgspec.Struct, frozen=True):
    """Where the chain begins: after the row `through_id`, whose hash was `hash`; (0, "") for a log that lost nothing to retention."""

    through_id: int = 0
    hash: str = ""


class Sealed(msgspec.Struct, frozen=True):
    """How many rows were sealed; the last sealed row with its hash and time, when there is one."""

    sealed: int
    through: int
    head: str
    until: datetime | None


def link(previous: str, row: Any) -> str:
    """The hash of a row: SHA-256 over the hash before it and the row as JSON with sorted names, in hex."""
    fields = [
        row.id,
        row.at.isoformat(timespec="microseconds"),
        row.user_id,
        row.actor,
        row.action,
        row.target,
        row.address,
        row.request_id,
        row.detail,
    ]
    return hashlib.sha256(previous.encode() + msgspec.json.encode(fields, order="sorted")).hexdigest()


def find_anchor(connection: sa.Connection) -> Anchor:
    """What the last sweep left."""
    newest = sa.select(sa.func.max(audit_log.c.id)).where(audit_log.c.action == SWEPT).scalar_subquery()
    detail = connection.execute(sa.select(audit_log.c.detail).where(audit_log.c.id == newest)).scalar()
    return Anchor() if detail is None else Anchor(int(detail["through_id"]), str(detail["hash"]))


def _tip(connection: sa.Connection) -> Sealed:
    """The last sealed row; of a log with none, the anchor."""
    newest = sa.select(audit_log.c.id, audit_log.c.hash, audit_log.c.at).where(audit_log.c.hash.is_not(None))
    row = connection.execute(newest.order_by(audit_log.c.id.desc()).limit(1)).first()
    if row is not None:
        return Sealed(0, row.id, row.hash, row.at)
    anchor = find_anchor(connection)
    return Sealed(0, anchor.through_id, anchor.hash, None)


def seal(connection: sa.Connection, now: datetime, limit: int = AT_ONCE) -> Sealed:
    """Seal up to `limit` rows that have settled, in the order of their ids. Several may try at once: one of them does it."""
    tip = _tip(connection)
    after = sa.select(audit_log.c.id, audit_log.c.at).where(audit_log.c.id > tip.through).order_by(audit_log.c.id).limit(limit)
    last = 0
    for row in connection.execute(after):
        if now - SETTLED < row.at <= now + SKEW:
            break
        last = row.id
    if not last:
        return tip
    # A locking read: on MySQL it waits for rows that are written but not yet committed, and for another who is sealing these.
    locked = sa.select(audit_log).where(audit_log.c.id > tip.through, audit_log.c.id <= last).order_by(audit_log.c.id).with_for_update()
    rows = connection.execute(locked).all()
    if not rows or any(row.hash is not None for row in rows):
        return tip  # somebody was faster
    previous, links = tip.head, []
    for row in rows:
        previous = link(previous, row)
        links.append({"_id": row.id, "_hash": previous})
    fill = audit_log.update().where(audit_log.c.id == sa.bindparam("_id"), audit_log.c.hash.is_(None)).values(hash=sa.bindparam("_hash"))
    if connection.execute(fill, links).rowcount != len(links):
        raise Overtaken()
    return Sealed(len(rows), rows[-1].id, previous, rows[-1].at)


async def seal_all(ctx: Context) -> Sealed:
    """Seal whatever has settled, in small transactions."""
    now, total = ctx.clock.now(), 0
    while True:
        done = await ctx.sql.write(lambda connection: seal(connection, now))
        total += done.sealed
        if done.sealed < AT_ONCE:
            return msgspec.structs.replace(done, sealed=total)


def sweep(connection: sa.Connection, now: datetime, before: datetime, limit: int) -> int:
    """Remove rows of before that time from the front, sealed ones only; how many. The hash of the last of them stays, in a row of the log.

    The first row that is younger, or not sealed yet, ends it: the chain can lose its front, not its middle.
    """
    # Locked, so that of two sweeps on MySQL the second sees what the first has left.
    front = sa.select(audit_log.c.id, audit_log.c.at, audit_log.c.hash).order_by(audit_log.c.id).limit(limit).with_for_update()
    last, number = Anchor(), 0
    for row in connection.execute(front).all():
        if row.at >= before or row.hash is None:
            break
        last, number = Anchor(row.id, row.hash), number + 1
    if not number:
        return 0
    # Before the rows go: SQLite gives numbers out again once no greater one is there.
    audit.note(connection, now, system_actor("maintenance"), SWEPT, "audit", through_id=last.through_id, hash=last.hash, rows=number)
    return connection.execute(audit_log.delete().where(audit_log.c.id <= last.through_id)).rowcount
