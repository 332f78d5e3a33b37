"""The door to the SQL database: a transaction is a plain function of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import sqlalchemy as sa

from server.config import Settings

T = TypeVar("T")
Transaction = Callable[[sa.Connection], T]


class Waiting(NamedTuple):
    """A transaction that waits for its commit, and the future that its caller waits for."""

    transaction: Transaction[Any]
    done: asyncio.Future[Any]

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Tell the caller. One that was cancelled meanwhile hears nothing; what it asked for has happened all the same."""
        if self.done.done():
            return
        if error is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(value)


class SqlDoor(Protocol):
    """Runs transactions; all of it either happens or does not, also when the caller is cancelled meanwhile.

    A transaction must be a pure function of its connection: it may be run again after a deadlock. Every method raises EngineAway
    when the database does not answer, and whatever the function itself raises.
    """

    mode: Literal["embedded", "distributed"]
    dialect: Literal["sqlite", "mysql"]

    async def write(self, transaction: Transaction[T]) -> T:
        """Run and commit."""

    async def read(self, transaction: Transaction[T]) -> T:
        """Run on a consistent snapshot; writing fails."""

    async def read_small(self, transaction: Transaction[T]) -> T:
        """A read that is hot and known to take well under a millisecond: the embedded side runs it on the loop."""

    async def ping(self) -> None:
        """Answer, or raise EngineAway."""

    async def close(self) -> None: ...


def sync_url(settings: Settings) -> sa.URL:
    """The address for blocking use: migrations and management commands."""
    if settings.mysql_host:
        return mysql_url(settings, "mysql+pymysql")
    return sa.URL.create("sqlite", database=str(settings.data / "zhihui.db"))


def mysql_url(settings: Settings, driver: str) -> sa.URL:
    return sa.URL.create(
        driver,
        username=settings.mysql_user,
        password=settings.mysql_password,
        host=settings.mysql_host,
        port=settings.mysql_port,
        database=settings.mysql_db,
        query={"charset": "utf8mb4"},
    )


async def open_sql(settings: Settings) -> SqlDoor:
    """The door that the settings ask for. Blocking work (creating the SQLite file) happens off the loop."""
    if settings.mysql_host:
        from server.engines.sql_mysql import MysqlDoor

        return MysqlDoor(mysql_url(settings, "mysql+aiomysql"), pool_size=settings.mysql_pool_size)
    from server.engines.sql_sqlite import SqliteDoor

    return await SqliteDoor.open(settings.data / "zhihui.db")
