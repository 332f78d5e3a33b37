"""The peers, and a prepared DATA_DIR for servers that run within the test."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import server.engines.bus_redis
import server.engines.sql_mysql  # noqa: F401, imported here, off the loop, as the drivers take long
from server.clock import HeldClock
from tests.integration.house import NOON, copied, prepare
from tests.peers.fixtures import mariadb, smtp, valkey

__all__ = ["mariadb", "smtp", "valkey"]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DATA_DIR with tables and administrator."""
    for url in ("sqlite://", "mysql+aiomysql://", "mysql+pymysql://"):
        sa.make_url(url).get_dialect().import_dbapi()
    return prepare(tmp_path_factory.mktemp("prepared") / "data")


@pytest.fixture(scope="session")
def prepared_at_noon(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    return prepare(tmp_path_factory.mktemp("prepared") / "data", HeldClock(NOON - timedelta(hours=1)))


@pytest.fixture
def data_at_noon(prepared_at_noon: Path, tmp_path: Path) -> Path:
    """A DATA_DIR of the test's own, set up shortly before NOON, for tests that hold the clock."""
    return copied(prepared_at_noon, tmp_path / "data")


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    """A DATA_DIR of the test's own."""
    return copied(prepared, tmp_path / "data")
