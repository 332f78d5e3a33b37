"""The pause of all schedules at once, for whoever must stop everything now and explain it later."""

from __future__ import annotations

from datetime import datetime

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.events import Event
from server.platform import audit
from server.platform.schedules.ledger import NAME
from server.platform.tables import planner


class PauseChanged(Event, frozen=True):
    """All schedules were paused or go on."""


class Pause(msgspec.Struct):
    """Whether the schedules are paused, since when and by whom."""

    paused: bool
    since: datetime | None = None
    by: str | None = None


def read_pause(connection: sa.Connection) -> Pause:
    row = connection.execute(sa.select(planner.c.paused_at, planner.c.paused_by).where(planner.c.name == NAME)).one_or_none()
    return Pause(False) if row is None or row.paused_at is None else Pause(True, row.paused_at, row.paused_by)


async def get_pause(ctx: Context, actor: Actor) -> Pause:
    return await ctx.sql.read(read_pause)


async def set_pause(ctx: Context, actor: Actor, paused: bool) -> Pause:
    """Pause every schedule, or let them go on; runs that have begun end as they would. The ledger says `paused` of what is missed."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Pause:
        before = read_pause(connection)
        if before.paused == paused:
            return before
        values = {"paused_at": now if paused else None, "paused_by": actor.name if paused else None}
        connection.execute(planner.update().where(planner.c.name == NAME).values(**values))
        audit.note(connection, now, actor, "scheduler.pause" if paused else "scheduler.resume", "scheduler")
        return read_pause(connection)

    answer = await ctx.sql.write(transaction)
    await ctx.events.publish(PauseChanged())
    return answer
