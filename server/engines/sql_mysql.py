"""MySQL or MariaDB: the same transactions, by run_sync on aiomysql."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from server.engines.sql import Transaction
from server.errors import EngineAway

T = TypeVar("T")

# aiomysql has no read timeout of its own.
TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5
DEADLOCK, LOCK_WAIT = 1213, 1205
# Errors of the server itself that mean "not now": too many connections, shutting down, read only while failing over.
NOT_NOW = frozenset({1040, 1053, 1152, 1159, 1161, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 2014, 2055})
RETRIES = 5


class MysqlDoor:
    """A pool of connections to one MySQL server."""

    mode: Literal["embedded", "distributed"] = "distributed"
    dialect: Literal["sqlite", "mysql"] = "mysql"

    def __init__(self, url: sa.URL, *, pool_size: int) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
            pool_recycle=1800,
            pool_timeout=TIMEOUT_S,
            isolation_level="READ COMMITTED",
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "init_command": "SET time_zone='+00:00'"},
        )

    async def write(self, transaction: Transaction[T]) -> T:
        for attempt in range(RETRIES):
            try:
                # Shielded: a caller that goes away must not leave half a protocol exchange on a pooled connection.
                return await asyncio.shield(self._run(transaction))
            except sa.exc.OperationalError as error:
                if _code(error) not in (DEADLOCK, LOCK_WAIT) or attempt == RETRIES - 1:
                    raise
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    async def read(self, transaction: Transaction[T]) -> T:
        return await asyncio.shield(self._run(transaction, commit=False))

    read_small = read

    async def _run(self, transaction: Transaction[T], *, commit: bool = True) -> T:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._engine.connect() as connection:
                if not commit:
                    # Read committed, which suits writes, would give each statement a snapshot of its own.
                    await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    await connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                value = await connection.run_sync(transaction)
                await (connection.commit() if commit else connection.rollback())
                return value
        except TimeoutError as error:
            raise EngineAway("sql", f"no answer in {TIMEOUT_S} s") from error
        except sa.exc.DBAPIError as error:
            if _is_away(error):
                raise EngineAway("sql", str(error.orig)) from error
            raise
        except (sa.exc.TimeoutError, OSError) as error:
            raise EngineAway("sql", str(error)) from error

    async def ping(self) -> None:
        await self.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())

    async def close(self) -> None:
        await self._engine.dispose()


def _code(error: sa.exc.DBAPIError) -> int:
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def _is_away(error: sa.exc.DBAPIError) -> bool:
    return error.connection_invalidated or _code(error) in NOT_NOW
