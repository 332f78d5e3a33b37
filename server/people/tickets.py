"""Tickets for browser sockets: single use, thirty seconds, so that no token ever stands in a URL."""

from __future__ import annotations

import secrets

import msgspec

from server.actor import Actor
from server.context import Context
from server.errors import NotSignedIn
from server.people.identify import identify_again
from server.people.schemas import Ticket

LIFE_S = 30


class TicketInvalid(NotSignedIn):
    type = "ticket_invalid"


async def issue(ctx: Context, actor: Actor) -> Ticket:
    """A ticket that stands for the caller."""
    ticket = secrets.token_urlsafe(24)
    await ctx.bus.put(f"ticket:{ticket}", msgspec.json.encode(actor), ttl_s=LIFE_S)
    return Ticket(ticket=ticket, expires_in=LIFE_S)


async def redeem(ctx: Context, ticket: str) -> Actor:
    """Whom a ticket stands for; it no longer holds afterwards. Raises TicketInvalid, and NotSignedIn when its session has ended since."""
    kept = await ctx.bus.take(f"ticket:{ticket}") if ticket else None
    if kept is None:
        raise TicketInvalid()
    return await identify_again(ctx, msgspec.json.decode(kept, type=Actor))
