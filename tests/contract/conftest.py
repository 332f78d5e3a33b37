"""Each engine door, opened on each of its sides."""

from __future__ import annotations

import os
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from tornado.ioloop import IOLoop

import server.engines.bus_redis
import server.engines.documents_mongo
import server.engines.mail_smtp
import server.engines.sql_mysql  # noqa: F401, the drivers are imported here, off the loop, as they take long
from server.clock import Clock, HeldClock
from server.config import Settings
from server.engines.bus import BusDoor, open_bus
from server.engines.documents import DocumentsDoor, open_documents
from server.engines.schema import metadata
from server.engines.sql import SqlDoor, open_sql
from tests.peers.fixtures import mariadb, nx27017, redis_server, smtp, valkey
from tests.peers.mariadb import MariaDb

__all__ = ["mariadb", "nx27017", "redis_server", "smtp", "valkey"]

T = TypeVar("T")


@pytest.fixture
def on_loop(io_loop: IOLoop) -> Callable[[Callable[[], Awaitable[T]]], T]:
    """Run an async function on the test's loop before or after the test itself."""
    return lambda work: io_loop.run_sync(work, timeout=60)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture(params=["sqlite", "mariadb"])
def sql_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    if request.param == "sqlite":
        yield Settings(data_dir=str(tmp_path))
        return
    with request.getfixturevalue("mariadb").database() as database:
        yield Settings(data_dir=str(tmp_path), **database)


@pytest.fixture
def sql(sql_settings: Settings, on_loop: Any) -> Iterator[SqlDoor]:
    """A door on an empty database."""
    door = on_loop(lambda: open_sql(sql_settings))
    yield door
    on_loop(door.close)


@pytest.fixture(scope="session", autouse=True)
def dialects() -> None:
    """SQLAlchemy imports a dialect with the first engine of it, which takes long: before any loop runs."""
    for url in ("sqlite://", "mysql+aiomysql://", "mysql+pymysql://"):
        sa.make_url(url).get_dialect().import_dbapi()


# A real MongoDB takes part where one is named.
STORES = ["sqlite", "mariadb", "nx27017", *(["mongodb"] if os.environ.get("MONGODB_HOST") else [])]


@pytest.fixture(params=STORES)
def documents(request: pytest.FixtureRequest, tmp_path: Path, on_loop: Any) -> Iterator[DocumentsDoor]:
    """A door on an empty store."""
    if request.param in ("nx27017", "mongodb"):
        address = os.environ["MONGODB_HOST"] if request.param == "mongodb" else request.getfixturevalue("nx27017").address
        settings = Settings(data_dir=str(tmp_path), mongodb_host=address, mongodb_name=f"test_{uuid.uuid4().hex[:12]}")
        yield from _opened_documents(settings, on_loop)
    elif request.param == "mariadb":
        with request.getfixturevalue("mariadb").database() as database:
            yield from _opened_documents(Settings(data_dir=str(tmp_path), **database), on_loop)
    else:
        yield from _opened_documents(Settings(data_dir=str(tmp_path)), on_loop)


@pytest.fixture
def mariadb_settings(mariadb: MariaDb, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a database on MariaDB, for tests of that side alone."""
    with mariadb.database() as database:
        yield Settings(data_dir=str(tmp_path), **database)


def _opened_documents(settings: Settings, on_loop: Any) -> Iterator[DocumentsDoor]:
    async def opened() -> tuple[DocumentsDoor, SqlDoor]:
        sql = await open_sql(settings)
        store = open_documents(settings, sql)
        if settings.mongodb_host:
            # nx-27017 keeps a collection of one name for all databases.
            for name in await store._database.list_collection_names():  # type: ignore[attr-defined]
                await store._database[name].delete_many({})  # type: ignore[attr-defined]
        else:
            await sql.write(metadata.create_all)
        return store, sql

    async def closed() -> None:
        if settings.mongodb_host:
            await store._client.drop_database(settings.mongodb_name)
        await store.close()
        await sql.close()

    store, sql = on_loop(opened)
    yield store
    on_loop(closed)


@pytest.fixture(params=["local", "valkey", "redis"])
def bus(request: pytest.FixtureRequest, tmp_path: Path, on_loop: Any) -> Iterator[BusDoor]:
    """A door on a bus that knows nothing yet."""
    url = ""
    if request.param != "local":
        url = request.getfixturevalue("valkey" if request.param == "valkey" else "redis_server").url

    async def opened() -> BusDoor:
        door = open_bus(Settings(data_dir=str(tmp_path), redis_url=url), Clock())
        if url:
            await door._redis.flushall()  # type: ignore[attr-defined]
        return door

    door = on_loop(opened)
    yield door
    on_loop(door.close)
