"""Rows of a query at HR's own database, in pages: opened read only, with a time limit."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from server.people.hr.reading.pages import MOST_ROWS, PAGE_ROWS, Page
from server.people.hr.reading.watched import find_file
from server.people.hr.refusals import QueryFailed, SourceTooLarge

CONNECT_TIMEOUT_S = 10
# SQLite asks so often (in its own instructions) whether the time is over.
STEPS_BETWEEN_LOOKS = 10_000
SQLITE_LIMIT_ATTACHED = 7
SCHEMES = ("sqlite", "mysql")


def sql_pages(folder: Path, dsn: str, query: str, timeout_s: float) -> Generator[Page, None, None]:
    """Raises QueryFailed, FileUnusable and SourceTooLarge. `timeout_s` is for the whole query."""
    count = 0
    try:
        with _connected(folder, dsn, timeout_s) as connection:
            result = connection.exec_driver_sql(query.strip().removesuffix(";"))
            columns = list(result.keys())
            while rows := result.fetchmany(PAGE_ROWS):
                count += len(rows)
                if count > MOST_ROWS:
                    raise SourceTooLarge(limit=MOST_ROWS)
                yield Page([{name: _plain(value) for name, value in zip(columns, row, strict=True)} for row in rows])
    except (sa.exc.SQLAlchemyError, OSError, ValueError, UnicodeError) as error:
        raise QueryFailed(detail=_without_address(error, dsn)) from None


@contextmanager
def _connected(folder: Path, dsn: str, timeout_s: float) -> Generator[sa.Connection, None, None]:
    address = sa.engine.make_url(dsn)
    engine = _sqlite(folder, address) if address.get_backend_name() == "sqlite" else _mysql(address, timeout_s)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                _limit_sqlite(connection, timeout_s)
            else:
                _limit_mysql(connection, timeout_s)
            # Without parameters a percent sign is nothing but that.
            yield connection.execution_options(stream_results=True, no_parameters=True)
    finally:
        engine.dispose()


def _sqlite(folder: Path, address: sa.URL) -> sa.Engine:
    """A file below the folder of HR files: no other one, least of all our own database."""
    file = find_file(folder, address.database or "", None)
    uri = sa.URL.create("sqlite", database=f"file:{quote(str(file))}", query={"mode": "ro", "uri": "true"})
    return sa.create_engine(uri, poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False, "timeout": CONNECT_TIMEOUT_S})


def _mysql(address: sa.URL, timeout_s: float) -> sa.Engine:
    timeouts = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": max(1, int(timeout_s) + 5), "write_timeout": CONNECT_TIMEOUT_S}
    driven = address.set(drivername="mysql+pymysql", query={"charset": "utf8mb4"})
    return sa.create_engine(driven, poolclass=sa.pool.NullPool, connect_args=timeouts)


def _limit_sqlite(connection: sa.Connection, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    raw: Any = connection.connection.dbapi_connection
    raw.set_progress_handler(lambda: time.monotonic() > deadline, STEPS_BETWEEN_LOOKS)
    raw.setlimit(SQLITE_LIMIT_ATTACHED, 0)  # to attach a file that is not there makes it, even to who may only read
    connection.exec_driver_sql("PRAGMA query_only=ON")
    connection.exec_driver_sql("PRAGMA trusted_schema=OFF")


def _limit_mysql(connection: sa.Connection, timeout_s: float) -> None:
    # MySQL and MariaDB have a name each for it, and an error for the other's.
    for limit in (f"max_execution_time={int(timeout_s * 1000)}", f"max_statement_time={timeout_s}"):
        with suppress(sa.exc.DBAPIError):
            connection.exec_driver_sql(f"SET SESSION {limit}")
    connection.rollback()
    connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
    connection.rollback()  # what comes next is a transaction of its own


def _plain(value: Any) -> Any:
    """Numbers of a database as those of JSON; bytes as text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    return value


def _without_address(error: BaseException, dsn: str) -> str:
    """The database's own words, in one line, without the address, which holds a password."""
    words = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
    password = sa.engine.make_url(dsn).password
    said = words[0].replace(dsn, "…")
    return (said.replace(str(password), "…") if password else said)[:300]
