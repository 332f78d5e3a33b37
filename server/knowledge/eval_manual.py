"""Measures search on a manual: made questions of every kind, asked of its passages through the engines as in service."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from jobs.cpu.pdf_survey import survey
from jobs.cpu.reading import read_batch
from jobs.cpu.shapes import Carry, Chunk
from server.context import Context
from server.engines import embedding
from server.engines.vectors import Row, Vector, Where
from server.knowledge import question_kinds
from server.knowledge.eval_figures import MODES, Answered, ModeFigures, distinct, measured
from server.knowledge.fusion import fuse
from server.knowledge.question_kinds import Passage, Question, QuestionSet
from server.knowledge.search import CANDIDATES
from server.knowledge.search_schemas import Mode
from server.knowledge.words import language

PAGES_AT_ONCE = 16
PASSAGES_AT_ONCE = 64
QUESTIONS_AT_ONCE = 4
READING_TIME_S = 120.0
COLLECTION = "evaluation"

Say = Callable[[str], None]


class Manual(msgspec.Struct, frozen=True):
    """A document as it was read: its pages' number, its passages, the language of most of them."""

    pages: int
    chunks: list[Chunk]
    language: str


class Labelled(msgspec.Struct, frozen=True):
    """Questions with the name that their row of the table has."""

    name: str
    questions: QuestionSet


async def read_manual(ctx: Context, path: str, say: Say) -> Manual:
    """Read and cut a PDF in worker processes. Raises PdfError, FileNotFoundError."""
    looked = await ctx.compute.run(survey, path, ctx.settings.max_pages, time_limit_s=READING_TIME_S)
    carry, chunks = Carry(), []
    for first in range(1, looked.pages + 1, PAGES_AT_ONCE):
        last = min(first + PAGES_AT_ONCE - 1, looked.pages)
        batch = await ctx.compute.run(read_batch, path, looked, first, last, carry, time_limit_s=READING_TIME_S)
        chunks.extend(batch.chunks)
        carry = batch.carry
        say(f"read {last} of {looked.pages} pages, {len(chunks)} passages")
    spoken = Counter(chunk.language for chunk in chunks if chunk.language)
    return Manual(looked.pages, chunks, spoken.most_common(1)[0][0] if spoken else "")


def question_sets(manual: Manual, parallel: Manual | None) -> list[Labelled]:
    """Every kind of question that the documents allow; with a parallel one, also in each language about the other."""
    made = [Labelled(f"{manual.language} {one.kind}", one) for one in question_kinds.of_document(manual.chunks)]
    if parallel is not None:
        made += [Labelled(f"{parallel.language} {one.kind}", one) for one in question_kinds.of_document(parallel.chunks)]
        for asking, answering in ((manual, parallel), (parallel, manual)):
            name = f"{asking.language}→{answering.language}"
            made += [Labelled(f"{name} {one.kind}", one) for one in question_kinds.of_parallel(asking.chunks, answering.chunks)]
    return [one for one in made if one.questions.questions]


class ManualSearch:
    """Asks sets of questions, one after another; passages and questions are embedded once."""

    def __init__(self, ctx: Context, say: Say) -> None:
        self._ctx = ctx
        self._say = say
        self._vectors: dict[Passage, Vector] = {}
        self._asked: dict[str, Vector] = {}
        self._indexed: list[Passage] = []

    async def measure(self, sets: Sequence[Labelled]) -> dict[str, ModeFigures]:
        """The figures of each set by its name. Raises EngineAway."""
        figures = {}
        for one in sets:
            await self._index(one)
            answered = await self._answers(one)
            figures[one.name] = measured(answered)
            row = figures[one.name]
            self._say(f"{one.name}: MRR@10 keyword {row.keyword.mrr:.3f}, dense {row.dense.mrr:.3f}, hybrid {row.hybrid.mrr:.3f}")
        return figures

    async def _index(self, one: Labelled) -> None:
        """Have exactly the passages of the set in the collection."""
        passages = one.questions.passages
        if passages == self._indexed:
            return
        await self._embed(passages)
        await self._ctx.vectors.drop(COLLECTION)
        await self._ctx.vectors.prepare(COLLECTION, len(self._vectors[passages[0]]) // 4)
        for start in range(0, len(passages), PASSAGES_AT_ONCE):
            rows = [self._row(number, passages[number]) for number in range(start, min(start + PASSAGES_AT_ONCE, len(passages)))]
            await self._ctx.vectors.put(COLLECTION, rows)
        self._indexed = list(passages)
        self._say(f"{one.name}: {len(passages)} passages are indexed")

    def _row(self, number: int, passage: Passage) -> Row:
        return Row(f"{number:08x}", 1, 1, passage.language, passage.keyword_text, self._vectors[passage])

    async def _embed(self, passages: Sequence[Passage]) -> None:
        missing = [passage for passage in dict.fromkeys(passages) if passage not in self._vectors]
        for start in range(0, len(missing), PASSAGES_AT_ONCE):
            part = missing[start : start + PASSAGES_AT_ONCE]
            made = await self._ctx.embedding.passages([embedding.Passage(one.text, one.heading, one.language) for one in part])
            self._vectors.update(zip(part, made, strict=True))
            if start // PASSAGES_AT_ONCE % 4 == 3:
                self._say(f"embedded {start + len(part)} of {len(missing)} passages")

    async def _answers(self, one: Labelled) -> list[Answered]:
        gate, done = asyncio.Semaphore(QUESTIONS_AT_ONCE), 0
        questions = one.questions.questions

        async def answer(question: Question) -> Answered:
            nonlocal done
            async with gate:
                found = await self._find(question.text, one.questions.passages)
            done += 1
            if done % 200 == 0:
                self._say(f"{one.name}: {done} of {len(questions)} questions")
            return Answered(question.text, one.name, frozenset(question.expected), found)

        return list(await asyncio.gather(*(answer(question) for question in questions)))

    async def _find(self, question: str, passages: Sequence[Passage]) -> dict[Mode, list[object]]:
        vector = self._asked.get(question)
        if vector is None:
            vector = self._asked[question] = await self._ctx.embedding.query(question, language(question))
        everywhere = Where()
        dense = await self._ctx.vectors.dense(COLLECTION, vector, everywhere, CANDIDATES)
        keyword = await self._ctx.vectors.keyword(COLLECTION, question, everywhere, CANDIDATES)
        candidates = {hit.id: passages[int(hit.id, 16)] for hit in (*dense, *keyword)}
        texts = {one: (passage.keyword_text, passage.language) for one, passage in candidates.items()}
        fused = fuse(question, [(hit.id, hit.score) for hit in dense], [(hit.id, hit.score) for hit in keyword], texts)
        order = dict(zip(MODES, ([hit.id for hit in keyword], [hit.id for hit in dense], [one for one, _ in fused]), strict=True))
        return {mode: list(distinct(int(one, 16) for one in ids)) for mode, ids in order.items()}
