"""Projects like another: by title and summary, and by the documents that are attached to both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.engines.vectors import Where
from server.errors import EngineAway
from server.knowledge.access import visible_ids
from server.knowledge.indexes import Indexes
from server.knowledge.naming import documents_of, passages_of
from server.projects.access import access_project, visible
from server.projects.project_index import prepared, row_id
from server.projects.project_schemas import Project
from server.projects.project_search import CANDIDATES, fused, nearest, where
from server.projects.projects import shown
from server.projects.tables import project_attachments, projects

# Passages of a project's documents that are compared, spread over each.
SAMPLES = 8
MOST = 10
MOST_DOCUMENTS = 10_000


class SimilarProject(msgspec.Struct, kw_only=True):
    """`by`: text (title and summary), documents, or both."""

    project: Project
    score: float
    by: list[str]


class SimilarProjects(msgspec.Struct, kw_only=True):
    """`degraded`: an engine is away."""

    items: list[SimilarProject]
    total: int
    degraded: bool


async def similar(ctx: Context, actor: Actor, project_id: int) -> SimilarProjects:
    """The most similar of the projects that the caller may see, by documents that the caller may read. Raises ProjectNotFound."""
    project = await ctx.sql.read(lambda connection: access_project(connection, actor, project_id))
    condition = sa.and_(visible(actor), projects.c.id != project_id)
    degraded, lists = False, dict[str, Sequence[int]]()
    text, papers = await asyncio.gather(
        _by_text(ctx, row_id(project), condition), _by_documents(ctx, actor, project_id), return_exceptions=True
    )
    for name, found in (("text", text), ("documents", papers)):
        if isinstance(found, EngineAway):
            degraded = True
        elif isinstance(found, BaseException):
            raise found
        else:
            lists[name] = found

    def transaction(connection: sa.Connection) -> list[SimilarProject]:
        asked = sorted({one for found in lists.values() for one in found})
        rows = {row.id: row for row in connection.execute(sa.select(projects).where(projects.c.id.in_(asked), condition))}
        ranked = fused({name: [one for one in found if one in rows] for name, found in lists.items()})[:MOST]
        items = {one.id: one for one in shown(connection, actor, [rows[one] for one, _, _ in ranked])}
        return [SimilarProject(project=items[one], score=score, by=by) for one, score, by in ranked]

    items = await ctx.sql.read(transaction)
    return SimilarProjects(items=items, total=len(items), degraded=degraded)


async def _by_text(ctx: Context, row: str, condition: sa.ColumnElement[bool]) -> list[int]:
    left = await where(ctx, condition)
    if left.is_empty:
        return []
    collection = await prepared(ctx)
    held = await ctx.vectors.vectors(collection, [row])
    return await nearest(ctx, collection, held[row], left) if row in held else []  # else it has not been read yet


async def _by_documents(ctx: Context, actor: Actor, project_id: int) -> list[int]:
    """The projects whose documents have the passages nearest to those of this one's."""

    def read(connection: sa.Connection) -> tuple[list[str], dict[int, set[int]]]:
        owners: dict[int, set[int]] = {}
        own = sa.select(project_attachments.c.document_id).where(project_attachments.c.project_id == project_id)
        mine = visible_ids(ctx, connection, actor, connection.execute(own).scalars())
        seen = sa.select(projects.c.id).where(visible(actor), projects.c.id != project_id)
        others = sa.select(project_attachments).where(project_attachments.c.project_id.in_(seen))
        for row in connection.execute(others.order_by(project_attachments.c.document_id.desc()).limit(MOST_DOCUMENTS)):
            owners.setdefault(row.document_id, set()).add(row.project_id)
        return _samples(connection, mine), owners

    samples, owners = await ctx.sql.read(read)
    index = await ctx.services.get(Indexes).find_active() if samples and owners else None
    if index is None:
        return []
    vectors = await ctx.vectors.vectors(index.collection, samples)
    left = Where(documents=tuple(owners))
    answers = await asyncio.gather(*(ctx.vectors.dense(index.collection, vector, left, CANDIDATES) for vector in vectors.values()))
    wanted = sorted({hit.id for hits in answers for hit in hits})

    def read_documents(connection: sa.Connection) -> dict[str, int]:
        found = documents_of(connection, wanted)
        readable = visible_ids(ctx, connection, actor, found.values())
        return {passage: document_id for passage, document_id in found.items() if document_id in readable}

    document_of = await ctx.sql.read(read_documents)
    scores: dict[int, float] = {}
    for hits in answers:
        best: dict[int, float] = {}  # the nearest passage of each project to this one
        for hit in hits:
            for other in owners.get(document_of.get(hit.id, 0), ()):
                best[other] = max(best.get(other, 0.0), hit.score)
        for other, score in best.items():
            scores[other] = scores.get(other, 0.0) + score
    return sorted(scores, key=lambda other: (-scores[other], other))[:CANDIDATES]


def _samples(connection: sa.Connection, document_ids: set[int]) -> list[str]:
    """Passages spread evenly over the documents."""
    ids = passages_of(connection, document_ids, 2000)
    return ids[:: max(1, len(ids) // SAMPLES)][:SAMPLES]
