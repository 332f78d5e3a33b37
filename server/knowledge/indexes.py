"""The indexes of vectors: one is searched; for another model one is built beside it and takes over when it is complete."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime
from enum import StrEnum

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.engines.embedding import EmbeddingDoor, EmbeddingModel
from server.events import Event, Resync
from server.knowledge.tables import vector_indexes as table
from server.platform.tasks import Queue, TaskQueued, enqueue

BUILD_INDEX = "build_index"


class IndexState(StrEnum):
    BUILDING = "building"  # being filled for a model that was changed to
    ACTIVE = "active"  # searched
    RETIRED = "retired"  # another took over; removed by the clean-up


class IndexSwitched(Event, frozen=True):
    """Another index is searched from now on, or one is being built."""


class Index(msgspec.Struct, frozen=True):
    """One collection of vectors and the model that made them."""

    id: int
    collection: str
    model: EmbeddingModel
    state: IndexState


def collection_name(model: EmbeddingModel) -> str:
    """The collection of a model: the same model finds its old one again."""
    return "chunks_" + hashlib.sha256(f"{model.url}\n{model.name}\n{model.dim}".encode()).hexdigest()[:24]


class Indexes:
    """Knows which indexes there are; asks the database again after a change."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._known: list[Index] | None = None
        self._prepared: set[str] = set()
        self._lock = asyncio.Lock()
        ctx.events.listen(IndexSwitched, lambda _event: self.forget())
        ctx.events.listen(Resync, lambda _event: self.forget())

    def forget(self) -> None:
        self._known = None

    async def find_active(self) -> Index | None:
        """The index that is searched; None before the first document. Its collection is ready. Raises EngineAway."""
        for index in await self._all():
            if index.state is IndexState.ACTIVE:
                await self._prepare(index)
                return index
        return None

    async def written(self) -> list[Index]:
        """The indexes that new chunks go to, the searched one first: made when there is none for the present model. Raises EngineAway."""
        model = await self._ctx.embedding.model()
        found = await self._all()
        if not any(index.model == model for index in found) or found[-1].model != model:
            async with self._lock:
                found = await self._turn_to(model)
        for index in found:
            await self._prepare(index)
        return found

    def door(self, index: Index) -> EmbeddingDoor:
        """What embeds for an index. Raises EngineAway when its model cannot be had any more."""
        return self._ctx.embedding.other(index.model)

    async def _prepare(self, index: Index) -> None:
        if index.collection not in self._prepared:
            await self._ctx.vectors.prepare(index.collection, index.model.dim)
            self._prepared.add(index.collection)

    async def _all(self) -> list[Index]:
        if self._known is None:
            self._known = await self._ctx.sql.read(read_indexes)
        return self._known

    async def _turn_to(self, model: EmbeddingModel) -> list[Index]:
        now = self._ctx.clock.now()
        try:
            found, building = await self._ctx.sql.write(lambda connection: _turn_to(connection, model, now))
        except sa.exc.IntegrityError:  # another instance made the same index at the same moment: now it is there
            found, building = await self._ctx.sql.write(lambda connection: _turn_to(connection, model, now))
        self._known = found
        if building:
            await self._ctx.events.publish(IndexSwitched())
            await self._ctx.events.publish(TaskQueued(Queue.MAINTENANCE.value))
        self._known = found
        return found


def read_indexes(connection: sa.Connection) -> list[Index]:
    """The active index and, after it, the one that is being built."""
    rows = connection.execute(sa.select(table).where(table.c.state != IndexState.RETIRED.value).order_by(table.c.state, table.c.id)).all()
    return [_index(row) for row in rows]


def _index(row: sa.Row[tuple[object, ...]]) -> Index:
    return Index(row.id, row.collection, EmbeddingModel(row.model, row.dim, row.url), IndexState(row.state))


def _turn_to(connection: sa.Connection, model: EmbeddingModel, now: datetime) -> tuple[list[Index], bool]:
    """Make the model's index the active one when there is none, else begin to build it; the indexes, and whether one is to be built."""
    found = read_indexes(connection)
    active = next((index for index in found if index.state is IndexState.ACTIVE), None)
    if active is not None and active.model == model:  # the setting was changed back
        _set_state(connection, [index.id for index in found if index is not active], IndexState.RETIRED, now)
        return [active], False
    others = [index.id for index in found if index.state is IndexState.BUILDING and index.model != model]
    _set_state(connection, others, IndexState.RETIRED, now)
    state = IndexState.ACTIVE if active is None else IndexState.BUILDING
    name = collection_name(model)
    values = {"model": model.name, "url": model.url, "dim": model.dim, "state": state.value, "changed_at": now}
    if not connection.execute(table.update().where(table.c.collection == name).values(values)).rowcount:
        connection.execute(table.insert().values(collection=name, created_at=now, **values))
    if state is IndexState.BUILDING:
        enqueue(connection, Queue.MAINTENANCE, BUILD_INDEX, {}, now=now, unique_key=BUILD_INDEX, max_attempts=100)
    return read_indexes(connection), state is IndexState.BUILDING


def switch(connection: sa.Connection, index: Index, now: datetime) -> bool:
    """The index that was built is searched from now on and the other retires; False when it is no longer the one to build."""
    built = table.update().where(table.c.id == index.id, table.c.state == IndexState.BUILDING.value)
    if not connection.execute(built.values(state=IndexState.ACTIVE.value, changed_at=now)).rowcount:
        return False
    old = sa.select(table.c.id).where(table.c.state == IndexState.ACTIVE.value, table.c.id != index.id)
    _set_state(connection, list(connection.execute(old).scalars()), IndexState.RETIRED, now)
    return True


def _set_state(connection: sa.Connection, ids: list[int], state: IndexState, now: datetime) -> None:
    if ids:
        connection.execute(table.update().where(table.c.id.in_(ids)).values(state=state.value, changed_at=now))


def retired(connection: sa.Connection, before: datetime) -> list[tuple[int, str]]:
    """Collections that nobody has searched since then: row id and name."""
    old = sa.select(table.c.id, table.c.collection).where(table.c.state == IndexState.RETIRED.value, table.c.changed_at < before)
    return [(row.id, row.collection) for row in connection.execute(old)]


def forget_index(connection: sa.Connection, index_id: int) -> bool:
    """Remove the row of a retired index; False when it is in use again."""
    return connection.execute(table.delete().where(table.c.id == index_id, table.c.state == IndexState.RETIRED.value)).rowcount == 1
