"""The door to the document store: collections of JSON objects, found by a few declared fields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec

from server.config import Settings
from server.engines.sql import SqlDoor
from server.errors import DomainError, NotFound

# Longest text in `id` and in a declared field, in characters: what an index entry of both sides can hold.
LONGEST_KEY = 190
# Whole numbers up to here are exact as double precision, which is what an index compares.
LARGEST_KEY = 2**53
# Whole numbers of a document are 64 bits wide on both sides.
LARGEST_INT = 2**63 - 1


class DuplicateDocument(DomainError):
    """The id, or the value of a unique field, is taken."""

    type = "duplicate_document"


class DocumentNotFound(NotFound):
    """The collection has no document of that id."""


class Collection(msgspec.Struct, frozen=True):
    """A collection and the top-level fields that it can be searched by.

    `unique` fields are indexed too, and every document must have them. `id` is always both.
    """

    name: str
    indexed: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """All declared fields, each once."""
        return tuple(dict.fromkeys((*self.indexed, *self.unique)))


class Condition(msgspec.Struct, frozen=True):
    """A comparison with `value`, which is a sequence for `in`. Only values of the same type compare."""

    op: Literal["eq", "in", "lt", "le", "gt", "ge"]
    value: Any


class Between(msgspec.Struct, frozen=True):
    """From `low` on, up to but without `high`."""

    low: Any
    high: Any


# field -> a plain value (equality), Condition or Between; all must hold. None matches an absent field too.
Where = Mapping[str, Any]


class DocumentsDoor(Protocol):
    """Stores documents: dicts of str, int, float, bool, None, aware datetime, lists and dicts, with a str under "id".

    A datetime comes back as the text of `stored_time`, which sorts as the time does. Filters, orders and conditions may only name `id`
    and the declared fields; others, and values that a declared field cannot have, raise ValueError. Every method but `prepare` raises
    EngineAway when the store does not answer.
    """

    mode: Literal["embedded", "distributed"]

    async def prepare(self, collections: Sequence[Collection]) -> None:
        """Declare the collections and build their indexes; when the store is away, that happens before its next use."""

    async def insert(self, collection: str, document: dict[str, Any]) -> None:
        """Raises DuplicateDocument."""

    async def insert_many(self, collection: str, documents: Sequence[dict[str, Any]]) -> None:
        """Insert all or, raising DuplicateDocument, none."""

    async def get(self, collection: str, id: str) -> dict[str, Any]:
        """Raises DocumentNotFound."""

    async def find(
        self, collection: str, where: Where, *, order: Sequence[str] = (), limit: int | None = None, skip: int = 0
    ) -> list[dict[str, Any]]:
        """Those that match, by the fields of `order` ("-at" descends; nothing, numbers, texts, booleans) and then by id."""

    async def count(self, collection: str, where: Where) -> int: ...

    async def patch(self, collection: str, id: str, changes: Mapping[str, Any], *, condition: Mapping[str, Any] | None = None) -> bool:
        """Set top-level fields, if the fields in `condition` have these values; False when they have not or there is no such document."""

    async def delete(self, collection: str, where: Where) -> int:
        """How many were there and are gone."""

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


def open_documents(settings: Settings, sql: SqlDoor) -> DocumentsDoor:
    """The door that the settings ask for; the embedded side lives in the SQL database."""
    if settings.mongodb_host:
        from server.engines.documents_mongo import MongoDocuments

        return MongoDocuments(settings.mongodb_host, settings.mongodb_name)
    from server.engines.documents_sql import SqlDocuments

    return SqlDocuments(sql)


# What both sides agree on.


def stored_time(value: datetime) -> str:
    """A time as it is stored: UTC, always 32 characters, so that texts sort as the times do."""
    if value.tzinfo is None:
        raise ValueError("a stored time must have its zone")
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def stored(value: Any, field: str = "document") -> Any:
    """A copy of a value as both sides store it; ValueError names the field that cannot be stored."""
    match value:
        case None | bool() | str():
            return value
        case datetime():
            return stored_time(value)
        case int() if abs(value) <= LARGEST_INT:
            return value
        case float() if math.isfinite(value):
            return value
        case list() | tuple():
            return [stored(part, field) for part in value]
        case dict():
            for name in value:
                if not isinstance(name, str) or name.startswith("$") or "\0" in name:
                    raise ValueError(f"{field}: {name!r} cannot be a field name")
            return {name: stored(part, f"{field}.{name}") for name, part in value.items()}
    raise ValueError(f"{field}: {value!r:.100} cannot be stored")


def stored_fields(collection: Collection, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The top-level fields of a document, or of changes to one, as both sides store them."""
    for name in fields:
        if not isinstance(name, str) or "." in name or name.startswith("_"):
            raise ValueError(f"{collection.name}: {name!r} cannot be a top-level field")
    result: dict[str, Any] = stored(dict(fields), collection.name)
    for name in (*collection.keys, "id"):
        value = key(collection, name, result.get(name)) if name in result else None
        if isinstance(value, str) and len(value) > LONGEST_KEY:
            raise ValueError(f"{collection.name}: {name} may have at most {LONGEST_KEY} characters")
    for name in collection.unique:
        if name in result and result[name] is None:
            raise ValueError(f"{collection.name}: the unique field {name!r} must have a value")
    return result


def stored_document(collection: Collection, document: Mapping[str, Any]) -> dict[str, Any]:
    """A whole document as both sides store it: with its id and all its unique fields."""
    result = stored_fields(collection, document)
    for name in ("id", *collection.unique):
        if result.get(name) is None:
            raise ValueError(f"{collection.name}: the document has no {name!r}")
    return result


def key(collection: Collection, field: str, value: Any) -> str | int | float | bool | None:
    """A value as an index compares it; ValueError for one that no declared field can have."""
    value = stored(value, f"{collection.name}.{field}")
    if field == "id" and not isinstance(value, str):
        raise ValueError(f"{collection.name}: id must be a text")
    match value:
        case int() if abs(value) > LARGEST_KEY:
            raise ValueError(f"{collection.name}: {field} is too large a number to be indexed exactly")
        case None | str() | int() | float():
            return value
    raise ValueError(f"{collection.name}: {field} is declared, so it cannot hold a list or an object")


class Comparison(msgspec.Struct, frozen=True):
    """One comparison of a declared field with values that an index can compare; `eq` and `in` may have None."""

    field: str
    op: Literal["in", "lt", "le", "gt", "ge"]
    value: Any


def comparisons(collection: Collection, where: Where) -> list[Comparison]:
    """A filter taken apart and checked; equality is an `in` of one."""
    result: list[Comparison] = []
    for field, wanted in where.items():
        check_declared(collection, field)
        match wanted:
            case Between(low, high):
                parts: list[tuple[Any, Any]] = [("ge", low), ("lt", high)]
            case Condition("in", values):
                parts = [("in", list(values))]
            case Condition("eq", value):
                parts = [("in", [value])]
            case Condition(op, value):
                parts = [(op, value)]
            case _:
                parts = [("in", [wanted])]
        for op, value in parts:
            if op == "in":
                result.append(Comparison(field, op, [key(collection, field, one) for one in value]))
            elif value is None or isinstance(value, bool):
                raise ValueError(f"{collection.name}: {field} cannot be compared with {value!r} by {op}")
            else:
                result.append(Comparison(field, op, key(collection, field, value)))
    return result


def orders(collection: Collection, order: Sequence[str]) -> list[tuple[str, bool]]:
    """(field, descending) for each field to order by; `id` comes last, in the direction of the one before it."""
    result = [(name.removeprefix("-"), name.startswith("-")) for name in order]
    for field, _ in result:
        check_declared(collection, field)
    if "id" not in (field for field, _ in result):
        result.append(("id", bool(result) and result[-1][1]))
    return result


def check_declared(collection: Collection, field: str) -> None:
    if field != "id" and field not in collection.keys:
        raise ValueError(f"{collection.name}: {field!r} is not declared, so it can be neither filtered nor ordered by")


class Declared(dict[str, Collection]):
    """The declared collections by name; ValueError for any other."""

    def __missing__(self, name: str) -> Collection:
        raise ValueError(f"the collection {name!r} is not declared")
