"""Reads a document's pages in worker processes, a batch at a time, and keeps what they give; goes on where it was broken off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from jobs.cpu import pdf_ocr
from jobs.cpu.pdf_errors import PdfError
from jobs.cpu.pdf_survey import Survey, survey
from jobs.cpu.reading import READER, Batch, read_batch, recognise_batch, skip_page
from jobs.cpu.shapes import Carry, Chunk, Page
from server.context import Context
from server.engines.compute import ComputeCrashed, ComputeOutOfMemory, ComputeTimedOut
from server.engines.files import FileMissing
from server.errors import DomainError
from server.knowledge.chunk_states import ChunkState
from server.knowledge.passages import store_pages
from server.knowledge.statuses import Status
from server.knowledge.tables import chunks, document_pages, documents
from server.messages import Text, text

T = TypeVar("T")

# The first batch is small: its passages are to be found within seconds. A later one opens the file anew, at the cost of several pages.
FIRST_PAGES = 4
PAGES_AT_ONCE = 64
SCANS_AT_ONCE = 2
SURVEY_TIME_S = 60.0
BATCH_TIME_S = 60.0
# A page that takes longer than this alone is left out.
PAGE_TIME_S = 20.0
SCAN_TIME_S = 90.0
# Each such page has cost its time; a document with more of them is not worth a worker's.
MOST_UNREADABLE = 20
DEATHS = (ComputeCrashed, ComputeTimedOut, ComputeOutOfMemory)


class CannotRead(DomainError):
    """The document ends in a status that says why; trying again would not help."""

    type = "document_unreadable"

    def __init__(self, why: Text, status: Status = Status.FAILED) -> None:
        self.why = why
        self.status = status
        super().__init__(why=why)


class Superseded(Exception):
    """The document was deleted or begun anew while it was being read."""


class Reader:
    """Reads one generation of one document."""

    def __init__(self, ctx: Context, row: Any, stored: Callable[[], Awaitable[None]]) -> None:
        self._ctx = ctx
        self._row = row
        self._stored = stored
        self._path = str(ctx.files.path(row.sha256))
        self._survey: Survey | None = None
        self._languages: list[str] = []
        self.pages = int(row.pages)
        self.pages_read = int(row.pages_read)
        self.unreadable = int(row.unreadable)

    async def open(self) -> None:
        """Find out what it is. Raises CannotRead."""
        found = await self._survey_it()
        self._survey, self.pages = found, found.pages
        if not found.has_text:
            self._languages = await self._run(pdf_ocr.languages, time_limit_s=SURVEY_TIME_S)
            if not self._languages:
                raise CannotRead(text("document.no_text"), Status.NO_TEXT)
        values = {
            "pages": found.pages,
            "language": found.language,
            "survey": msgspec.to_builtins(found),
            "ocr": not found.has_text,
            "reader": READER,
        }
        await self._write(lambda connection: connection.execute(self._held().values(values)).rowcount == 1)

    async def read(self) -> None:
        """All pages that are not yet read, in order. Raises CannotRead, Superseded."""
        carry = msgspec.convert(self._row.carry, Carry) if self._row.carry else Carry()
        while self.pages_read < self.pages:
            first = self.pages_read + 1
            size = SCANS_AT_ONCE if self._languages else PAGES_AT_ONCE if self.pages_read else FIRST_PAGES
            last = min(first + size - 1, self.pages)
            for batch in await self._batches(first, last, carry):
                carry = batch.carry
                await self._keep(batch)
            await self._stored()

    async def _survey_it(self) -> Survey:
        try:
            await self._ctx.files.size(self._row.sha256)
            return await self._run(survey, self._path, self._ctx.settings.max_pages, time_limit_s=SURVEY_TIME_S, urgent=True)
        except (FileMissing, ComputeTimedOut, ComputeOutOfMemory) as error:
            raise CannotRead(error.text) from error

    async def _batches(self, first: int, last: int, carry: Carry) -> list[Batch]:
        """The pages in one batch; when a worker dies of them, page by page, and without the page it was."""
        try:
            return [await self._read(first, last, carry, BATCH_TIME_S)]
        except DEATHS:
            found = []
            for number in range(first, last + 1):
                try:
                    found.append(await self._read(number, number, carry, PAGE_TIME_S))
                except DEATHS as death:
                    if self.unreadable + sum(batch.unreadable for batch in found) >= MOST_UNREADABLE:
                        raise CannotRead(text("document.too_many_unreadable", pages=MOST_UNREADABLE, why=death.text)) from death
                    found.append(skip_page(number, carry))
                carry = found[-1].carry
            return found

    async def _read(self, first: int, last: int, carry: Carry, time_limit_s: float) -> Batch:
        urgent = first == 1
        if self._languages:
            limit = SCAN_TIME_S * (last - first + 1)
            return await self._run(recognise_batch, self._path, first, last, self._languages, carry, time_limit_s=limit, urgent=urgent)
        return await self._run(read_batch, self._path, self._survey, first, last, carry, time_limit_s=time_limit_s, urgent=urgent)

    async def _run(self, function: Callable[..., T], *arguments: Any, time_limit_s: float, urgent: bool = False) -> T:
        try:
            return await self._ctx.compute.run(function, *arguments, time_limit_s=time_limit_s, urgent=urgent)
        except PdfError as error:
            raise CannotRead(text(f"document.{error.code}", **vars(error))) from error

    async def _keep(self, batch: Batch) -> None:
        last = batch.pages[-1].number
        self.unreadable += batch.unreadable
        now, row = self._ctx.clock.now(), self._row

        def transaction(connection: sa.Connection) -> bool:
            if not store_pages(connection, row.id, row.generation, batch.pages, batch.chunks, batch.carry, last, now):
                return False
            return connection.execute(self._held().values(unreadable=self.unreadable)).rowcount == 1

        await self._write(transaction)
        self.pages_read = last

    def _held(self) -> sa.Update:
        return documents.update().where(documents.c.id == self._row.id, documents.c.generation == self._row.generation)

    async def _write(self, transaction: Callable[[sa.Connection], bool]) -> None:
        if not await self._ctx.sql.write(transaction):
            raise Superseded()


class CopyReader(Reader):
    """Takes pages and chunks from a document with the same content, which was read before."""

    def __init__(self, ctx: Context, row: Any, stored: Callable[[], Awaitable[None]], twin_id: int) -> None:
        super().__init__(ctx, row, stored)
        self._twin_id = twin_id

    async def open(self) -> None:
        """Nothing is to be found out that the other does not know."""

    async def read(self) -> None:
        now, row = self._ctx.clock.now(), self._row
        twin = sa.select(documents).where(documents.c.id == self._twin_id)
        names = ("pages", "language", "survey", "ocr", "reader", "unreadable")

        def transaction(connection: sa.Connection) -> int:
            other = connection.execute(twin).one_or_none()
            if other is None or other.status != Status.READY.value:
                raise Superseded()
            pages, cut = content_of(connection, self._twin_id)
            if not store_pages(connection, row.id, row.generation, pages, cut, Carry(), other.pages, now):
                raise Superseded()
            connection.execute(self._held().values({name: getattr(other, name) for name in names}))
            return int(other.pages)

        self.pages = self.pages_read = await self._ctx.sql.write(transaction)
        await self._stored()


def content_of(connection: sa.Connection, document_id: int) -> tuple[list[Page], list[Chunk]]:
    """The pages of a document and the chunks that are searched, in order."""
    paged = sa.select(document_pages).where(document_pages.c.document_id == document_id).order_by(document_pages.c.number)
    pages = [
        msgspec.convert(
            {"number": row.number, "width": row.width, "height": row.height, "blocks": row.blocks, "language": row.language}, Page
        )
        for row in connection.execute(paged)
    ]
    wanted = sa.select(chunks).where(chunks.c.document_id == document_id, chunks.c.state == ChunkState.LIVE.value)
    cut = [
        msgspec.convert({"page": row.page, "path": row.path, "text": row.text, "boxes": row.boxes, "language": row.language}, Chunk)
        for row in connection.execute(wanted.order_by(chunks.c.number))
    ]
    return pages, cut


def find_twin(connection: sa.Connection, document_id: int, sha256: str) -> int | None:
    """Another document with this content that was read completely by the present version."""
    same = sa.select(documents.c.id).where(
        documents.c.sha256 == sha256, documents.c.id != document_id, documents.c.status == Status.READY.value, documents.c.reader == READER
    )
    found = connection.execute(same.order_by(documents.c.id).limit(1)).scalar()
    return None if found is None else int(found)
