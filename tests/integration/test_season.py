"""A season of forty people on a running server: the call, the reviews, the scores, the students, and what everybody heard of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from server import migrating
from server.config import Settings
from tests.integration.library import faults_in_log
from tests.integration.season import closing, proposals, reviewing, scoring, students
from tests.integration.season.people import PEOPLE, University, university
from tests.integration.test_documents import running
from tests.integration.test_documents_instances import pair_of_instances
from tests.peers.mariadb import MariaDb
from tests.peers.valkey import Valkey

# Forty browsers live on the test's loop; the server is a process of its own.
pytestmark = [pytest.mark.integration, pytest.mark.holds_loop]

CHAPTERS: tuple[Callable[[University], Awaitable[Any]], ...] = (
    proposals.call,
    proposals.last_season,
    proposals.lay_chain,
    proposals.propose,
    proposals.withdraw,
    reviewing.departments,
    reviewing.schools,
    scoring.score,
    reviewing.panel,
    students.study,
    closing.begin_work,
    closing.lists,
    closing.search,
    closing.records,
    closing.sheets,
    closing.dashboard,
    closing.notices,
    closing.blindness,
    closing.live,
)


async def live_through(*urls: str) -> None:
    """The whole season, chapter by chapter, by people who know only the servers' addresses."""
    assert len(PEOPLE) == 40
    began = time.monotonic()
    async with university(urls) as uni:
        print(f"forty people signed in and listening after {time.monotonic() - began:.1f} s")
        for chapter in CHAPTERS:
            began = time.monotonic()
            await chapter(uni)
            print(f"{chapter.__module__.rpartition('.')[2]}.{chapter.__name__}: {time.monotonic() - began:.1f} s")


@pytest.mark.gen_test(timeout=400)
async def test_a_season_on_sqlite(tmp_path: Path) -> None:
    async with running(tmp_path / "data", ws=1) as server:
        await live_through(server.url)
        assert faults_in_log(server.data) == []


@pytest.mark.gen_test(timeout=400)
async def test_a_season_on_mariadb(mariadb: MariaDb, tmp_path: Path) -> None:
    kept = mariadb.database()
    database = await asyncio.to_thread(kept.__enter__)
    try:
        await asyncio.to_thread(migrating.migrate, Settings(data_dir=str(tmp_path / "data"), **database))
        async with running(tmp_path / "data", ws=1, **database) as server:
            await live_through(server.url)
            assert faults_in_log(server.data) == []
    finally:
        await asyncio.to_thread(kept.__exit__, None, None, None)


@pytest.mark.gen_test(timeout=400)
async def test_a_season_on_two_instances(mariadb: MariaDb, valkey: Valkey, tmp_path: Path) -> None:
    """Colleagues sit at different servers, and still everybody hears everything once."""
    async with pair_of_instances(mariadb, valkey, tmp_path) as pair:
        await live_through(*(server.url for server in pair.servers))
        assert [faults_in_log(server.data) for server in pair.servers] == [[], []]
