"""Judging across languages: the vectors of the bundled model are asked for only when they can change the verdict."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from server.context import Context
from server.engines.embedding import EmbeddingModel, Passage
from server.errors import EngineAway
from server.knowledge import assistant_judging
from server.knowledge.assistant_judging import Judging
from server.knowledge.citations import LEAST_SIMILARITY
from tests.unit.knowledge.found import Found

PASSAGE = Found("The locale is chosen by LANG. Chinese characters usually need three bytes.")
SENTENCE = "一个汉字通常需要三个字节。"


class Embedding:
    """Gives a passage's sentences the cosines to everything else that it was told."""

    def __init__(self, cosines: Sequence[float], url: str = "", error: Exception | None = None) -> None:
        self.calls: list[list[str]] = []
        self._cosines = cosines
        self._url = url
        self._error = error

    async def model(self) -> EmbeddingModel:
        return EmbeddingModel("m", 2, self._url)

    async def passages(self, passages: Sequence[Passage], *, urgent: bool = False) -> list[bytes]:
        assert urgent
        self.calls.append([passage.text for passage in passages])
        if self._error is not None:
            raise self._error
        if len(passages) == 1:
            return [struct.pack("<2f", 1.0, 0.0)]
        return [struct.pack("<2f", cosine, (1 - cosine**2) ** 0.5) for cosine in self._cosines]


def judged(embedding: Any, *sentences: str, passage: Found = PASSAGE) -> list[bool]:
    judging = Judging(cast("Context", SimpleNamespace(embedding=embedding)), [PASSAGE])

    async def judge() -> list[bool]:
        return [bool(await judging(sentence, passage)) for sentence in sentences]

    return asyncio.run(judge())


def test_the_nearest_sentence_decides() -> None:
    embedding = Embedding([0.1, LEAST_SIMILARITY + 0.01])
    judging = Judging(cast("Context", SimpleNamespace(embedding=embedding)), [PASSAGE])
    assert asyncio.run(judging(SENTENCE, PASSAGE)).quote == "Chinese characters usually need three bytes."
    assert judged(Embedding([0.1, LEAST_SIMILARITY - 0.01]), SENTENCE) == [False]


def test_the_sentences_of_a_passage_are_embedded_once() -> None:
    embedding = Embedding([0.1, 0.9])
    assert judged(embedding, SENTENCE, "汉字需要三个字节。") == [True, True]
    assert len(embedding.calls) == 3


def test_no_vector_is_made_where_it_changes_nothing() -> None:
    embedding = Embedding([0.9, 0.9])
    assert judged(embedding, "一个汉字需要 4 个字节。", "Chinese characters usually need three bytes.", "Cats sleep.") == [
        False,
        True,
        False,
    ]
    assert embedding.calls == []


@pytest.mark.parametrize("embedding", [Embedding([0.9, 0.9], url="https://x"), Embedding([], error=EngineAway("embedding", "gone"))])
def test_without_the_bundled_model_only_plain_evidence_counts(embedding: Embedding) -> None:
    assert judged(embedding, SENTENCE, "用 LANG 选择 3 字节的 locale。") == [False, True]


def test_vectors_that_take_too_long_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Embedding):
        async def passages(self, passages: Sequence[Passage], *, urgent: bool = False) -> list[bytes]:
            await asyncio.Event().wait()
            return []

    monkeypatch.setattr(assistant_judging, "TIMEOUT_S", 0.01)
    assert judged(Slow([]), SENTENCE) == [False]
