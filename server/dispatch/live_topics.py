"""Which topics of the dispatch wing a caller may follow."""

from __future__ import annotations

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch.run_access import access_run
from server.errors import DomainError


async def may_follow_run(ctx: Context, actor: Actor, run_id: str) -> bool:
    """Whether the caller may see the run."""

    def look(connection: sa.Connection) -> bool:
        try:
            access_run(connection, actor, run_id, "workflows:read")
        except DomainError:
            return False
        return True

    return await ctx.sql.read(look)
