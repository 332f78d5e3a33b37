"""From an uploaded PDF to passages that are found: reads and embeds side by side, batch by batch, and can go on after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from jobs.cpu.chunking import keyword_text
from jobs.cpu.reading import READER
from server.context import Context
from server.engines.embedding import EmbeddingMisfit, EmbeddingRefused, Passage, Vector
from server.engines.vectors import Row, VectorsMismatch, VectorsRefused
from server.knowledge import passages
from server.knowledge.chunk_states import ChunkState, set_state
from server.knowledge.indexes import Index, Indexes
from server.knowledge.passages import with_ids
from server.knowledge.reading import CannotRead, CopyReader, Reader, Superseded, content_of, find_twin
from server.knowledge.removals import forget_content, remove_vectors
from server.knowledge.statuses import DocumentChanged, Status, move
from server.knowledge.tables import documents
from server.knowledge.wording import stored
from server.messages import Text, text
from server.people.told import tell_organization
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce, notify
from server.platform.tasks import Queue, TaskQueued, enqueue

log = logging.getLogger(__name__)

TAG_DB_WRITER = "tag_db_writer"
# The first batch is small, so that something is found soon; a later one keeps both workers busy for a while.
FIRST_CHUNKS = 8
CHUNKS_AT_ONCE = 64
# Share of reading in the progress that is shown, in percent; embedding takes most of the time.
READING_SHARE = 15

Report = Callable[[int, str], Awaitable[None]]


async def process(ctx: Context, document_id: int, generation: int, report: Report) -> dict[str, Any]:
    """Read, embed and index one generation of a document; how many pages and passages it has.

    What cannot be read ends the document with a status that says why. Raises EngineAway, to be called again: it goes on where it was.
    """
    now = ctx.clock.now()
    row = await ctx.sql.write(lambda connection: _begin(connection, document_id, generation, now))
    if row is None:
        return {"skipped": "the document is gone, was begun anew, or has ended"}
    run = _Run(ctx, row, report)
    try:
        return await run.run()
    except Superseded:
        # Whatever was just put in beside it goes, too.
        await ctx.sql.write(lambda connection: _after_removal(connection, document_id, ctx))
        return {"skipped": "the document was deleted or begun anew meanwhile"}
    except CannotRead as error:
        log.info("document %d: %s", document_id, error)
        await end(ctx, document_id, generation, error.status, error.why)
        return {"status": error.status.value, "why": error.why.english()}
    except (EmbeddingMisfit, EmbeddingRefused, VectorsMismatch, VectorsRefused) as error:
        log.warning("document %d: %s", document_id, error)
        await end(ctx, document_id, generation, Status.FAILED, error.text)
        return {"status": Status.FAILED.value, "why": error.text.english()}


async def end(ctx: Context, document_id: int, generation: int, status: Status, why: Text) -> None:
    """End a document that cannot be had: a first reading leaves nothing behind, a later one what was there before."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> tuple[Any, Told | None] | None:
        row = connection.execute(sa.select(documents).where(documents.c.id == document_id)).one_or_none()
        if row is None or not move(connection, document_id, generation, status, now, error=stored(why)):
            return None
        if row.built:
            passages.forget_generation(connection, document_id, generation, now)
        else:
            forget_content(connection, document_id, now)
        return row, _tell(connection, now, row, why) if status is Status.FAILED else None

    ended = await ctx.sql.write(transaction)
    if ended is not None:
        row, told = ended
        if told is not None:
            await announce(ctx, told)
        await ctx.events.publish(DocumentChanged(document_id, status.value, row.progress, row.pages, row.pages_read))
        await ctx.events.publish(TaskQueued(Queue.DOCUMENTS.value))


def _tell(connection: sa.Connection, now: datetime, row: Any, why: Text) -> Told:
    """The owner, and whom the organization has chosen; of what is private, the owner alone."""
    said = {"title": row.title, "error": stored(why)}
    event, link, owner = f"{row.id}:{row.generation}", f"/#/documents/{row.id}", {row.owner_id} - {None}
    if row.visibility == "private":
        return notify(connection, now, owner, Kind.DOCUMENT_FAILED, event, said, link)
    return tell_organization(connection, now, row.organization_id, Kind.DOCUMENT_FAILED, event, said, link, also=owner)


async def note_fault(ctx: Context, document_id: int, generation: int) -> int:
    """Count that the reading went wrong by a fault; how often by now."""
    held = sa.and_(documents.c.id == document_id, documents.c.generation == generation)

    def transaction(connection: sa.Connection) -> int:
        connection.execute(documents.update().where(held).values(faults=documents.c.faults + 1))
        return connection.execute(sa.select(documents.c.faults).where(held)).scalar() or 0

    return await ctx.sql.write(transaction)


async def note_waiting(ctx: Context, document_id: int, generation: int, why: Text) -> None:
    """Say on the document why its reading waits; it goes on by itself."""
    held = documents.update().where(documents.c.id == document_id, documents.c.generation == generation)
    await ctx.sql.write(lambda connection: connection.execute(held.values(error=stored(why), updated_at=ctx.clock.now())))


def _begin(connection: sa.Connection, document_id: int, generation: int, now: Any) -> Any:
    if not move(connection, document_id, generation, Status.PARSING, now, error=None):
        return None
    return connection.execute(sa.select(documents).where(documents.c.id == document_id)).one()


def _after_removal(connection: sa.Connection, document_id: int, ctx: Context) -> None:
    if connection.execute(sa.select(documents.c.id).where(documents.c.id == document_id)).first() is None:
        remove_vectors(connection, document_id, None, ctx.clock.now())


class _Run:
    """One attempt at one generation of one document."""

    def __init__(self, ctx: Context, row: Any, report: Report) -> None:
        self._ctx = ctx
        self._row = row
        self._report = report
        self._indexes = ctx.services.get(Indexes)
        self._written: list[Index] = []
        self._more = asyncio.Event()
        self._reader = Reader(ctx, row, self._stored)
        self._twin_ids: dict[str, str] = {}
        self._progress = int(row.progress)

    async def run(self) -> dict[str, Any]:
        await self._find_twin()
        # Side by side: on a server that has just begun both take seconds.
        self._written, _ = await asyncio.gather(self._indexes.written(), self._reader.open())
        reading = asyncio.create_task(self._read(), name=f"read-{self._row.id}")
        try:
            await self._embed_all(reading)
            await reading
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await reading
        return await self._complete()

    async def _find_twin(self) -> None:
        row = self._row
        if row.pages_read:
            return
        twin = await self._ctx.sql.read(lambda connection: find_twin(connection, row.id, row.sha256))
        if twin is None or row.built:
            return  # who asks to read anew wants it read
        _pages, cut = await self._ctx.sql.read(lambda connection: content_of(connection, twin))
        mine, others = [await asyncio.to_thread(with_ids, document_id, cut) for document_id in (row.id, twin)]
        self._twin_ids = {own: other for (own, _), (other, _) in zip(mine, others, strict=True)}
        self._reader = CopyReader(self._ctx, row, self._stored, twin)

    async def _read(self) -> None:
        try:
            await self._reader.read()
        finally:
            self._more.set()

    async def _stored(self) -> None:
        self._more.set()
        await self._tell()

    async def _embed_all(self, reading: asyncio.Task[None]) -> None:
        """Embed what is read until all is; while a batch is being stored the next is embedded already."""
        after, storing, limit = 0, None, FIRST_CHUNKS
        try:
            while True:
                self._more.clear()
                finished = reading.done()
                rows = await self._ctx.sql.read(lambda connection, after=after, limit=limit: self._pending(connection, after, limit))  # type: ignore[misc]
                if not rows:
                    if finished:
                        break
                    await self._more.wait()
                    continue
                vectors = [await self._vectors(index, rows, urgent=limit == FIRST_CHUNKS) for index in self._written]
                if storing is not None:
                    await storing
                storing = asyncio.create_task(self._store(rows, vectors), name=f"store-{self._row.id}")
                after, limit = rows[-1].number, CHUNKS_AT_ONCE
            if storing is not None:
                await storing
        finally:
            if storing is not None and not storing.done():
                storing.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await storing

    def _pending(self, connection: sa.Connection, after: int, limit: int) -> Sequence[Any]:
        return passages.pending(connection, self._row.id, after, limit)

    async def _vectors(self, index: Index, rows: Sequence[Any], *, urgent: bool) -> list[Vector]:
        """The vectors of chunks for one index: those that a document with the same content has, and the rest embedded."""
        known: dict[str, Vector] = {}
        if self._twin_ids:
            theirs = [self._twin_ids[row.id] for row in rows if row.id in self._twin_ids]
            known = await self._ctx.vectors.vectors(index.collection, theirs)
        found = [known.get(self._twin_ids.get(row.id, "")) for row in rows]
        missing = [number for number, vector in enumerate(found) if vector is None]
        if missing:
            wanted = [passage_of(rows[number]) for number in missing]
            made = await self._indexes.door(index).passages(wanted, urgent=urgent)
            for number, vector in zip(missing, made, strict=True):
                found[number] = vector
        return [vector for vector in found if vector is not None]

    async def _store(self, rows: Sequence[Any], vectors: Sequence[Sequence[Vector]]) -> None:
        for index, own in zip(self._written, vectors, strict=True):
            made = [row_of(row, self._row.organization_id, vector) for row, vector in zip(rows, own, strict=True)]
            await self._ctx.vectors.put(index.collection, made)
        shown = ChunkState.WAITING if self._row.built else ChunkState.LIVE
        ids = [row.id for row in rows]

        def transaction(connection: sa.Connection) -> bool:
            held = sa.select(documents.c.id).where(documents.c.id == self._row.id, documents.c.generation == self._row.generation)
            if connection.execute(held).first() is None:
                return False
            set_state(connection, ids, ChunkState.PENDING, shown)
            return True

        if not await self._ctx.sql.write(transaction):
            raise Superseded()
        await self._tell()

    async def _tell(self) -> None:
        """Write and publish how far it is."""
        row, reader = self._row, self._reader
        done, total = await self._ctx.sql.read(lambda connection: passages.counts(connection, row.id, row.generation))
        expected = total * reader.pages / max(reader.pages_read, 1)
        progress = READING_SHARE * reader.pages_read / max(reader.pages, 1) + (100 - READING_SHARE) * done / max(expected, 1)
        self._progress = max(self._progress, min(99, int(progress)))
        all_read = reader.pages_read >= reader.pages
        now, status = self._ctx.clock.now(), Status.EMBEDDING if all_read else Status.PARSING

        def transaction(connection: sa.Connection) -> bool:
            # Also where the status stays: another instance that took over while this one was frozen may have ended the document.
            return move(connection, row.id, row.generation, status, now, progress=self._progress)

        if not await self._ctx.sql.write(transaction):
            raise Superseded()
        await self._ctx.events.publish(DocumentChanged(row.id, status.value, self._progress, reader.pages, reader.pages_read))
        await self._report(self._progress, f"{reader.pages_read}/{reader.pages} · {done}/{total}")

    async def _complete(self) -> dict[str, Any]:
        row, reader, now = self._row, self._reader, self._ctx.clock.now()

        def transaction(connection: sa.Connection) -> int:
            _done, total = passages.counts(connection, row.id, row.generation)
            if not total:
                if reader.unreadable:
                    raise CannotRead(text("document.unreadable_pages", pages=reader.unreadable))
                raise CannotRead(text("document.no_words"), Status.NO_TEXT)
            values = {
                "progress": 100,
                "pages_read": reader.pages,
                "built": row.generation,
                "reader": READER,
                "ready_at": now,
                "carry": None,
                "error": None,
            }
            if not move(connection, row.id, row.generation, Status.READY, now, **values):
                raise Superseded()
            passages.show_generation(connection, row.id, row.generation, now)
            enqueue(connection, Queue.DOCUMENTS, TAG_DB_WRITER, {"document_id": row.id}, now=now, max_attempts=20)
            return total

        total = await self._ctx.sql.write(transaction)
        await self._ctx.events.publish(DocumentChanged(row.id, Status.READY.value, 100, reader.pages, reader.pages))
        await self._ctx.events.publish(TaskQueued(Queue.DOCUMENTS.value))
        return {"pages": reader.pages, "passages": total, "unreadable": reader.unreadable, "copied": len(self._twin_ids)}


def passage_of(row: Any) -> Passage:
    """A chunk as its embedder takes it."""
    return Passage(text=row.text, heading=row.path[-1] if row.path else "", language=row.language)


def row_of(row: Any, organization_id: int, vector: Vector) -> Row:
    """A chunk as a row of an index."""
    return Row(
        id=row.id,
        document_id=row.document_id,
        organization_id=organization_id,
        language=row.language,
        text=keyword_text(row.path, row.text),
        vector=vector,
    )
