"""Builds an index for another model beside the one that is searched, and switches when it is complete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.knowledge import indexes
from server.knowledge.chunk_states import ChunkState
from server.knowledge.indexes import Index, Indexes, IndexState, IndexSwitched
from server.knowledge.indexing import passage_of, row_of
from server.knowledge.tables import chunks, documents

CHUNKS_AT_ONCE = 64
RETIRED_KEPT = timedelta(hours=1)


async def build(ctx: Context, report: Callable[[int, str], Awaitable[None]]) -> dict[str, Any]:
    """Embed what the index under construction does not have; it takes over when nothing is missing. Can be broken off and called again."""
    known = ctx.services.get(Indexes)
    building = next((index for index in await known.written() if index.state is IndexState.BUILDING), None)
    if building is None:
        return {"skipped": "no index is being built"}
    embedded = await _fill(ctx, building, report)
    # What was read meanwhile went to both; a second look finds what came in between.
    while more := await _fill(ctx, building, report):
        embedded += more
    now = ctx.clock.now()
    switched = await ctx.sql.write(lambda connection: indexes.switch(connection, building, now))
    known.forget()
    await ctx.events.publish(IndexSwitched())
    return {"embedded": embedded, "switched": switched, "model": building.model.name}


async def _fill(ctx: Context, index: Index, report: Callable[[int, str], Awaitable[None]]) -> int:
    numbered = sa.select(documents.c.id, documents.c.organization_id).order_by(documents.c.id)
    wanted = await ctx.sql.read(lambda connection: connection.execute(numbered).all())
    embedded = 0
    for number, document in enumerate(wanted):
        held = await ctx.vectors.ids(index.collection, document.id)
        there = await ctx.sql.read(lambda connection, document_id=document.id: _with_vectors(connection, document_id))  # type: ignore[misc]
        rows = [row for row in there if row.id not in held]
        for start in range(0, len(rows), CHUNKS_AT_ONCE):
            part = rows[start : start + CHUNKS_AT_ONCE]
            vectors = await ctx.embedding.other(index.model).passages([passage_of(row) for row in part])
            made = [row_of(row, document.organization_id, vector) for row, vector in zip(part, vectors, strict=True)]
            await ctx.vectors.put(index.collection, made)
        embedded += len(rows)
        await report(100 * (number + 1) // (len(wanted) + 1), f"{number + 1}/{len(wanted)}")
    return embedded


def _with_vectors(connection: sa.Connection, document_id: int) -> Sequence[Any]:
    """The chunks of a document that the other index has; those without a vector yet are brought by who reads the document."""
    has = chunks.c.state != ChunkState.PENDING.value
    return connection.execute(sa.select(chunks).where(chunks.c.document_id == document_id, has).order_by(chunks.c.number)).all()


async def drop_retired(ctx: Context) -> int:
    """Drop the collections that nobody searches any more; how many. Raises EngineAway."""
    before = ctx.clock.now() - RETIRED_KEPT
    old = await ctx.sql.read(lambda connection: indexes.retired(connection, before))
    for index_id, collection in old:
        if await ctx.sql.write(lambda connection, index_id=index_id: indexes.forget_index(connection, index_id)):  # type: ignore[misc]
            await ctx.vectors.drop(collection)
    return len(old)
