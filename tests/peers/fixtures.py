"""The peers as session fixtures; a conftest that wants them imports them from here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.mariadb import MariaDb, running_mariadb
from tests.peers.nx27017 import Nx27017, running_nx27017
from tests.peers.smtp import SmtpPeer, running_smtp
from tests.peers.valkey import Valkey, running_valkey


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    with running_mariadb(tmp_path_factory.mktemp("mariadb")) as peer:
        yield peer


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as peer:
        yield peer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("redis"), "redis") as peer:
        yield peer


@pytest.fixture(scope="session")
def nx27017(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nx27017]:
    with running_nx27017(tmp_path_factory.mktemp("nx27017")) as peer:
        yield peer


@pytest.fixture
def smtp() -> Iterator[SmtpPeer]:
    with running_smtp() as peer:
        yield peer
