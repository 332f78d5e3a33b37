"""Which topics of this wing a caller may follow."""

from __future__ import annotations

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.projects.access import visible
from server.projects.tables import projects


async def may_follow_project(ctx: Context, actor: Actor, project_id: int) -> bool:
    """Whether the caller may see the project."""
    wanted = sa.select(projects.c.id).where(projects.c.id == project_id, visible(actor))
    return await ctx.sql.read(lambda connection: connection.execute(wanted).first() is not None)
