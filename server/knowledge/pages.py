"""The pages of a document: their text with boxes, and their image with passages marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.pdf_errors import PdfError
from jobs.cpu.pdf_image import page_image
from jobs.cpu.shapes import Page
from server.actor import Actor
from server.context import Context
from server.knowledge.access import access_document
from server.knowledge.chunk_states import ChunkState
from server.knowledge.errors import ChunkNotFound, PageNotFound
from server.knowledge.schemas import DocumentPage, PageChunk
from server.knowledge.tables import chunks, document_pages

IMAGE_TIME_S = 20.0


async def get_page(ctx: Context, actor: Actor, document_id: int, number: int) -> DocumentPage:
    """A page's text, blocks and passages. Raises DocumentNotFound, PageNotFound."""

    def transaction(connection: sa.Connection) -> DocumentPage:
        document = access_document(ctx, connection, actor, document_id)
        wanted = sa.select(document_pages).where(document_pages.c.document_id == document_id, document_pages.c.number == number)
        row = connection.execute(wanted).one_or_none()
        if row is None:
            raise PageNotFound()
        page = msgspec.convert({"number": number, "width": row.width, "height": row.height, "blocks": row.blocks}, Page)
        found = _chunks_of(document_id).where(chunks.c.page == number)
        return DocumentPage(
            document_id=document_id,
            number=number,
            pages=document.pages,
            width=row.width,
            height=row.height,
            language=row.language,
            text=page.text,
            blocks=page.blocks,
            chunks=[PageChunk(chunk.id, chunk.path, chunk.text, chunk.boxes) for chunk in connection.execute(found)],
        )

    return await ctx.sql.read(transaction)


async def image(ctx: Context, actor: Actor, document_id: int, number: int, highlight: Sequence[str], width: int) -> bytes:
    """A page as a PNG, `width` pixels wide, with passages marked. Raises DocumentNotFound, PageNotFound, ChunkNotFound."""

    def transaction(connection: sa.Connection) -> tuple[Any, list[Any]]:
        document = access_document(ctx, connection, actor, document_id)
        marked = _chunks_of(document_id).where(chunks.c.page == number, chunks.c.id.in_(list(highlight)))
        return document, list(connection.execute(marked)) if highlight else []

    document, marked = await ctx.sql.read(transaction)
    if not 1 <= number <= document.pages:
        raise PageNotFound()
    if len(marked) < len(set(highlight)):
        raise ChunkNotFound()
    boxes = [tuple(box) for chunk in marked for box in chunk.boxes]
    path = str(ctx.files.path(document.sha256))
    try:
        return await ctx.compute.run(page_image, path, number, boxes, width, time_limit_s=IMAGE_TIME_S, urgent=True)
    except PdfError as error:
        raise PageNotFound() from error


def _chunks_of(document_id: int) -> sa.Select[Any]:
    live = sa.and_(chunks.c.document_id == document_id, chunks.c.state == ChunkState.LIVE.value)
    return sa.select(chunks).where(live).order_by(chunks.c.number)
