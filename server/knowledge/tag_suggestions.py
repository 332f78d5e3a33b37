"""Which tags of the vocabulary fit a document: by the meaning of its passages and by the words in them, with a reason."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from jobs.cpu.chunking import keyword_text
from jobs.cpu.tag_words import Mentions, count_mentions
from server.actor import Actor
from server.context import Context
from server.engines.vectors import Hit, Vector, Where
from server.knowledge.access import access_document
from server.knowledge.chunk_states import ChunkState
from server.knowledge.indexes import Index, Indexes
from server.knowledge.tables import chunks, document_tags, tags
from server.knowledge.words import language
from server.messages import Text, text

# A tag's nearness to a document is the mean cosine of its nearest passages.
NEAREST = 3
# Words count as if there were at least so many passages, and no more than MOST_MENTIONS of them: a short document mentions less often.
LIKE_PASSAGES, MOST_MENTIONS = 40, 30
# The logistic function of `score`, fitted to 1,636 pairs of a tag and a document, of which 136 fit: the two Debian reference manuals as a
# whole and chapter by chapter, against 34 tags in Chinese and the same in English, half of which fit no part of them; bundled model.
# Of the pairs with a score of 0.7 and more 99 % fitted, and 93 % of those that fit had one; with 0.5 and more 97 and 94 %.
# Fitted to one manual and tried on the other, 0.5: 95 and 90 %, 94 and 96 %. In 85 sections of 2 to 15 passages, 1 in 3,060 tags that
# fit nowhere came to 0.7.
BASE, BY_NEARNESS, BY_MENTIONS = -8.45, 0.75, 1.9
LEAST_SHOWN = 0.05
MOST_SHOWN = 20
AT_ONCE = 4
COUNTING_TIME_S = 30.0
MOST_KEPT = 5000

# Subjects as far from each other as can be: how near they come to a document says what a cosine means there, for this model, in that
# language. The most and least near ones are left out, so that a document may be about some of them.
SUBJECTS = {
    "zh": (
        *(
            "历史与考古",
            "天气与气候",
            "家庭教育",
            "音乐与舞蹈",
            "汽车维修",
            "绘画艺术",
            "动物与植物",
            "宗教与哲学",
            "股票与投资",
            "饮食营养",
        ),
        *(
            "体育锻炼",
            "城市交通",
            "海洋与渔业",
            "法律诉讼",
            "时装与服饰",
            "婚姻与家庭",
            "建筑施工",
            "外交与国际关系",
            "天文观测",
            "新闻采访",
        ),
    ),
    "en": (
        *("History and archaeology", "Weather and climate", "Raising children", "Music and dance", "Car repair", "Painting and drawing"),
        *("Animals and plants", "Religion and philosophy", "Stocks and investment", "Food and nutrition", "Physical exercise"),
        *("Urban traffic", "Oceans and fishing", "Lawsuits and courts", "Fashion and clothing", "Marriage and family"),
        *("Building and construction", "Diplomacy and foreign affairs", "Astronomy", "News reporting"),
    ),
}
LEFT_OUT = 2  # at either end


class TagSuggestion(msgspec.Struct):
    """A tag that may fit. `score`: the share of tags with such evidence that fitted where it was measured; `applied`: it is on."""

    tag_id: int
    name: str
    score: float
    reason: str
    applied: bool


class Fit(msgspec.Struct, frozen=True):
    """How well a tag fits a document, 0 to 1, and why."""

    tag_id: int
    name: str
    score: float
    why: Text


class Subject(NamedTuple):
    """The document that is looked at, and whose vocabulary."""

    document_id: int
    organization_id: int


def score(nearness: float | None, mentions: int, passages: int) -> float:
    """How likely a tag fits, 0 to 1. `nearness` as `nearness()` gives it, None when it is not known (it then counts as a tag that is far).

    A logistic function of the nearness and of the logarithm of the passages that mention the tag.
    """
    if not passages:
        return 0.0
    told = min(max(mentions, LIKE_PASSAGES * mentions / passages), MOST_MENTIONS)
    return 1 / (1 + math.exp(-(BASE + BY_NEARNESS * (nearness or 0.0) + BY_MENTIONS * math.log1p(told))))


def nearness(cosine: float, subjects: Sequence[float]) -> float:
    """How many times the spread of unrelated subjects a cosine lies above their mean: free of a model's own scale of cosines."""
    kept = sorted(subjects)[LEFT_OUT : len(subjects) - LEFT_OUT]
    return (cosine - statistics.fmean(kept)) / max(statistics.pstdev(kept), 1e-4)


def reason(mentions: Mentions, passages: int, page: int | None) -> Text:
    """Why a tag was proposed, in a sentence."""
    words = " / ".join(mentions.words[:3])
    if not mentions.passages:
        return text("tag.reason.none") if page is None else text("tag.reason.meaning", page=page)
    if page is None:
        return text("tag.reason.words", words=words, count=mentions.passages, passages=passages)
    return text("tag.reason.both", words=words, count=mentions.passages, passages=passages, page=page)


class TagVectors:
    """Keeps the vectors of tags and subjects, by model and text."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Vector] = {}

    @classmethod
    def of(cls, ctx: Context) -> TagVectors:
        """The process's own; whoever asks first makes it."""
        try:
            return ctx.services.get(cls)
        except KeyError:
            return ctx.services.add(cls())

    async def get(self, ctx: Context, index: Index, words: str) -> Vector:
        """The vector of a text as a query. Raises EngineAway."""
        key = (index.collection, words)
        found = self._kept.get(key)
        if found is None:
            found = await ctx.services.get(Indexes).door(index).query(words, language(words))
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = found
        return found


def tag_text(name: str, description: str, keywords: Sequence[str]) -> str:
    """What of a tag is embedded."""
    parts = [name, description, ("、" if language(name) == "zh" else ", ").join(keywords)]
    return ("。" if language(name) == "zh" else ". ").join(part for part in parts if part)


async def suggest(ctx: Context, actor: Actor, document_id: int) -> list[TagSuggestion]:
    """The tags that fit, best first, and those that are on it. Raises DocumentNotFound, EngineAway."""

    def look(connection: sa.Connection) -> tuple[Subject, set[int]]:
        row = access_document(ctx, connection, actor, document_id)
        applied = connection.execute(sa.select(document_tags.c.tag_id).where(document_tags.c.document_id == document_id))
        return Subject(row.id, row.organization_id), set(applied.scalars())

    subject, applied = await ctx.sql.read(look)
    fits = await fits_of(ctx, subject, urgent=True)
    shown = [fit for number, fit in enumerate(fits) if fit.tag_id in applied or (number < MOST_SHOWN and fit.score >= LEAST_SHOWN)]
    return [TagSuggestion(fit.tag_id, fit.name, round(fit.score, 3), fit.why.say(actor.locale), fit.tag_id in applied) for fit in shown]


async def fits_of(ctx: Context, subject: Subject, *, urgent: bool = False) -> list[Fit]:
    """Every tag of the document's organization with how well it fits, best first; none while it has no passages. Raises EngineAway."""
    vocabulary = sa.select(tags).where(tags.c.organization_id == subject.organization_id).order_by(tags.c.id)
    live = sa.select(chunks.c.id, chunks.c.page, chunks.c.path, chunks.c.text).where(
        chunks.c.document_id == subject.document_id, chunks.c.state == ChunkState.LIVE.value
    )
    found, passages = await ctx.sql.read(lambda connection: (connection.execute(vocabulary).all(), connection.execute(live).all()))
    if not found or not passages:
        return []
    texts = [keyword_text(row.path, row.text) for row in passages]
    words = {row.id: [row.name, *row.keywords] for row in found}
    counted, near = await asyncio.gather(
        ctx.compute.run(count_mentions, texts, words, time_limit_s=COUNTING_TIME_S, urgent=urgent),
        _nearness(ctx, subject, found),
    )
    pages = {row.id: row.page for row in passages}
    fits = []
    for row in found:
        above, chunk_id = near.get(row.id, (None, ""))
        mentions = counted[row.id]
        why = reason(mentions, len(passages), pages.get(chunk_id))
        fits.append(Fit(row.id, row.name, score(above, mentions.passages, len(passages)), why))
    return sorted(fits, key=lambda fit: (-fit.score, fit.tag_id))


async def _nearness(ctx: Context, subject: Subject, found: Sequence[Any]) -> dict[int, tuple[float, str]]:
    """Of each tag how near it is to the document, and the chunk that is nearest; nothing when there is no index."""
    index = await ctx.services.get(Indexes).find_active()
    if index is None:
        return {}
    vectors, gate = TagVectors.of(ctx), asyncio.Semaphore(AT_ONCE)
    where = Where(organizations=frozenset({subject.organization_id}), documents=(subject.document_id,))

    async def nearest(words: str) -> list[Hit]:
        async with gate:
            return await ctx.vectors.dense(index.collection, await vectors.get(ctx, index, words), where, NEAREST)

    embedded = {row.id: tag_text(row.name, row.description, row.keywords) for row in found}
    spoken = {tag_id: "zh" if language(words) == "zh" else "en" for tag_id, words in embedded.items()}
    asked = [*(subject for known in sorted(set(spoken.values())) for subject in SUBJECTS[known]), *embedded.values()]
    hits = dict(zip(asked, await asyncio.gather(*(nearest(words) for words in asked)), strict=True))
    means = {words: statistics.fmean(hit.score for hit in those) if those else 0.0 for words, those in hits.items()}
    answer = {}
    for tag_id, words in embedded.items():
        if those := hits[words]:
            answer[tag_id] = (nearness(means[words], [means[subject] for subject in SUBJECTS[spoken[tag_id]]]), those[0].id)
    return answer
