"""Projects by words and by meaning: of their titles and summaries, and of the documents that are attached to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.engines.vectors import Hit, Where
from server.errors import EngineAway
from server.knowledge.search import find_passages
from server.knowledge.search_schemas import Limit, Mode, SearchScope, Words
from server.knowledge.snippets import snippet
from server.knowledge.words import language
from server.projects.access import visible
from server.projects.project_index import prepared
from server.projects.project_schemas import Project, ProjectFilter
from server.projects.projects import contains, narrow, shown
from server.projects.states import ProjectState
from server.projects.tables import project_attachments, projects

# How many candidates each list gives to the ranking.
CANDIDATES = 50
# A filter names at most so many projects; beyond that more are asked for, and what may not be shown is dropped.
MOST_NAMED = 10_000
WIDER = 6
# Reciprocal rank fusion: the constant of Cormack, Clarke and Büttcher (SIGIR 2009).
RRF = 60
MOST_WORDS = 8


class ProjectSearchQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`mode`: keyword by words, dense by meaning, hybrid by both."""

    q: Words
    mode: Mode = "hybrid"
    limit: Limit = 10
    kind: Annotated[str, msgspec.Meta(max_length=64)] = ""
    state: Annotated[str, msgspec.Meta(max_length=200)] = ""
    organization_id: int | None = None


class ProjectHit(msgspec.Struct, kw_only=True):
    """A project that was found; `by`: words, meaning, documents. `document_id`: the attached document that was found, if one was."""

    project: Project
    score: float
    by: list[str]
    snippet: str
    document_id: int | None


class ProjectSearchAnswer(msgspec.Struct, kw_only=True):
    """`degraded`: an engine is away, and it was searched by words alone."""

    hits: list[ProjectHit]
    took_ms: float
    mode: str
    degraded: bool


async def search(ctx: Context, actor: Actor, query: ProjectSearchQuery) -> ProjectSearchAnswer:
    """Projects that the caller may see, best first. Raises EngineAway in the mode `dense` alone."""
    began = time.perf_counter()
    condition = _condition(ctx, actor, query)
    lists: dict[str, Sequence[int]] = {}
    documents: dict[int, int] = {}
    degraded = False
    if query.mode != "dense":
        lists["words"] = await ctx.sql.read(lambda connection: _by_words(connection, query.q, condition))
    if query.mode != "keyword":
        meaning, found = await asyncio.gather(
            _by_meaning(ctx, query.q, condition), _by_documents(ctx, actor, query.q), return_exceptions=True
        )
        for one in (meaning, found):
            if isinstance(one, EngineAway) and query.mode == "hybrid":
                degraded = True
            elif isinstance(one, BaseException):
                raise one
        if not isinstance(meaning, BaseException):
            lists["meaning"] = meaning
        if not isinstance(found, BaseException):
            lists["documents"], documents = list(found), found
    hits = await ctx.sql.read(lambda connection: _hits(connection, actor, query, condition, lists, documents))
    return ProjectSearchAnswer(hits=hits, took_ms=round((time.perf_counter() - began) * 1000, 1), mode=query.mode, degraded=degraded)


def fused(lists: Mapping[str, Sequence[int]]) -> list[tuple[int, float, list[str]]]:
    """One ranking of several: each with its score, 1 for who is first in every list, and the lists that it is in."""
    scores: dict[int, float] = {}
    by: dict[int, list[str]] = {}
    for name, found in lists.items():
        for rank, project_id in enumerate(dict.fromkeys(found), start=1):
            scores[project_id] = scores.get(project_id, 0.0) + (RRF + 1) / (RRF + rank)
            by.setdefault(project_id, []).append(name)
    number = max(len(lists), 1)
    return sorted(((one, round(score / number, 4), by[one]) for one, score in scores.items()), key=lambda one: (-one[1], one[0]))


async def where(ctx: Context, condition: sa.ColumnElement[bool]) -> Where:
    """The condition for the vectors' engine; without one, hits that it does not leave are to be dropped. Drafts have no vectors."""
    wanted = sa.select(projects.c.id).where(condition, projects.c.state != ProjectState.DRAFT.value).limit(MOST_NAMED + 1)
    named = await ctx.sql.read(lambda connection: connection.execute(wanted).scalars().all())
    return Where() if len(named) > MOST_NAMED else Where(documents=tuple(named))


async def nearest(ctx: Context, collection: str, vector: bytes, left: Where) -> list[int]:
    """The projects nearest to a vector. Raises EngineAway."""
    hits = await ctx.vectors.dense(collection, vector, left, CANDIDATES * (WIDER if left.documents is None else 1))
    return [project_of(hit) for hit in hits]


def project_of(hit: Hit) -> int:
    """The project of a row, by its id (project_index.row_id)."""
    return int(hit.id[:-16], 16)


def _condition(ctx: Context, actor: Actor, query: ProjectSearchQuery) -> sa.ColumnElement[bool]:
    narrowed = ProjectFilter(kind=query.kind, state=query.state, organization_id=query.organization_id)
    found = narrow(sa.select(projects.c.id), actor, narrowed, ctx.clock.now()).whereclause
    return visible(actor) if found is None else found


def _by_words(connection: sa.Connection, q: str, condition: sa.ColumnElement[bool]) -> list[int]:
    """Projects in whose title, summary or fields every word stands; those with all of them in the title first, then the newest."""
    words = q.replace("\0", " ").split()[:MOST_WORDS]
    fields = sa.type_coerce(projects.c.fields, sa.Text)
    columns = (projects.c.title, projects.c.summary, fields)
    anywhere = sa.and_(sa.true(), *(sa.or_(*(contains(column, word) for column in columns)) for word in words))
    in_title = sa.case((sa.and_(sa.true(), *(contains(projects.c.title, word) for word in words)), 0), else_=1)
    wanted = sa.select(projects.c.id).where(condition, anywhere).order_by(in_title, projects.c.id.desc()).limit(CANDIDATES)
    return list(connection.execute(wanted).scalars())


async def _by_meaning(ctx: Context, q: str, condition: sa.ColumnElement[bool]) -> list[int]:
    left = await where(ctx, condition)
    if left.is_empty:
        return []
    return await nearest(ctx, await prepared(ctx), await ctx.embedding.query(q, language(q)), left)


async def _by_documents(ctx: Context, actor: Actor, q: str) -> dict[int, int]:
    """The projects of the passages that answer, in their order, each with the document."""
    if not actor.may("documents:read"):
        return {}
    found = await find_passages(ctx, actor, q, SearchScope(), CANDIDATES)
    ids = list(dict.fromkeys(passage.document_id for passage in found))
    if not ids:
        return {}
    attached = sa.select(project_attachments).where(project_attachments.c.document_id.in_(ids))
    rows = await ctx.sql.read(lambda connection: connection.execute(attached).all())
    order = {document_id: place for place, document_id in enumerate(ids)}
    result: dict[int, int] = {}
    for row in sorted(rows, key=lambda row: (order[row.document_id], row.project_id)):
        result.setdefault(row.project_id, row.document_id)
    return result


def _hits(
    connection: sa.Connection,
    actor: Actor,
    query: ProjectSearchQuery,
    condition: sa.ColumnElement[bool],
    lists: Mapping[str, Sequence[int]],
    documents: Mapping[int, int],
) -> list[ProjectHit]:
    asked = {project_id for found in lists.values() for project_id in found}
    if not asked:
        return []
    rows = {row.id: row for row in connection.execute(sa.select(projects).where(projects.c.id.in_(sorted(asked)), condition))}
    # Ranks are given among what may be shown: what is hidden must not move what is seen.
    ranked = fused({name: [one for one in found if one in rows] for name, found in lists.items()})[: query.limit]
    items = {one.id: one for one in shown(connection, actor, [rows[project_id] for project_id, _, _ in ranked])}
    return [
        ProjectHit(
            project=items[project_id],
            score=score,
            by=by,
            snippet=snippet(query.q, rows[project_id].summary or rows[project_id].title),
            document_id=documents.get(project_id),
        )
        for project_id, score, by in ranked
    ]
