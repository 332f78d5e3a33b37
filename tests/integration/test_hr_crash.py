"""A server that is killed while it reads HR and while it applies a plan: the run goes on, and each change happens once."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.waiting import until
from tests.integration.api_client import Api
from tests.integration.house import PASSWORD
from tests.integration.running_server import ROOT, RunningServer
from tests.peers.process import spawn

pytestmark = pytest.mark.integration

PERSONS = 3000
OVER = ("succeeded", "aborted", "failed", "awaiting_approval")


@pytest.fixture
def address() -> Iterator[str]:
    """Where an HR system with many people answers, which outlives the server."""
    command = [sys.executable, "-m", "tests.peers.hr_server", "--persons", str(PERSONS), "--departments", "50"]
    process = spawn(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.gen_test(timeout=180)
async def test_a_run_outlives_two_kills(tmp_path: Path, address: str) -> None:
    data = tmp_path / "data"
    settings = {"admin_password": PASSWORD, "rate_limit": "off"}
    server = await asyncio.to_thread(RunningServer, data, **settings)
    settings["server_port"] = str(server.port)
    api = Api(server.url, PASSWORD)
    run: dict[str, Any] = {}
    try:
        await asyncio.to_thread(server.wait_ready)
        body = {"name": "hr", "kind": "rest", "url": address, "departments_url": address.replace("persons", "departments")}
        made = await api.post("/api/hr/sources", body)
        run = await api.post("/api/hr/sync", {"source": made["id"]}, status=202)
        for moment in (lambda one: one["state"] == "reading", lambda one: one["state"] == "applying" and one["applied"] > 100):
            there = await reached(api, run["id"], moment)
            assert there["state"] not in OVER, "it was over before it could be killed"
            server.crash()
            server = await asyncio.to_thread(RunningServer, data, **settings)
            await asyncio.to_thread(server.wait_ready)
        await reached(api, run["id"], lambda one: one["state"] in OVER)
        done = await api.get(f"/api/hr/runs/{run['id']}")
        assert (done["state"], done["applied"], done["counts"]["create"]) == ("succeeded", PERSONS + 50, PERSONS)
        assert (await api.get("/api/hr/persons"))["total"] == PERSONS
    finally:
        api.close()
        await asyncio.to_thread(server.end)
    with closing(sqlite3.connect(data / "zhihui.db")) as connection:
        assert connection.execute("SELECT DISTINCT revision FROM hr_persons").fetchall() == [(1,)]
        assert connection.execute("SELECT DISTINCT state FROM hr_changes").fetchall() == [("applied",)]
        assert connection.execute("SELECT count(*) FROM hr_changes").fetchone() == (PERSONS + 50,)
        assert connection.execute("SELECT count(*) FROM hr_rows").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM organizations WHERE code LIKE 'hr%'").fetchone() == (50,)


async def reached(api: Api, run_id: str, moment: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The run when it is at the moment, or over."""
    found: dict[str, Any] = {}

    async def look() -> bool:
        found.update(await api.get(f"/api/hr/runs/{run_id}"))
        return moment(found) or found["state"] in OVER

    await until(look)
    return found
