"""What a transaction of the projects wing leads to once it is committed: events to publish and people to tell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import TypeVar
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from server.context import Context
from server.events import Event
from server.platform.notifications.telling import Told, announce

T = TypeVar("T")


class Effects:
    """Gathered inside a transaction, carried out after its commit; a transaction that runs again starts with a new one.

    `now` is the time of the transaction, `today` its day in the server's zone.
    """

    def __init__(self, ctx: Context) -> None:
        self.now = ctx.clock.now()
        self.zone = ZoneInfo(ctx.settings.timezone)
        self.today = self.now.astimezone(self.zone).date().isoformat()
        self.events: list[Event] = []
        self.told: list[Told] = []

    def end_of(self, day: str) -> datetime:
        """The last second of an ISO date in the server's zone."""
        return datetime.combine(date.fromisoformat(day), time(23, 59, 59), self.zone).astimezone(UTC)

    async def carry_out(self, ctx: Context) -> None:
        for event in dict.fromkeys(self.events):
            await ctx.events.publish(event)
        await announce(ctx, *self.told)


async def commit(ctx: Context, transaction: Callable[[sa.Connection, Effects], T]) -> T:
    """Run a transaction, then carry out what it leads to.

    It is run once more when another put in the same row at the same moment, to see it or to say so.
    """

    def attempt(connection: sa.Connection) -> tuple[T, Effects]:
        effects = Effects(ctx)
        return transaction(connection, effects), effects

    try:
        result, effects = await ctx.sql.write(attempt)
    except sa.exc.IntegrityError:
        result, effects = await ctx.sql.write(attempt)
    await effects.carry_out(ctx)
    return result
