"""MySQL or MariaDB: the same transactions, by run_sync on aiomysql."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import Any, Literal, NamedTuple, TypeVar

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
# Batches under way at once, each on a connection of its own, and the transactions that share one commit at most.
COMMITTERS = 3
LARGEST_BATCH = 32


class _Waiting(NamedTuple):
    transaction: Transaction[Any]
    done: asyncio.Future[Any]


class MysqlDoor:
    """A pool of connections to one MySQL server. Transactions that wait at the same moment share a commit."""

    mode: Literal["embedded", "distributed"] = "distributed"
    dialect: Literal["sqlite", "mysql"] = "mysql"

    def __init__(self, url: sa.URL, *, pool_size: int) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._committing: set[asyncio.Task[None]] = set()
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
        # Shielded by its future: a caller that goes away must not leave half a protocol exchange on a pooled connection.
        waiting = _Waiting(transaction, asyncio.get_running_loop().create_future())
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

    async def _commit_together(self, batch: list[_Waiting]) -> bool:
        """One commit for the whole batch; False, nothing having happened, when any of its transactions fails."""
        try:
            values = await self._run(lambda connection: [one.transaction(connection) for one in batch])
        except EngineAway as away:
            for one in batch:
                _settle(one, None, away)
            return True
        except Exception:
            return False  # each is tried alone, and its own caller hears its own error
        for one, value in zip(batch, values, strict=True):
            _settle(one, value, None)
        return True

    async def _commit_alone(self, one: _Waiting) -> None:
        for attempt in range(RETRIES):
            try:
                _settle(one, await self._run(one.transaction), None)
                return
            except sa.exc.OperationalError as error:
                if _code(error) not in (DEADLOCK, LOCK_WAIT) or attempt == RETRIES - 1:
                    _settle(one, None, error)
                    return
            except Exception as error:
                _settle(one, None, error)
                return
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))

    async def read(self, transaction: Transaction[T]) -> T:
        return await asyncio.shield(self._run(transaction, commit=False))

    async def read_small(self, transaction: Transaction[T]) -> T:
        return await asyncio.shield(self._run(transaction, commit=False, snapshot=False))

    async def _run(self, transaction: Transaction[T], *, commit: bool = True, snapshot: bool = True) -> T:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._engine.connect() as connection:
                # Said outright: statements that run on the driver's own cursor would begin no transaction of SQLAlchemy's.
                await connection.begin()
                if not commit and not snapshot:
                    await connection.exec_driver_sql("START TRANSACTION READ ONLY")
                elif not commit:
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
        await asyncio.gather(*self._committing, return_exceptions=True)
        await self._engine.dispose()


def _settle(one: _Waiting, value: Any, error: BaseException | None) -> None:
    if one.done.done():
        return  # the caller was cancelled; what it asked for has happened all the same
    if error is not None:
        one.done.set_exception(error)
    else:
        one.done.set_result(value)


def _code(error: sa.exc.DBAPIError) -> int:
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def _is_away(error: sa.exc.DBAPIError) -> bool:
    return error.connection_invalidated or _code(error) in NOT_NOW
