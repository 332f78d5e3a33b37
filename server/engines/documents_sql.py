"""Documents as JSON rows in the SQL database, with a row for each declared field to find them by."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator

from server.engines.documents import (
    LONGEST_KEY,
    Collection,
    Comparison,
    Declared,
    DocumentNotFound,
    DuplicateDocument,
    Where,
    comparisons,
    orders,
    stored_document,
    stored_fields,
)
from server.engines.schema import LongText, identifier, metadata
from server.engines.sql import SqlDoor
from server.errors import EngineAway

log = logging.getLogger(__name__)

# Rows of one INSERT or one IN (…): both databases take far more, but a batch should not hold the others up.
BATCH = 200
# The order of types, as MongoDB has it.
NOTHING, NUMBER, STRING, BOOLEAN = 0, 1, 2, 3


class ExactText(TypeDecorator[str]):
    """Text that compares by its UTF-8 bytes. Every collation that MySQL and MariaDB share ignores spaces at the end.

    On MySQL it becomes VARBINARY: sent as text, it comes back as bytes.
    """

    impl = sa.String
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.VARCHAR(LONGEST_KEY * 4, charset="binary"))
        return dialect.type_descriptor(sa.String(LONGEST_KEY))

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:
        return value.decode() if isinstance(value, bytes) else value


documents = sa.Table(
    "documents",
    metadata,
    sa.Column("collection", identifier(64), primary_key=True),
    sa.Column("id", ExactText(), primary_key=True),
    sa.Column("body", LongText(), nullable=False),
)

document_keys = sa.Table(
    "document_keys",
    metadata,
    sa.Column("collection", identifier(64), primary_key=True),
    sa.Column("field", identifier(64), primary_key=True),
    sa.Column("id", ExactText(), primary_key=True),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("number", sa.Double),
    sa.Column("string", ExactText()),
    sa.Index("ix_document_keys_value", "collection", "field", "kind", "number", "string", "id"),
)

document_unique = sa.Table(
    "document_unique",
    metadata,
    sa.Column("collection", identifier(64), primary_key=True),
    sa.Column("field", identifier(64), primary_key=True),
    sa.Column("id", ExactText(), primary_key=True),
    sa.Column("value_hash", identifier(64), nullable=False),
    sa.UniqueConstraint("collection", "field", "value_hash"),
)


class SqlDocuments:
    """All collections in three tables."""

    def __init__(self, sql: SqlDoor) -> None:
        self.mode: Literal["embedded", "distributed"] = sql.mode
        self._sql = sql
        self._declared = Declared()
        self._prepared = True
        self._preparing = asyncio.Lock()

    async def prepare(self, collections: Sequence[Collection]) -> None:
        self._declared.update({collection.name: collection for collection in collections})
        self._prepared = False
        try:
            await self._ready()
        except EngineAway as away:
            log.warning("the indexes of the document store will be built when it is back: %s", away.cause)

    async def _ready(self) -> None:
        if self._prepared:
            return
        async with self._preparing:
            if not self._prepared:
                for collection in list(self._declared.values()):
                    await self._build(collection)
                self._prepared = True

    async def _build(self, collection: Collection) -> None:
        """Give documents that were stored under an older declaration the key rows of this one."""
        if await self._sql.read(lambda connection: _is_behind(connection, collection)):
            while await self._sql.write(lambda connection: _build_some(connection, collection)):
                pass

    async def insert(self, collection: str, document: dict[str, Any]) -> None:
        await self.insert_many(collection, [document])

    async def insert_many(self, collection: str, documents: Sequence[dict[str, Any]]) -> None:
        declared = self._declared[collection]
        ready = [stored_document(declared, document) for document in documents]
        await self._ready()
        await self._sql.write(lambda connection: _insert(connection, declared, ready))

    async def get(self, collection: str, id: str) -> dict[str, Any]:
        found = await self.find(collection, {"id": id})
        if not found:
            raise DocumentNotFound()
        return found[0]

    async def find(
        self, collection: str, where: Where, *, order: Sequence[str] = (), limit: int | None = None, skip: int = 0
    ) -> list[dict[str, Any]]:
        declared = self._declared[collection]
        query = _select(declared, where, order, documents.c.body)
        if limit is not None or skip:
            query = query.limit(2**62 if limit is None else limit).offset(skip)
        await self._ready()
        bodies = await self._sql.read(lambda connection: connection.execute(query).scalars().all())
        return [msgspec.json.decode(body) for body in bodies]

    async def count(self, collection: str, where: Where) -> int:
        query = _select(self._declared[collection], where, None, sa.func.count())
        await self._ready()
        return await self._sql.read(lambda connection: connection.execute(query).scalar_one())

    async def patch(self, collection: str, id: str, changes: Mapping[str, Any], *, condition: Mapping[str, Any] | None = None) -> bool:
        declared = self._declared[collection]
        if "id" in changes:
            raise ValueError(f"{collection}: id cannot be changed")
        ready = stored_fields(declared, changes)
        query = _select(declared, {**(condition or {}), "id": id}, None, documents.c.body).with_for_update()
        await self._ready()
        return await self._sql.write(lambda connection: _patch(connection, declared, id, query, ready))

    async def delete(self, collection: str, where: Where) -> int:
        query = _select(self._declared[collection], where, None, documents.c.id).with_for_update()
        await self._ready()
        return await self._sql.write(lambda connection: _delete(connection, collection, connection.execute(query).scalars().all()))

    async def ping(self) -> None:
        await self._sql.ping()

    async def close(self) -> None:
        """Nothing: the SQL door has its own owner."""


# Key rows.


def _index(value: Any) -> dict[str, Any]:
    """The columns by which a declared field's value is found and ordered."""
    match value:
        case None:
            return {"kind": NOTHING, "number": None, "string": None}
        case bool():
            return {"kind": BOOLEAN, "number": float(value), "string": None}
        case int() | float():
            return {"kind": NUMBER, "number": float(value), "string": None}
        case _:
            return {"kind": STRING, "number": None, "string": value}


def _hash(value: Any) -> str:
    index = _index(value)
    return hashlib.sha256(f"{index['kind']}:{index['number']}:{index['string']}".encode()).hexdigest()


def _key_rows(collection: Collection, document: Mapping[str, Any], fields: Iterable[str]) -> list[dict[str, Any]]:
    row = {"collection": collection.name, "id": document["id"]}
    return [{**row, "field": field, **_index(document.get(field))} for field in fields]


def _unique_rows(collection: Collection, document: Mapping[str, Any], fields: Iterable[str]) -> list[dict[str, Any]]:
    row = {"collection": collection.name, "id": document["id"]}
    return [{**row, "field": field, "value_hash": _hash(document[field])} for field in fields]


# Transactions.


def _insert(connection: sa.Connection, collection: Collection, ready: list[dict[str, Any]]) -> None:
    try:
        for start in range(0, len(ready), BATCH):
            part = ready[start : start + BATCH]
            rows = [{"collection": collection.name, "id": one["id"], "body": _encoded(one)} for one in part]
            connection.execute(sa.insert(documents), rows)
            if collection.keys:
                connection.execute(sa.insert(document_keys), [row for one in part for row in _key_rows(collection, one, collection.keys)])
            if collection.unique:
                connection.execute(
                    sa.insert(document_unique), [row for one in part for row in _unique_rows(collection, one, collection.unique)]
                )
    except sa.exc.IntegrityError as error:
        raise DuplicateDocument() from error


def _patch(connection: sa.Connection, collection: Collection, id: str, query: sa.Select[Any], changes: dict[str, Any]) -> bool:
    body = connection.execute(query).scalar_one_or_none()
    if body is None:
        return False
    document = msgspec.json.decode(body) | changes
    connection.execute(sa.update(documents).where(*_is(documents, collection.name, id)).values(body=_encoded(document)))
    for field in collection.keys:
        if field in changes:
            _set(connection, document_keys, collection.name, id, field, _index(changes[field]))
    try:
        for field in collection.unique:
            if field in changes:
                _set(connection, document_unique, collection.name, id, field, {"value_hash": _hash(changes[field])})
    except sa.exc.IntegrityError as error:
        raise DuplicateDocument() from error
    return True


def _set(connection: sa.Connection, table: sa.Table, collection: str, id: str, field: str, values: dict[str, Any]) -> None:
    connection.execute(sa.update(table).where(*_is(table, collection, id), table.c.field == field).values(values))


def _is(table: sa.Table, collection: str, id: str) -> list[sa.ColumnElement[bool]]:
    return [table.c.collection == collection, table.c.id == id]


def _delete(connection: sa.Connection, collection: str, ids: Sequence[str]) -> int:
    for start in range(0, len(ids), BATCH):
        for table in (document_unique, document_keys, documents):
            connection.execute(sa.delete(table).where(table.c.collection == collection, table.c.id.in_(ids[start : start + BATCH])))
    return len(ids)


def _is_behind(connection: sa.Connection, collection: Collection) -> bool:
    total = connection.execute(sa.select(sa.func.count()).where(documents.c.collection == collection.name)).scalar_one()
    for table, fields in ((document_keys, collection.keys), (document_unique, collection.unique)):
        of_field = sa.select(table.c.field, sa.func.count().label("total")).where(table.c.collection == collection.name)
        counts = {row.field: row.total for row in connection.execute(of_field.group_by(table.c.field))}
        if counts != {field: total for field in fields if total}:
            return True
    return False


def _build_some(connection: sa.Connection, collection: Collection) -> int:
    """Drop rows of fields that are no longer declared (they would grow stale) and add missing ones; how many were added."""
    added = 0
    for table, fields, rows in (
        (document_keys, collection.keys, _key_rows),
        (document_unique, collection.unique, _unique_rows),
    ):
        connection.execute(sa.delete(table).where(table.c.collection == collection.name, table.c.field.not_in(fields)))
        for field in fields:
            has = sa.exists().where(table.c.collection == documents.c.collection, table.c.id == documents.c.id, table.c.field == field)
            query = sa.select(documents.c.body).where(documents.c.collection == collection.name, ~has).limit(BATCH).with_for_update()
            missing = [msgspec.json.decode(body) for body in connection.execute(query).scalars()]
            if missing:
                try:
                    connection.execute(sa.insert(table), [row for one in missing for row in rows(collection, one, [field])])
                except (sa.exc.IntegrityError, KeyError) as error:
                    raise ValueError(f"{collection.name}: {field} cannot be unique, stored documents share or lack it") from error
            added += len(missing)
    return added


def _encoded(document: Mapping[str, Any]) -> str:
    return msgspec.json.encode(document).decode()


# Queries.


def _select(collection: Collection, where: Where, order: Sequence[str] | None, *columns: Any) -> sa.Select[Any]:
    joined: dict[str, Any] = {}
    source: sa.FromClause = documents

    def keys_of(field: str) -> Any:
        nonlocal source
        if field not in joined:
            keys = document_keys.alias()
            on = sa.and_(keys.c.collection == collection.name, keys.c.field == field, keys.c.id == documents.c.id)
            source = source.join(keys, on)
            joined[field] = keys.c
        return joined[field]

    conditions = [documents.c.collection == collection.name]
    for test in comparisons(collection, where):
        conditions.append(_holds(test, documents.c if test.field == "id" else keys_of(test.field)))
    by: list[sa.ColumnElement[Any]] = []
    for field, descending in [] if order is None else orders(collection, order):
        ordered = [documents.c.id] if field == "id" else [keys_of(field).kind, keys_of(field).number, keys_of(field).string]
        by.extend(column.desc() if descending else column.asc() for column in ordered)
    return sa.select(*columns).select_from(source).where(*conditions).order_by(*by)


def _holds(test: Comparison, columns: Any) -> sa.ColumnElement[bool]:
    if test.field == "id":
        return columns.id.in_(test.value) if test.op == "in" else _compared(columns.id, test.op, test.value)
    if test.op != "in":
        index = _index(test.value)
        column, value = (columns.string, index["string"]) if index["kind"] == STRING else (columns.number, index["number"])
        # `number IS NULL` for a text lets the one index serve both.
        other = [columns.number.is_(None)] if index["kind"] == STRING else []
        return sa.and_(columns.kind == index["kind"], *other, _compared(column, test.op, value))
    either: list[sa.ColumnElement[bool]] = []
    indexes = [_index(value) for value in test.value]
    if any(index["kind"] == NOTHING for index in indexes):
        either.append(columns.kind == NOTHING)
    for kind in (NUMBER, BOOLEAN):
        if numbers := [index["number"] for index in indexes if index["kind"] == kind]:
            either.append(sa.and_(columns.kind == kind, columns.number.in_(numbers)))
    if strings := [index["string"] for index in indexes if index["kind"] == STRING]:
        either.append(sa.and_(columns.kind == STRING, columns.number.is_(None), columns.string.in_(strings)))
    return sa.or_(sa.false(), *either)


def _compared(column: Any, op: str, value: Any) -> sa.ColumnElement[bool]:
    match op:
        case "lt":
            return column < value  # type: ignore[no-any-return]
        case "le":
            return column <= value  # type: ignore[no-any-return]
        case "gt":
            return column > value  # type: ignore[no-any-return]
        case _:
            return column >= value  # type: ignore[no-any-return]
