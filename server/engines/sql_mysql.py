"""MySQL or MariaDB: the same transactions, by run_sync on aiomysql."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from server.engines.sql import Transaction, Waiting
from server.errors import EngineAway

T = TypeVar("T")

# aiomysql has no read timeout of its own.
TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5
DEADLOCK, LOCK_WAIT = 1213, 1205
# Errors of the server itself that mean "not now": too many connections, shutting down, read only while failing over.
NOT_NOW = frozenset({1040, 1053, 1152, 1159, 1161, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 2014, 2055})
RETRIES = 5
# A connection that was used so lately is taken to be alive.
FRESH_S = 1.0
# Batches under way at once, each on a connection of its own, and the transactions that share one commit at most.
COMMITTERS = 3
LARGEST_BATCH = 32


class MysqlDoor:
    """A pool of connections to one MySQL server. Transactions that wait at the same moment share a commit."""

    mode: Literal["embedded", "distributed"] = "distributed"
    dialect: Literal["sqlite", "mysql"] = "mysql"

    def __init__(self, url: sa.URL, *, pool_size: int) -> None:
        self._waiting: deque[Waiting] = deque()
        self._committing: set[asyncio.Task[None]] = set()
        common: dict[str, Any] = {
            "pool_recycle": 1800,
            "pool_timeout": TIMEOUT_S,
            # Every transaction is ended by us; a ROLLBACK at each return to the pool would be one more exchange.
            "pool_reset_on_return": None,
        }
        self._engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            isolation_level="READ COMMITTED",
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "init_command": "SET time_zone='+00:00'"},
            **common,
        )
        # For small reads: each statement is a transaction of its own, and none can write.
        self._small = create_async_engine(
            url,
            pool_size=max(2, pool_size // 2),
            max_overflow=0,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "init_command": "SET SESSION TRANSACTION READ ONLY"},
            **common,
        )
        for engine in (self._engine, self._small):
            _ping_the_idle(engine)

    async def write(self, transaction: Transaction[T]) -> T:
        # Shielded by its future: a caller that goes away must not leave half a protocol exchange on a pooled connection.
        waiting = Waiting(transaction, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if len(self._committing) < COMMITTERS:
            task = asyncio.create_task(self._commit_waiting(), name="mysql-commit")
            self._committing.add(task)
            task.add_done_callback(self._committing.discard)
        value: T = await waiting.done
        return value

    async def _commit_waiting(self) -> None:
        """Run all that wait in one transaction, again and again until nothing waits."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_BATCH))]
            if len(batch) > 1 and await self._commit_together(batch):
                continue
            for one in batch:
                await self._commit_alone(one)

    async def _commit_together(self, batch: list[Waiting]) -> bool:
        """One commit for the whole batch; False, nothing having happened, when any of its transactions fails."""
        try:
            values = await self._run(lambda connection: [one.transaction(connection) for one in batch])
        except EngineAway as away:
            for one in batch:
                one.settle(None, away)
            return True
        except Exception:
            return False  # each is tried alone, and its own caller hears its own error
        for one, value in zip(batch, values, strict=True):
            one.settle(value, None)
        return True

    async def _commit_alone(self, one: Waiting) -> None:
        for attempt in range(RETRIES):
            try:
                one.settle(await self._run(one.transaction), None)
                return
            except sa.exc.OperationalError as error:
                if _code(error) not in (DEADLOCK, LOCK_WAIT) or attempt == RETRIES - 1:
                    one.settle(None, error)
                    return
            except Exception as error:
                one.settle(None, error)
                return
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))

    async def read(self, transaction: Transaction[T]) -> T:
        return await asyncio.shield(self._run(transaction, commit=False))

    async def read_small(self, transaction: Transaction[T]) -> T:
        try:
            return await asyncio.shield(self._read_small(transaction))
        except EngineAway:
            return await asyncio.shield(self._read_small(transaction))  # it may have died in the pool; reading twice does no harm

    async def _read_small(self, transaction: Transaction[T]) -> T:
        with _away():
            async with asyncio.timeout(TIMEOUT_S), self._small.connect() as connection:
                return await connection.run_sync(transaction)

    async def _run(self, transaction: Transaction[T], *, commit: bool = True) -> T:
        with _away():
            async with asyncio.timeout(TIMEOUT_S), self._engine.connect() as connection:
                # Said outright: statements that run on the driver's own cursor would begin no transaction of SQLAlchemy's.
                await connection.begin()
                if not commit:
                    # Read committed, which suits writes, would give each statement a snapshot of its own.
                    await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    await connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                value = await connection.run_sync(transaction)
                await (connection.commit() if commit else connection.rollback())
                return value

    async def ping(self) -> None:
        await self.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())

    async def close(self) -> None:
        await asyncio.gather(*self._committing, return_exceptions=True)
        await self._engine.dispose()
        await self._small.dispose()


@contextmanager
def _away() -> Iterator[None]:
    """What means that the server does not answer, as EngineAway."""
    try:
        yield
    except TimeoutError as error:
        raise EngineAway("sql", f"no answer in {TIMEOUT_S} s") from error
    except sa.exc.DBAPIError as error:
        if _is_away(error):
            raise EngineAway("sql", str(error.orig)) from error
        raise
    except (sa.exc.TimeoutError, OSError) as error:
        raise EngineAway("sql", str(error)) from error


def _ping_the_idle(engine: AsyncEngine) -> None:
    """Ask a connection whether it lives before it is used, unless it was used a moment ago."""

    @sa.event.listens_for(engine.sync_engine, "checkin")
    def noted(_connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @sa.event.listens_for(engine.sync_engine, "checkout")
    def asked(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used_at", 0.0) < FRESH_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError(str(error)) from error  # the pool then tries another one, or a new one


def _code(error: sa.exc.DBAPIError) -> int:
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def _is_away(error: sa.exc.DBAPIError) -> bool:
    return error.connection_invalidated or _code(error) in NOT_NOW
