"""The door to vectors: passages found by meaning and by words, within what the caller may see."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import msgspec

from server.config import Settings
from server.errors import DomainError

Vector = bytes  # little-endian float32

# What the keyword index sees of a passage at most, in bytes of UTF-8; a chunk of 320 characters with its path has about 1,500.
MOST_TEXT_BYTES = 16_000
MOST_QUERY_BYTES = 4_000
MOST_HITS = 16_384  # Milvus's own limit
LANGUAGES = frozenset({"", "zh", "en"})

_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_ID = re.compile(r"[0-9a-f]{1,32}")
_INT64 = 2**63


class VectorsMismatch(DomainError):
    """The collection holds vectors of another dimension; `detail` says which."""

    type = "vectors_mismatch"


class CollectionNotFound(DomainError):
    """There is no such collection; it was dropped, or never prepared."""

    type = "collection_not_found"


class VectorsRefused(DomainError):
    """The engine will never take the request as it is; `detail` is its own word."""

    type = "vectors_refused"


class Row(msgspec.Struct, frozen=True):
    """One passage. `id` has at most 32 hexadecimal digits; `text` is what keyword search sees, cut at MOST_TEXT_BYTES."""

    id: str
    document_id: int
    organization_id: int
    language: str
    text: str
    vector: Vector


class Where(msgspec.Struct, frozen=True):
    """Which rows may be found. None is no condition; an empty one matches nothing, and nothing is asked."""

    organizations: frozenset[int] | None = None
    documents: tuple[int, ...] | None = None
    language: str | None = None

    @property
    def is_empty(self) -> bool:
        return (self.organizations is not None and not self.organizations) or (self.documents is not None and not self.documents)


class Hit(msgspec.Struct, frozen=True):
    """A row that was found. For dense search the score is the cosine, for keyword search BM25; higher is better for both."""

    id: str
    score: float


class VectorsDoor(Protocol):
    """Collections of rows. Every method but `warm` and `close` raises EngineAway when the engine does not answer in time, and
    CollectionNotFound, and VectorsRefused for what it will not do; ids, languages, collections and limits that cannot be are ValueErrors.
    """

    mode: Literal["embedded", "distributed"]

    async def prepare(self, collection: str, dim: int) -> None:
        """Make the collection if it is missing, and have it loaded. Raises VectorsMismatch when it has another dimension."""

    async def put(self, collection: str, rows: Sequence[Row]) -> None:
        """Insert or replace by id. When it returns, searches of this process find the rows."""

    async def remove(self, collection: str, *, ids: Sequence[str] = (), document_id: int | None = None) -> None:
        """Remove by ids, or all of a document; unknown ones are fine. When it returns, no search of this process finds them."""

    async def dense(self, collection: str, vector: Vector, where: Where, limit: int) -> list[Hit]:
        """The nearest by cosine, best first."""

    async def keyword(self, collection: str, text: str, where: Where, limit: int) -> list[Hit]:
        """The best by BM25 over jieba's words, best first; those without a common word are not found."""

    async def vectors(self, collection: str, ids: Sequence[str]) -> dict[str, Vector]:
        """The vectors of those of the ids that are there."""

    async def ids(self, collection: str, document_id: int) -> set[str]: ...

    async def document_ids(self, collection: str) -> set[int]:
        """The documents that have rows. Reads every row: for finding orphans, not for requests."""

    async def count(self, collection: str) -> int: ...

    async def collections(self) -> list[str]: ...

    async def drop(self, collection: str) -> None:
        """Remove the collection; a missing one is fine."""

    async def warm(self) -> None:
        """Begin to start what searches need; returns at once, and what fails shows with the first request."""

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


def open_vectors(settings: Settings) -> VectorsDoor:
    """The door that the settings ask for. Connects, or starts the child process, with the first request."""
    from server.engines.vectors_milvus import MilvusVectors

    if settings.milvus_host:
        return MilvusVectors(f"http://{settings.milvus_host}:{settings.milvus_port}")
    from server.engines.milvus_lite import LiteChild

    return MilvusVectors(child=LiteChild(settings.data))


def check_collection(name: str) -> None:
    if not _COLLECTION.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a collection")


def check_ids(ids: Iterable[str]) -> None:
    """ValueError unless all are plain hexadecimal: they are written into filters as they are."""
    for one in ids:
        if not _ID.fullmatch(one):
            raise ValueError(f"{one!r} cannot be the id of a row")


def check_row(row: Row, dim: int | None) -> None:
    """ValueError for a row that cannot be stored."""
    check_ids([row.id])
    check_language(row.language)
    number(row.document_id)
    number(row.organization_id)
    if not row.vector or len(row.vector) % 4 or (dim is not None and len(row.vector) != 4 * dim):
        raise ValueError(f"row {row.id}: {len(row.vector)} bytes are no vector of {dim or 'any'} dimensions")


def check_language(language: str) -> None:
    if language not in LANGUAGES:
        raise ValueError(f"{language!r} is no language of rows")


def check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST_HITS:
        raise ValueError(f"limit {limit} is not within 1 and {MOST_HITS}")


def number(value: int) -> str:
    """An INT64 as a filter writes it."""
    if not isinstance(value, int) or isinstance(value, bool) or not -_INT64 < value < _INT64:
        raise ValueError(f"{value!r} is no 64-bit number")
    return str(value)


def condition(where: Where) -> str:
    """The filter in Milvus's language; "" where there is no condition. ValueError for an empty Where, which must not be asked."""
    if where.is_empty:
        raise ValueError("an empty condition matches nothing")
    parts = []
    if where.organizations is not None:
        parts.append(f"organization in [{', '.join(map(number, sorted(where.organizations)))}]")
    if where.documents is not None:
        parts.append(f"document in [{', '.join(map(number, sorted(set(where.documents))))}]")
    if where.language is not None:
        check_language(where.language)
        parts.append(f'language == "{where.language}"')
    return " and ".join(parts)


def cut(text: str, most_bytes: int) -> str:
    """The text as valid UTF-8 of at most so many bytes, never ending within a character; lone surrogates and NUL go."""
    return text.encode("utf-8", "ignore").replace(b"\0", b" ")[:most_bytes].decode("utf-8", "ignore")
