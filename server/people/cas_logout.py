"""CAS single logout: a ticket that ends there ends what it opened here."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.people.cas_answers import AnswerGarbled, read_logout
from server.people.sessions import SessionEnded
from server.people.tables import cas_sessions, sessions
from server.platform import audit

# A ticket that is being validated is known for this long before its row is there; longer than the CAS server may take to answer.
CLAIM_S = 60
MOST_TICKETS = 100
KEPT_FOR = timedelta(days=30)


def ticket_hash(ticket: str) -> str:
    """Tickets are long and random, so that a plain SHA-256 of them is safe to keep."""
    return hashlib.sha256(ticket.encode()).hexdigest()


def claim_key(hashed: str) -> str:
    """On the bus while a ticket is being validated."""
    return f"cas-ticket:{hashed}"


def ended_key(hashed: str) -> str:
    """On the bus when a ticket ended while it was being validated."""
    return f"cas-ended:{hashed}"


async def log_out(ctx: Context, actor: Actor, request: str) -> None:
    """End what the tickets of a logoutRequest (SAML) have opened.

    Anybody can send one: it does something only to tickets that came to us, and no stranger knows those; to others it says nothing.
    Raises Invalid for what is no LogoutRequest.
    """
    try:
        tickets = read_logout(request.encode("utf-8", "replace"))
    except AnswerGarbled as error:
        raise Invalid.field("logoutRequest", "cas.logout_unreadable", detail=str(error)) from None
    await end_tickets(ctx, actor, [ticket_hash(ticket) for ticket in tickets[:MOST_TICKETS]])


async def end_tickets(ctx: Context, actor: Actor, hashes: list[str]) -> None:
    """End the sessions that these tickets have opened, and those that they were about to open."""
    for hashed in hashes:
        if not await _end(ctx, actor, hashed) and await ctx.bus.ttl(claim_key(hashed)) > 0:
            # It is being validated at this moment: whoever does it looks here after its row is written, and we look for the row again.
            await ctx.bus.put(ended_key(hashed), b"1", ttl_s=CLAIM_S)
            await _end(ctx, actor, hashed)


async def _end(ctx: Context, actor: Actor, hashed: str) -> bool:
    """End one ticket and its session; False when it is not known."""
    now = ctx.clock.now()
    this = cas_sessions.c.ticket_hash == hashed

    def transaction(connection: sa.Connection) -> tuple[bool, str | None]:
        ended = connection.execute(cas_sessions.update().where(this, cas_sessions.c.ended_at.is_(None)).values(ended_at=now)).rowcount
        row = connection.execute(sa.select(cas_sessions.c.session_id, cas_sessions.c.user_id).where(this)).first()
        if not ended or row is None:
            return row is not None, None
        if row.session_id is None:
            audit.note(connection, now, actor, "logout", f"user:{row.user_id}", method="cas")
            return True, None
        return True, row.session_id if _end_session(connection, actor, row.session_id, now) else None

    known, session_id = await ctx.sql.write(transaction)
    if session_id is not None:
        await ctx.events.publish(SessionEnded(session_id))
    return known


async def bind_session(ctx: Context, hashed: str, session_id: str) -> bool:
    """Note which session a ticket has opened; False when the ticket has ended or opened one before."""
    unused = sa.and_(cas_sessions.c.ticket_hash == hashed, cas_sessions.c.ended_at.is_(None), cas_sessions.c.session_id.is_(None))
    binding = cas_sessions.update().where(unused).values(session_id=session_id)
    return await ctx.sql.write(lambda connection: connection.execute(binding).rowcount) == 1


async def end_session(ctx: Context, actor: Actor, session_id: str) -> None:
    """End a session whose ticket no longer holds."""
    await ctx.sql.write(lambda connection: _end_session(connection, actor, session_id, ctx.clock.now()))
    await ctx.events.publish(SessionEnded(session_id))


def _end_session(connection: sa.Connection, actor: Actor, session_id: str, now: datetime) -> bool:
    ending = sessions.update().where(sessions.c.id == session_id, sessions.c.ended_at.is_(None))
    if not connection.execute(ending.values(ended_at=now, end_reason="cas_logout")).rowcount:
        return False
    user_id = connection.execute(sa.select(sessions.c.user_id).where(sessions.c.id == session_id)).scalar_one()
    audit.note(connection, now, actor, "logout", f"user:{user_id}", method="cas", session=session_id)
    return True


def sweep_tickets(connection: sa.Connection, now: datetime, limit: int) -> int:
    """Tickets of a month ago whose sessions are gone too, or never were; how many were removed."""
    alive = sa.exists().where(sessions.c.id == cas_sessions.c.session_id)
    old = sa.select(cas_sessions.c.ticket_hash).where(cas_sessions.c.created_at < now - KEPT_FOR, ~alive).limit(limit)
    hashes = list(connection.execute(old).scalars())
    return connection.execute(cas_sessions.delete().where(cas_sessions.c.ticket_hash.in_(hashes))).rowcount if hashes else 0
