"""Finds what was left behind: documents whose task ended without them, vectors without a document, collections that nobody searches."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.knowledge import indexing, rebuilding
from server.knowledge.indexes import Indexes
from server.knowledge.removals import queue_removals, remove_vectors
from server.knowledge.statuses import ENDED, Status
from server.knowledge.tables import documents, vector_removals
from server.messages import text
from server.platform.task_states import ended_tasks

log = logging.getLogger(__name__)

MEND_DOCUMENTS = "mend_documents"
SWEEP_VECTORS = "sweep_vectors"


async def mend(ctx: Context) -> dict[str, Any]:
    """End documents whose task is dead or was cancelled, and begin another index when the model was changed."""
    ended = await _end_stranded(ctx)
    await _resume_removals(ctx)
    if await ctx.services.get(Indexes).find_active() is not None:
        await ctx.services.get(Indexes).written()
    return {"ended": ended}


async def sweep_vectors(ctx: Context) -> dict[str, Any]:
    """Remove vectors whose document is gone, and collections that nobody searches."""
    if await ctx.services.get(Indexes).find_active() is None:
        return {"orphans": 0, "dropped": 0}
    return {"orphans": await _remove_orphans(ctx), "dropped": await rebuilding.drop_retired(ctx)}


async def _end_stranded(ctx: Context) -> int:
    unfinished = sa.select(documents.c.id, documents.c.generation, documents.c.task_id).where(
        documents.c.status.not_in([status.value for status in ENDED])
    )

    def look(connection: sa.Connection) -> list[Any]:
        rows = connection.execute(unfinished).all()
        over = ended_tasks(connection, [row.task_id for row in rows if row.task_id])
        return [row for row in rows if row.task_id in over]

    stranded = await ctx.sql.read(look)
    for row in stranded:
        await indexing.end(ctx, row.id, row.generation, Status.FAILED, text("document.broken_off"))
    return len(stranded)


async def _resume_removals(ctx: Context) -> None:
    """Queue removals that were noted just as the task that carries them out was ending, and that it did not see."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        if connection.execute(sa.select(vector_removals.c.id).limit(1)).first() is not None:
            queue_removals(connection, now)

    await ctx.sql.write(transaction)


async def _remove_orphans(ctx: Context) -> int:
    """Have the vectors removed whose document is gone."""
    active = await ctx.services.get(Indexes).find_active()
    assert active is not None
    held = await ctx.vectors.document_ids(active.collection)
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> int:
        there = set(connection.execute(sa.select(documents.c.id)).scalars())
        for document_id in held - there:
            remove_vectors(connection, document_id, None, now)
        return len(held - there)

    orphans = await ctx.sql.write(transaction) if held else 0
    if orphans:
        log.warning("vectors of %d documents that are gone are being removed", orphans)
    return orphans
