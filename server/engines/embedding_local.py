"""Embedding with the bundled model, in worker processes: passages in the slots for documents, queries in one of their own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jobs.cpu import e5_identity
from jobs.cpu.embedding import embed_passages, embed_query
from server.config import Settings
from server.engines.compute import ComputeDoor, LocalCompute
from server.engines.embedding import EmbeddingDoor, EmbeddingModel, Passage, Vector
from server.engines.embedding_batches import batches, side_by_side

if TYPE_CHECKING:
    from server.engines.embedding_family import EmbeddingFamily

ROOT = Path(__file__).resolve().parents[2]
# Half a second of work: then whoever waits for the slot gets it.
PASSAGES_A_BATCH = 16
CHARS_A_BATCH = 8_000
# A worker's first batch loads the model, and may wait for another to build it.
PASSAGES_LIMIT_S = 180.0
QUERY_LIMIT_S = 60.0
# What the model reads at once is 510 tokens; the rest of a longer query would only blur it.
QUERY_CHARS = 2_000
QUERIES_KEPT = 512


class LocalEmbedding:
    mode: Literal["embedded", "distributed"] = "embedded"

    def __init__(self, settings: Settings, compute: ComputeDoor, family: EmbeddingFamily) -> None:
        self._folder = str(settings.data / "models")
        self._compute = compute
        self._family = family
        self._queries = LocalCompute(1, memory_mb=settings.compute_memory_mb)
        self._kept: OrderedDict[tuple[str, str], Vector] = OrderedDict()

    async def model(self) -> EmbeddingModel:
        return EmbeddingModel(e5_identity.model_name(), e5_identity.DIM)

    async def passages(self, passages: Sequence[Passage], *, urgent: bool = False) -> list[Vector]:
        async def embedded(batch: list[Passage]) -> list[Vector]:
            plain = [(passage.text, passage.heading, passage.language) for passage in batch]
            return await self._compute.run(embed_passages, self._folder, plain, time_limit_s=PASSAGES_LIMIT_S, urgent=urgent)

        cut = batches(passages, most=PASSAGES_A_BATCH, most_chars=CHARS_A_BATCH, chars=lambda passage: len(passage.text))
        # As many as there are slots, so that of two documents neither waits for the whole of the other.
        return await side_by_side(embedded, cut, self._compute.state().slots)

    async def query(self, text: str, language: str) -> Vector:
        asked = (text[:QUERY_CHARS], language)
        found = self._kept.get(asked)
        if found is None:
            found = await self._queries.run(embed_query, self._folder, *asked, time_limit_s=QUERY_LIMIT_S)
            self._kept[asked] = found
            if len(self._kept) > QUERIES_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(asked)
        return found

    def other(self, model: EmbeddingModel) -> EmbeddingDoor:
        if model == EmbeddingModel(e5_identity.model_name(), e5_identity.DIM):
            return self
        return self._family.other(model)

    async def prepare(self) -> None:
        # In a process that ends, so that a server nobody gives documents to holds no model in memory.
        building = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "jobs.cpu.e5_build", self._folder, cwd=ROOT, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        try:
            await building.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                building.kill()
            await building.wait()
            raise

    async def warm(self) -> None:
        await self._queries.run(embed_query, self._folder, "warm", "en", time_limit_s=QUERY_LIMIT_S)

    async def ping(self) -> None:
        await self._queries.ping()

    async def close(self) -> None:
        await self._family.close()
        await self._queries.close()
