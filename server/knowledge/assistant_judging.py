"""Judges sentences against passages; across languages with the vectors of the embedding engine."""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections.abc import Sequence
from operator import mul

from jobs.cpu.chunk_language import language_of
from server.context import Context
from server.engines.embedding import Passage as Embedded
from server.engines.embedding import Vector
from server.errors import DomainError
from server.knowledge.citations import Passage, Support, across_languages, common_units, parts_of, support

log = logging.getLogger(__name__)

# A reference is not worth a longer wait; without vectors the stricter rule holds.
TIMEOUT_S = 5.0


class Judging:
    """For one answer: the vectors of a passage's sentences are made once."""

    def __init__(self, ctx: Context, passages: Sequence[Passage]) -> None:
        self._ctx = ctx
        self._common = common_units(passages)
        self._vectors: dict[str, list[Vector]] = {}
        self._usable: bool | None = None

    async def __call__(self, sentence: str, passage: Passage) -> Support:
        if not across_languages(sentence, passage) or not support(sentence, passage, [1.0] * len(parts_of(passage))):
            return support(sentence, passage, None, self._common)  # no vector would change it
        return support(sentence, passage, await self._similarities(sentence, passage))

    async def _similarities(self, sentence: str, passage: Passage) -> list[float] | None:
        """The cosine of the sentence to each sentence of the passage; None when it cannot be had."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if self._usable is None:
                    # The least similarity was measured with the bundled model; another one's cosines mean something else.
                    self._usable = not (await self._ctx.embedding.model()).url
                if not self._usable:
                    return None
                if passage.chunk_id not in self._vectors:
                    self._vectors[passage.chunk_id] = await self._embedded(parts_of(passage))
                [mine] = await self._embedded([sentence])
        except (DomainError, TimeoutError) as error:
            log.info("a reference is judged without vectors: %s", type(error).__name__)
            return None
        return [cosine(mine, theirs) for theirs in self._vectors[passage.chunk_id]]

    async def _embedded(self, texts: Sequence[str]) -> list[Vector]:
        return await self._ctx.embedding.passages([Embedded(text.strip(), "", language_of(text)) for text in texts], urgent=True)


def cosine(one: Vector, other: Vector) -> float:
    """The cosine of two unit vectors of little-endian float32."""
    first, second = array("f"), array("f")
    first.frombytes(one)
    second.frombytes(other)
    return float(sum(map(mul, first, second)))
