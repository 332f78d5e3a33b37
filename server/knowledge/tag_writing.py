"""Puts the tags on documents that surely fit; what people put on or took off stays as they left it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.knowledge.statuses import DocumentChanged
from server.knowledge.tables import document_tags, documents, refused_tags, tags
from server.knowledge.tag_suggestions import Fit, Subject, fits_of
from server.knowledge.wording import stored

JOB, PERSON = "job", "person"
# Where it was measured (see tag_suggestions.py) 99 % of the tags with this score fitted, and 93 % of those that fit had it.
LEAST_SCORE = 0.7
MOST_WRITTEN = 8

Report = Callable[[int, str], Awaitable[None]]


async def write_tags(ctx: Context, document_id: int) -> dict[str, Any]:
    """Write a document's tags anew: how many the job's tags are, and how many it took off. Raises EngineAway, to be called again."""
    wanted = sa.select(documents.c.id, documents.c.organization_id, documents.c.built).where(documents.c.id == document_id)
    row = await ctx.sql.read(lambda connection: connection.execute(wanted).one_or_none())
    if row is None or not row.built:
        return {"skipped": "the document is gone or was never read completely"}
    sure = [fit for fit in await fits_of(ctx, Subject(row.id, row.organization_id)) if fit.score >= LEAST_SCORE]
    now = ctx.clock.now()
    document, written, removed = await ctx.sql.write(lambda connection: _write(connection, document_id, sure, now))
    if document is not None:
        event = DocumentChanged(document.id, document.status, document.progress, document.pages, document.pages_read)
        await ctx.events.publish(event)
    return {"written": written, "removed": removed}


async def apply_vocabulary(ctx: Context, organization_id: int, report: Report) -> dict[str, Any]:
    """Write the tags of all documents of an organization anew; can be broken off and called again. Raises EngineAway."""
    wanted = sa.select(documents.c.id).where(documents.c.organization_id == organization_id, documents.c.built > 0)
    ids = list(await ctx.sql.read(lambda connection: connection.execute(wanted.order_by(documents.c.id)).scalars().all()))
    written = removed = 0
    for number, document_id in enumerate(ids, 1):
        done = await write_tags(ctx, document_id)
        written += done.get("written", 0)
        removed += done.get("removed", 0)
        await report(100 * number // (len(ids) + 1), f"{number}/{len(ids)}")
    return {"documents": len(ids), "written": written, "removed": removed}


def _write(connection: sa.Connection, document_id: int, sure: Sequence[Fit], now: Any) -> tuple[Any, int, int]:
    """The document's row if a tag came or went, how many tags are the job's now, how many were taken off."""
    document = connection.execute(sa.select(documents).where(documents.c.id == document_id)).one_or_none()
    if document is None:
        return None, 0, 0
    held = {
        row.tag_id: row.source for row in connection.execute(sa.select(document_tags).where(document_tags.c.document_id == document_id))
    }
    refused = set(connection.execute(sa.select(refused_tags.c.tag_id).where(refused_tags.c.document_id == document_id)).scalars())
    present = sa.select(tags.c.id).where(tags.c.organization_id == document.organization_id, tags.c.id.in_([fit.tag_id for fit in sure]))
    known = set(connection.execute(present).scalars())
    kept = [fit for fit in sure if fit.tag_id in known - refused and held.get(fit.tag_id) != PERSON][:MOST_WRITTEN]
    stale = {tag_id for tag_id, source in held.items() if source == JOB} - {fit.tag_id for fit in kept}
    if stale:
        connection.execute(_own(document_id).where(document_tags.c.tag_id.in_(sorted(stale))))
    for fit in kept:
        values = {"score": round(fit.score, 3), "reason": stored(fit.why)}
        if fit.tag_id in held:
            row = sa.and_(document_tags.c.document_id == document_id, document_tags.c.tag_id == fit.tag_id, document_tags.c.source == JOB)
            connection.execute(document_tags.update().where(row).values(values))
        else:
            row_values = {"document_id": document_id, "tag_id": fit.tag_id, "source": JOB, "created_at": now, **values}
            connection.execute(document_tags.insert().values(row_values))
    came = any(fit.tag_id not in held for fit in kept)
    return document if came or stale else None, len(kept), len(stale)


def _own(document_id: int) -> sa.Delete:
    return document_tags.delete().where(document_tags.c.document_id == document_id, document_tags.c.source == JOB)
