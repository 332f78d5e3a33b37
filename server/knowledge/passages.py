"""Stores what reading gives: pages, and the chunks that they were cut into."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.shapes import Carry, Chunk, Page
from server.knowledge import removals
from server.knowledge.chunk_states import ChunkState
from server.knowledge.statuses import Status
from server.knowledge.tables import chunks, document_pages, documents


def chunk_id(document_id: int, chunk: Chunk, again: int) -> str:
    """The id of a chunk: the same text in the same place of the same document has the same one. `again` counts equals on a page."""
    seed = "\x1f".join((str(document_id), str(chunk.page), "\x1e".join(chunk.path), chunk.text, str(again)))
    return hashlib.blake2b(seed.encode(), digest_size=16).hexdigest()


def with_ids(document_id: int, found: Sequence[Chunk]) -> list[tuple[str, Chunk]]:
    """Chunks of whole pages with their ids."""
    seen: Counter[tuple[int, tuple[str, ...], str]] = Counter()
    named = []
    for chunk in found:
        key = (chunk.page, tuple(chunk.path), chunk.text)
        named.append((chunk_id(document_id, chunk, seen[key]), chunk))
        seen[key] += 1
    return named


def store_pages(
    connection: sa.Connection,
    document_id: int,
    generation: int,
    pages: Sequence[Page],
    found: Sequence[Chunk],
    carry: Carry,
    last: int,
    now: datetime,
) -> bool:
    """Keep the pages up to `last` and their chunks; False when the document is gone, was begun anew, or has ended meanwhile."""
    held = documents.update().where(
        documents.c.id == document_id,
        documents.c.generation == generation,
        documents.c.status.in_((Status.PARSING.value, Status.EMBEDDING.value)),
    )
    values = {"pages_read": last, "carry": msgspec.to_builtins(carry), "updated_at": now}
    if not connection.execute(held.values(values)).rowcount:
        return False
    numbers = [page.number for page in pages]
    connection.execute(document_pages.delete().where(document_pages.c.document_id == document_id, document_pages.c.number.in_(numbers)))
    if pages:
        connection.execute(document_pages.insert(), [_page_row(document_id, page) for page in pages])
    _store_chunks(connection, document_id, generation, found)
    return True


def _page_row(document_id: int, page: Page) -> dict[str, Any]:
    return {
        "document_id": document_id,
        "number": page.number,
        "width": page.width,
        "height": page.height,
        "language": page.language,
        "blocks": page.blocks,
    }


def _store_chunks(connection: sa.Connection, document_id: int, generation: int, found: Sequence[Chunk]) -> None:
    """Add what is new as pending; what an earlier generation has already goes on being searchable, as a part of this one as well."""
    named = with_ids(document_id, found)
    before = connection.execute(sa.select(sa.func.max(chunks.c.number)).where(chunks.c.document_id == document_id)).scalar() or 0
    held = set()
    for start in range(0, len(named), 500):
        ids = [known for known, _ in named[start : start + 500]]
        held |= set(connection.execute(sa.select(chunks.c.id).where(chunks.c.id.in_(ids))).scalars())
    rows = []
    for number, (named_id, chunk) in enumerate(named, before + 1):
        if named_id in held:
            kept = {"generation": generation, "number": number, "boxes": chunk.boxes}
            connection.execute(chunks.update().where(chunks.c.id == named_id).values(kept))
            continue
        rows.append(
            {
                "id": named_id,
                "document_id": document_id,
                "generation": generation,
                "state": ChunkState.PENDING.value,
                "number": number,
                "page": chunk.page,
                "language": chunk.language,
                "path": chunk.path,
                "text": chunk.text,
                "boxes": chunk.boxes,
            }
        )
    if rows:
        connection.execute(chunks.insert(), rows)


def pending(connection: sa.Connection, document_id: int, after: int, limit: int) -> Sequence[sa.Row[Any]]:
    """The next chunks without a vector after a number, in the order of the text."""
    wanted = sa.select(chunks).where(
        chunks.c.document_id == document_id, chunks.c.state == ChunkState.PENDING.value, chunks.c.number > after
    )
    return connection.execute(wanted.order_by(chunks.c.number).limit(limit)).all()


def counts(connection: sa.Connection, document_id: int, generation: int) -> tuple[int, int]:
    """How many chunks of a generation have a vector, and how many there are so far."""
    has = sa.case((chunks.c.state != ChunkState.PENDING.value, 1), else_=0)
    wanted = sa.select(sa.func.coalesce(sa.func.sum(has), 0), sa.func.count()).where(
        chunks.c.document_id == document_id, chunks.c.generation == generation
    )
    done, total = connection.execute(wanted).one()
    return int(done), int(total)


def show_generation(connection: sa.Connection, document_id: int, generation: int, now: datetime) -> None:
    """The chunks of a complete generation are searched from now on, and those of earlier ones no longer."""
    old = sa.and_(chunks.c.document_id == document_id, chunks.c.generation < generation)
    gone = list(connection.execute(sa.select(chunks.c.id).where(old)).scalars())
    connection.execute(chunks.delete().where(old))
    removals.remove_vectors(connection, document_id, gone, now)
    waiting = sa.and_(chunks.c.document_id == document_id, chunks.c.state == ChunkState.WAITING.value)
    connection.execute(chunks.update().where(waiting).values(state=ChunkState.LIVE.value))


def forget_generation(connection: sa.Connection, document_id: int, generation: int, now: datetime) -> None:
    """Remove the chunks that a generation added and that are not shown: it was not completed."""
    added = sa.and_(chunks.c.document_id == document_id, chunks.c.generation == generation, chunks.c.state != ChunkState.LIVE.value)
    gone = list(connection.execute(sa.select(chunks.c.id).where(added)).scalars())
    connection.execute(chunks.delete().where(added))
    removals.remove_vectors(connection, document_id, gone, now)
