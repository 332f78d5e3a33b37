"""Search: by meaning, by words, or both together; whatever is found is checked against the database before it is shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from jobs.cpu.chunking import keyword_text
from server.actor import Actor
from server.context import Context
from server.engines.vectors import Hit, Where
from server.errors import EngineAway
from server.knowledge.chunk_states import ChunkState
from server.knowledge.fusion import fuse
from server.knowledge.indexes import Index, Indexes
from server.knowledge.search_schemas import FoundPassage, Mode, SearchAnswer, SearchBody, SearchGroup, SearchHit, SearchScope
from server.knowledge.searched import conditions, where
from server.knowledge.snippets import snippet
from server.knowledge.tables import chunks, documents
from server.knowledge.words import language

# How many candidates each half gives to the fusion, which was tuned on this number.
CANDIDATES = 50
# Where the filter cannot name every document, that many times more are asked for.
WIDER = 6


async def search(ctx: Context, actor: Actor, wanted: SearchBody) -> SearchAnswer:
    """Hits in order, with what was searched for marked. Without the embedding engine a hybrid search goes by words alone, and says so."""
    began = time.perf_counter()
    found, degraded = await _find(ctx, actor, wanted.q, wanted.mode, wanted.scope)
    hits = [_hit(passage, wanted.q) for passage in (found if wanted.group else found[: wanted.limit])]
    groups = None
    if wanted.group:
        groups = _grouped(hits)[: wanted.limit]
        hits = [hit for group in groups for hit in group.hits]
    took = time.perf_counter() - began
    ctx.metrics.searches.labels(wanted.mode).observe(took)
    return SearchAnswer(hits=hits, took_ms=round(took * 1000, 1), mode=wanted.mode, groups=groups, degraded=degraded)


async def find_passages(ctx: Context, actor: Actor, question: str, scope: SearchScope, limit: int) -> list[FoundPassage]:
    """The best passages for a question among what the actor may see, best first. Raises EngineAway."""
    found, _degraded = await _find(ctx, actor, question, "hybrid", scope)
    return found[:limit]


async def _find(ctx: Context, actor: Actor, question: str, mode: Mode, scope: SearchScope) -> tuple[list[FoundPassage], bool]:
    indexes = ctx.services.get(Indexes)
    condition, exact = await ctx.sql.read(lambda connection: where(ctx, connection, actor, scope))
    index = await indexes.find_active() if condition.documents != () else None
    if index is None:
        return [], False
    limit = CANDIDATES if exact else CANDIDATES * WIDER
    dense, keyword, degraded = await _ask(ctx, indexes, index, question, mode, condition, limit)
    rows = await _rows(ctx, actor, scope, [hit.id for hit in (*dense, *keyword)])
    dense, keyword = ([hit for hit in half if hit.id in rows][:CANDIDATES] for half in (dense, keyword))
    scores = _fused(question, mode, dense, keyword, rows)
    similarity = {hit.id: hit.score for hit in dense}
    return [_passage(rows[chunk_id], score, similarity.get(chunk_id, 0.0)) for chunk_id, score in scores], degraded


async def _ask(
    ctx: Context, indexes: Indexes, index: Index, question: str, mode: Mode, condition: Where, limit: int
) -> tuple[list[Hit], list[Hit], bool]:
    """Both halves at once; whether the half by meaning had to be left out."""

    async def by_meaning() -> list[Hit]:
        vector = await indexes.door(index).query(question, language(question))
        return await ctx.vectors.dense(index.collection, vector, condition, limit)

    async def by_words() -> list[Hit]:
        return await ctx.vectors.keyword(index.collection, question, condition, limit)

    if mode == "dense":
        return await by_meaning(), [], False
    if mode == "keyword":
        return [], await by_words(), False
    dense, keyword = await asyncio.gather(by_meaning(), by_words(), return_exceptions=True)
    if isinstance(keyword, BaseException):
        raise keyword
    if isinstance(dense, EngineAway) and dense.engine == "embedding":
        return [], keyword, True
    if isinstance(dense, BaseException):
        raise dense
    return dense, keyword, False


async def _rows(ctx: Context, actor: Actor, scope: SearchScope, ids: Sequence[str]) -> Mapping[str, Any]:
    """The chunks by id, with their document's title: only what is still there and may be seen now."""
    if not ids:
        return {}
    wanted = (
        sa.select(chunks, documents.c.title)
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(chunks.c.id.in_(list(dict.fromkeys(ids))), chunks.c.state == ChunkState.LIVE.value, conditions(ctx, actor, scope))
    )
    return await ctx.sql.read(lambda connection: {row.id: row for row in connection.execute(wanted)})


def _fused(question: str, mode: Mode, dense: list[Hit], keyword: list[Hit], rows: Mapping[str, Any]) -> list[tuple[str, float]]:
    if mode == "hybrid":
        texts = {row.id: (keyword_text(row.path, row.text), row.language) for row in rows.values()}
        return fuse(question, [(hit.id, hit.score) for hit in dense], [(hit.id, hit.score) for hit in keyword], texts)
    half = dense or keyword
    if mode == "dense":
        return [(hit.id, max(0.0, min(1.0, hit.score))) for hit in half]
    best = half[0].score if half else 1.0
    return [(hit.id, hit.score / best if best > 0 else 0.0) for hit in half]


def _passage(row: Any, score: float, similarity: float) -> FoundPassage:
    return FoundPassage(
        chunk_id=row.id,
        document_id=row.document_id,
        title=row.title,
        page=row.page,
        path=row.path,
        text=row.text,
        language=row.language,
        score=round(score, 4),
        similarity=round(similarity, 4),
        boxes=[tuple(box) for box in row.boxes],
    )


def _hit(passage: FoundPassage, question: str) -> SearchHit:
    return SearchHit(
        document_id=passage.document_id,
        title=passage.title,
        page=passage.page,
        chunk_id=passage.chunk_id,
        score=passage.score,
        snippet=snippet(question, passage.text),
        boxes=passage.boxes,
        path=passage.path,
        lang=passage.language,
    )


def _grouped(hits: Sequence[SearchHit]) -> list[SearchGroup]:
    """Hits by document, in the order of the best of each."""
    groups: dict[int, SearchGroup] = {}
    for hit in hits:
        group = groups.setdefault(hit.document_id, SearchGroup(hit.document_id, hit.title, hit.score, []))
        group.hits.append(hit)
    return list(groups.values())
