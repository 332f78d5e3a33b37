"""Runs a transaction of the dispatch wing, then sends and publishes what it leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from server.context import Context
from server.dispatch.effects import Effects
from server.dispatch.reconnecting import redirect

T = TypeVar("T")


async def commit(ctx: Context, transaction: Callable[[sa.Connection, Effects], T]) -> T:
    """The value of the transaction, once its effects have been carried out."""

    def run(connection: sa.Connection) -> tuple[T, Effects]:
        effects = Effects(ctx)  # a fresh one: after a deadlock the transaction runs again
        return transaction(connection, effects), effects

    value, effects = await ctx.sql.write(run)
    await carry_out(ctx, effects)
    return value


async def carry_out(ctx: Context, effects: Effects) -> None:
    """Send and publish. A frame whose socket closed or was replaced since the commit never left: its step goes elsewhere."""
    await effects.carry_out()
    if effects.undelivered:
        lost = effects.undelivered

        def wait(connection: sa.Connection, effects: Effects) -> None:
            for out in lost:
                redirect(connection, effects, out.step_id, out.fence)

        await commit(ctx, wait)
