"""Removes what was made of documents: rows at once, vectors as soon as their engine answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from server.context import Context
from server.knowledge.tables import chunks, document_pages, document_tags, documents, refused_tags, vector_indexes, vector_removals
from server.platform import file_references
from server.platform.tasks import Queue, enqueue

REMOVE_VECTORS = "remove_vectors"
AT_ONCE = 200


def owner_of_file(document_id: int) -> str:
    """How a document is named where references to files are counted."""
    return f"document:{document_id}"


def remove_document(connection: sa.Connection, document_id: int, now: datetime) -> None:
    """Delete a document, its pages, chunks and tags; its vectors follow by a task, its file with the next clean-up."""
    # Its own row first: who is just storing pages or tags of it holds that row too, and must end before or find nothing.
    connection.execute(documents.delete().where(documents.c.id == document_id))
    forget_content(connection, document_id, now)
    for table in (document_tags, refused_tags):
        connection.execute(table.delete().where(table.c.document_id == document_id))
    file_references.release(connection, owner_of_file(document_id))


def forget_content(connection: sa.Connection, document_id: int, now: datetime) -> None:
    """Delete the pages and chunks of a document; its vectors follow by a task."""
    connection.execute(document_pages.delete().where(document_pages.c.document_id == document_id))
    connection.execute(chunks.delete().where(chunks.c.document_id == document_id))
    remove_vectors(connection, document_id, None, now)


def remove_vectors(connection: sa.Connection, document_id: int, chunk_ids: Sequence[str] | None, now: datetime) -> None:
    """Note that vectors of a document are to go, all of them or those of some chunks, and queue the task that does it."""
    if chunk_ids is not None and not chunk_ids:
        return
    values = {"document_id": document_id, "chunk_ids": None if chunk_ids is None else list(chunk_ids), "created_at": now}
    connection.execute(vector_removals.insert().values(values))
    queue_removals(connection, now)


def queue_removals(connection: sa.Connection, now: datetime) -> None:
    """Queue the task that removes vectors, unless it is queued already. It is tried for days: what is to go stays noted until then."""
    enqueue(connection, Queue.DOCUMENTS, REMOVE_VECTORS, {}, now=now, unique_key=REMOVE_VECTORS, max_attempts=200)


async def carry_out(ctx: Context) -> int:
    """Remove the vectors that are to go from every collection; how many removals were done. Raises EngineAway."""
    done = 0
    names = sa.select(vector_indexes.c.collection)
    wanted = sa.select(vector_removals).order_by(vector_removals.c.id).limit(AT_ONCE)
    collections = list(await ctx.sql.read(lambda connection: connection.execute(names).scalars().all()))
    while True:
        rows = await ctx.sql.read(lambda connection: connection.execute(wanted).all())
        if not rows:
            return done
        existing = set(await ctx.vectors.collections()) if collections else set()
        for row in rows:
            for collection in collections:
                if collection not in existing:
                    continue
                if row.chunk_ids is None:
                    await ctx.vectors.remove(collection, document_id=row.document_id)
                else:
                    await ctx.vectors.remove(collection, ids=row.chunk_ids)
        ids = [row.id for row in rows]
        await ctx.sql.write(lambda connection, ids=ids: connection.execute(vector_removals.delete().where(vector_removals.c.id.in_(ids))))  # type: ignore[misc]
        done += len(rows)
