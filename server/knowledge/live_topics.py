"""Which topics of this wing a caller may follow."""

from __future__ import annotations

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.knowledge.access import visible
from server.knowledge.tables import documents


async def may_follow_document(ctx: Context, actor: Actor, document_id: int) -> bool:
    """Whether the caller may see the document."""
    return await _any(ctx, actor, documents.c.id == document_id)


async def may_follow_task(ctx: Context, actor: Actor, task_id: str) -> bool:
    """Whether the task reads a document that the caller may see."""
    return await _any(ctx, actor, documents.c.task_id == task_id)


async def _any(ctx: Context, actor: Actor, condition: sa.ColumnElement[bool]) -> bool:
    wanted = sa.select(documents.c.id).where(condition, visible(ctx, actor))
    return await ctx.sql.read(lambda connection: connection.execute(wanted).first() is not None)
