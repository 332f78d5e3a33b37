"""Both sides of the embedding door, opened for a test."""

from __future__ import annotations

import array
import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from server.config import Settings
from server.engines.compute import LocalCompute
from server.engines.embedding import EmbeddingDoor, Passage, Vector, open_embedding
from server.engines.embedding_http import HttpEmbedding
from tests.peers.embedding_server import EmbeddingPeer, running_embeddings

SECRET = "sk-the-secret-of-the-tests"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the model is built by the first who needs it."""
    return tmp_path_factory.mktemp("embedding")


@pytest.fixture
def compute(on_loop: Any) -> Iterator[LocalCompute]:
    async def opened() -> LocalCompute:
        return LocalCompute(2, memory_mb=2048)

    door = on_loop(opened)
    yield door
    on_loop(door.close)


@pytest.fixture
def local(built: Path, compute: LocalCompute, on_loop: Any) -> Iterator[EmbeddingDoor]:
    async def opened() -> EmbeddingDoor:
        return open_embedding(Settings(data_dir=str(built), compute_memory_mb=2048), compute)

    door = on_loop(opened)
    yield door
    on_loop(door.close)


@pytest.fixture
def endpoint_peer(on_loop: Any) -> Iterator[EmbeddingPeer]:
    context = running_embeddings()
    yield on_loop(context.__aenter__)
    on_loop(lambda: context.__aexit__(None, None, None))


class Pauses:
    """In place of waiting: what was asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def remote(endpoint_peer: EmbeddingPeer, tmp_path: Path, compute: LocalCompute, on_loop: Any, pauses: Pauses) -> Iterator[HttpEmbedding]:
    endpoint_peer.key = SECRET

    async def opened() -> HttpEmbedding:
        return remote_door(endpoint_peer.url, tmp_path, compute, pauses)

    door = on_loop(opened)
    yield door
    on_loop(door.close)


def remote_door(url: str, folder: Path, compute: LocalCompute, pauses: Pauses, **more: Any) -> HttpEmbedding:
    settings = Settings(data_dir=str(folder), **{"embedding_url": url, "embedding_model": "bigrams", "ark_api_key": SECRET, **more})
    door = open_embedding(settings, compute)
    assert isinstance(door, HttpEmbedding)
    door._pause = pauses
    return door


@asynccontextmanager
async def opened_with(
    peer: EmbeddingPeer, folder: Path, compute: LocalCompute, pauses: Pauses, **more: Any
) -> AsyncIterator[HttpEmbedding]:
    door = remote_door(peer.url, folder, compute, pauses, **more)
    try:
        yield door
    finally:
        await door.close()


def numbers(vector: Vector) -> list[float]:
    return list(array.array("f", vector))


def cosine(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(numbers(one), numbers(other), strict=True))


def numbered(count: int) -> list[Passage]:
    return [Passage(f"passage number {number}", "", "en") for number in range(count)]
