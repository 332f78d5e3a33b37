"""The door to text embedding: passages and queries as vectors of unit length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from server.config import Settings
from server.engines.compute import ComputeDoor
from server.errors import DomainError

# Little-endian float32, 4 · dim bytes, of length 1: the server process hands vectors on and never reckons with them.
Vector = bytes


class EmbeddingMisfit(DomainError):
    """The embedding model is not the one that is needed, or what it answers are no such vectors; `detail` is a Text."""

    type = "embedding_misfit"


class EmbeddingRefused(DomainError):
    """The embedding endpoint does not take our requests (HTTP 4xx): its address, key or model's name is wrong."""

    type = "embedding_refused"


class Passage(msgspec.Struct, frozen=True):
    """A passage with the heading that it stands under and its language: zh, en, or "" for no words."""

    text: str
    heading: str
    language: str


class EmbeddingModel(msgspec.Struct, frozen=True):
    """The model that an index's vectors are of. `name` changes whenever vectors do; `url` is empty for the bundled model."""

    name: str
    dim: int
    url: str = ""


class EmbeddingDoor(Protocol):
    """All of it raises EngineAway when the engine does not answer, EmbeddingMisfit and EmbeddingRefused when an endpoint is unfit."""

    mode: Literal["embedded", "distributed"]

    async def model(self) -> EmbeddingModel:
        """The model; an endpoint is asked once, by embedding a word. EmbeddingMisfit when EMBEDDING_DIM says another dimension."""

    async def passages(self, passages: Sequence[Passage], *, urgent: bool = False) -> list[Vector]:
        """A vector a passage, in order. Done in batches, between which others get their turn, the urgent ones (a person looks on) first."""

    async def query(self, text: str, language: str) -> Vector:
        """The vector of a search query; never waits behind passages."""

    def other(self, model: EmbeddingModel) -> EmbeddingDoor:
        """A door for the model that an older index was built with; it is closed together with this one.

        EmbeddingMisfit when this release cannot make such vectors.
        """

    async def prepare(self) -> None:
        """Do what is done once for an installation: build the bundled model's graph. Returns when it is done; nothing stays loaded."""

    async def warm(self) -> None:
        """Get ready for the first query: load the model, or ask the endpoint for its."""

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


def open_embedding(settings: Settings, compute: ComputeDoor) -> EmbeddingDoor:
    """The endpoint at EMBEDDING_URL, or else the bundled model. Nothing is started or asked yet. SettingsError for a URL that is none."""
    from server.engines.embedding_family import EmbeddingFamily  # it imports both sides, and they this file

    return EmbeddingFamily(settings, compute).configured()
