"""Documents in MongoDB; the only file that knows Motor and Mongo's query language."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure, PyMongoError

from server.engines.documents import (
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
from server.errors import EngineAway

log = logging.getLogger(__name__)

T = TypeVar("T")

SELECTION_TIMEOUT_MS = 3_000
SOCKET_TIMEOUT_MS = 30_000
DUPLICATE_KEY = 11000
OPERATORS = {"in": "$in", "lt": "$lt", "le": "$lte", "gt": "$gt", "ge": "$gte"}


class MongoDocuments:
    """A database of its own. A document keeps its `id` beside `_id`, so that every index can end in it as the order does."""

    mode: Literal["embedded", "distributed"] = "distributed"

    def __init__(self, address: str, name: str) -> None:
        self._client: Any = AsyncIOMotorClient(
            address,
            serverSelectionTimeoutMS=SELECTION_TIMEOUT_MS,
            connectTimeoutMS=SELECTION_TIMEOUT_MS,
            socketTimeoutMS=SOCKET_TIMEOUT_MS,
            appname="zhihui",
        )
        self._database: Any = self._client[name]
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
        target = self._database[collection.name]
        for field in collection.keys:
            await self._asked(target.create_index([(field, 1), ("id", 1)]))
        for field in collection.unique:
            await self._asked(target.create_index([(field, 1)], unique=True))
        await self._asked(target.create_index([("id", 1)]))

    async def _asked(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except PyMongoError as error:
            if _is_duplicate(error):
                raise DuplicateDocument() from error
            # It may come back without its indexes.
            self._prepared = False
            raise EngineAway("documents", str(error)) from error

    async def _target(self, collection: str) -> Any:
        await self._ready()
        return self._database[collection]

    async def insert(self, collection: str, document: dict[str, Any]) -> None:
        ready = stored_document(self._declared[collection], document)
        target = await self._target(collection)
        await self._asked(target.insert_one({"_id": ready["id"], **ready}))

    async def insert_many(self, collection: str, documents: Sequence[dict[str, Any]]) -> None:
        declared = self._declared[collection]
        # The mark tells ours from those that were there before, should they have to go again.
        mark = uuid.uuid4().hex
        ready = [{"_id": document["id"], "_batch": mark, **stored_document(declared, document)} for document in documents]
        if not ready:
            return
        target = await self._target(collection)
        try:
            await self._asked(target.insert_many(ready))
        except DuplicateDocument:
            await self._asked(target.delete_many({"_id": {"$in": [one["_id"] for one in ready]}, "_batch": mark}))
            raise

    async def get(self, collection: str, id: str) -> dict[str, Any]:
        found = await self.find(collection, {"id": id})
        if not found:
            raise DocumentNotFound()
        return found[0]

    async def find(
        self, collection: str, where: Where, *, order: Sequence[str] = (), limit: int | None = None, skip: int = 0
    ) -> list[dict[str, Any]]:
        declared = self._declared[collection]
        query = _query(declared, where)
        by = [(field, -1 if descending else 1) for field, descending in orders(declared, order)]
        if limit == 0:  # which Mongo takes for no limit
            return []
        cursor = (await self._target(collection)).find(query).sort(by).skip(skip).limit(limit or 0)
        found: list[dict[str, Any]] = await self._asked(cursor.to_list(None))
        return [{name: value for name, value in document.items() if not name.startswith("_")} for document in found]

    async def count(self, collection: str, where: Where) -> int:
        query = _query(self._declared[collection], where)
        total: int = await self._asked((await self._target(collection)).count_documents(query))
        return total

    async def patch(self, collection: str, id: str, changes: Mapping[str, Any], *, condition: Mapping[str, Any] | None = None) -> bool:
        declared = self._declared[collection]
        if "id" in changes:
            raise ValueError(f"{collection}: id cannot be changed")
        ready = stored_fields(declared, changes)
        query = _query(declared, {**(condition or {}), "id": id})
        target = await self._target(collection)
        if not ready:  # Mongo refuses an empty $set
            return await self._asked(target.find_one(query, {"_id": 1})) is not None
        # The count makes every patch a change: some servers count a document as matched only when it changes.
        outcome = await self._asked(target.update_one(query, {"$set": ready, "$inc": {"_patches": 1}}))
        return bool(outcome.matched_count)

    async def delete(self, collection: str, where: Where) -> int:
        query = _query(self._declared[collection], where)
        outcome = await self._asked((await self._target(collection)).delete_many(query))
        deleted: int = outcome.deleted_count
        return deleted

    async def ping(self) -> None:
        await self._asked(self._client.admin.command("ping"))

    async def close(self) -> None:
        self._client.close()


def _is_duplicate(error: PyMongoError) -> bool:
    # A bulk write has the code inside its details; a server that speaks the protocol over SQLite has words only.
    if not isinstance(error, OperationFailure):
        return False
    details = error.details or {}
    codes = {error.code, *(one.get("code") for one in details.get("writeErrors", []))}
    return DUPLICATE_KEY in codes or "UNIQUE constraint failed" in str(error)


def _query(collection: Collection, where: Where) -> dict[str, Any]:
    parts = [_part(one) for one in comparisons(collection, where)]
    return {"$and": parts} if len(parts) > 1 else parts[0] if parts else {}


def _part(one: Comparison) -> dict[str, Any]:
    field = "_id" if one.field == "id" else one.field
    if one.op == "in" and len(one.value) == 1:
        return {field: one.value[0]}
    return {field: {OPERATORS[one.op]: one.value}}
