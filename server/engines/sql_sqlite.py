"""SQLite: one writer thread that commits all who wait at once, and readers in a small pool."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import sqlalchemy as sa

from server.engines.sql import Transaction, Waiting
from server.errors import EngineAway

T = TypeVar("T")

# What a loaded server waits with at most; larger batches win nothing more.
LARGEST_BATCH = 128
# Whoever waits for a commit should not wait for hundreds of others: past this, the next commit takes the rest.
LONGEST_COMMIT_S = 0.05
READERS = 3
BUSY_TIMEOUT_S = 15.0


class _Outcome(NamedTuple):
    waiting: Waiting
    value: Any
    error: BaseException | None


class SqliteDoor:
    """One SQLite file in WAL mode."""

    mode: Literal["embedded", "distributed"] = "embedded"
    dialect: Literal["sqlite", "mysql"] = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._serve, name="sqlite-writer", daemon=True)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._reading = self._engine(sa.pool.QueuePool, pool_size=READERS, max_overflow=0, query_only=True)
        self._small_engine = self._engine(sa.pool.StaticPool, query_only=True)
        self._small: sa.Connection | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> SqliteDoor:
        await asyncio.to_thread(_prepare, path)
        door = cls(path)
        door._writer.start()
        return door

    def _engine(self, pool: type[sa.pool.Pool], *, query_only: bool, **options: Any) -> sa.Engine:
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self._path)),
            poolclass=pool,
            isolation_level="AUTOCOMMIT",  # BEGIN and COMMIT are ours to say
            connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_S, "cached_statements": 512},
            **options,
        )

        @sa.event.listens_for(engine, "connect")
        def tune(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
            if query_only:
                connection.execute("PRAGMA query_only=ON")

        return engine

    async def write(self, transaction: Transaction[T]) -> T:
        self._check_open()
        done: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put(Waiting(transaction, done))
        return await done

    async def read(self, transaction: Transaction[T]) -> T:
        self._check_open()
        return await self._loop.run_in_executor(self._threads, self._read, transaction)

    def _read(self, transaction: Transaction[T]) -> T:
        try:
            with self._reading.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                try:
                    return transaction(connection)
                finally:
                    connection.exec_driver_sql("ROLLBACK")
        except sa.exc.DBAPIError as error:
            raise _translated(error) from error

    async def read_small(self, transaction: Transaction[T]) -> T:
        self._check_open()
        try:
            if self._small is None:
                self._small = self._small_engine.connect()
            return transaction(self._small)
        except sa.exc.DBAPIError as error:
            raise _translated(error) from error

    async def ping(self) -> None:
        await self.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        await asyncio.to_thread(self._writer.join)
        if self._small is not None:
            self._small.close()
        self._small_engine.dispose()
        await asyncio.to_thread(self._threads.shutdown)
        self._reading.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise EngineAway("sql", "closed")

    # The writer thread.

    def _serve(self) -> None:
        engine = self._engine(sa.pool.StaticPool, query_only=False)
        connection: sa.Connection | None = None
        taken: deque[Waiting] = deque()
        going = True
        while going or taken:
            going = going and self._take(taken)
            if not taken:
                break
            tried: list[Waiting] = []
            try:
                if connection is None:
                    connection = engine.connect()
                outcomes = _commit(connection, taken, tried)
            except Exception as error:  # BEGIN or COMMIT failed: nobody's work stands, and this thread must outlive it
                failure = _translated(error) if isinstance(error, sa.exc.DBAPIError | sqlite3.Error) else error
                if not tried:
                    tried, taken = list(taken), deque()
                outcomes = [_Outcome(waiting, None, failure) for waiting in tried]
                connection = _rolled_back(connection)
            self._loop.call_soon_threadsafe(_settle, outcomes)
        if connection is not None:
            connection.close()
        engine.dispose()

    def _take(self, taken: deque[Waiting]) -> bool:
        """Take what waits, waiting for it when there is nothing to do; False when there will be no more."""
        try:
            while len(taken) < LARGEST_BATCH:
                waiting = self._waiting.get(block=not taken)
                if waiting is None:
                    return False
                taken.append(waiting)
        except queue.Empty:
            pass
        return True


def _prepare(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def _commit(connection: sa.Connection, taken: deque[Waiting], tried: list[Waiting]) -> list[_Outcome]:
    """Run what was taken in one commit, until that has lasted long enough; what was run is in `tried`, what was not stays in `taken`."""
    # Straight to the driver: these run around every transaction.
    raw = connection.connection.cursor()
    outcomes = []
    raw.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    while taken and (not tried or time.monotonic() - began < LONGEST_COMMIT_S):
        waiting = taken.popleft()
        tried.append(waiting)
        raw.execute("SAVEPOINT one")
        try:
            outcomes.append(_Outcome(waiting, waiting.transaction(connection), None))
        except Exception as error:  # the caller gets it; the others' work stays
            raw.execute("ROLLBACK TO one")
            outcomes.append(_Outcome(waiting, None, _translated(error) if isinstance(error, sa.exc.DBAPIError) else error))
        raw.execute("RELEASE one")
    raw.execute("COMMIT")
    raw.close()
    return outcomes


def _rolled_back(connection: sa.Connection | None) -> sa.Connection | None:
    """The connection if it can be used again, else None, so that the next batch opens a new one."""
    if connection is None:
        return None
    try:
        connection.exec_driver_sql("ROLLBACK")
    except sa.exc.DBAPIError as error:
        if "no transaction is active" not in str(error):
            connection.close()
            return None
    return connection


def _settle(outcomes: list[_Outcome]) -> None:
    for waiting, value, error in outcomes:
        waiting.settle(value, error)


def _translated(error: sa.exc.DBAPIError | sqlite3.Error) -> Exception:
    if isinstance(error, sqlite3.Error):  # of BEGIN or COMMIT: full, locked, gone
        return EngineAway("sql", str(error))
    if isinstance(error, sa.exc.OperationalError) and "no such" not in str(error.orig) and "syntax" not in str(error.orig):
        return EngineAway("sql", str(error.orig))
    return error
