"""Modules as processes of their own, killed and stopped in the middle of their work."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.dispatch.hub import Hub
from server.dispatch.tables import step_attempts
from server.errors import EngineAway
from tests.contract.waiting import until
from tests.integration.house import House, open_house
from tests.integration.running_server import ROOT
from tests.peers.process import spawn

pytestmark = pytest.mark.integration


class Processes:
    """Processes of one module, and the calls of their handlers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[subprocess.Popen[bytes]] = []

    async def start(self, house: House) -> subprocess.Popen[bytes]:
        """A process that is connected and serves."""
        hub = house.ctx.services.get(Hub)
        before = hub.serving
        script = Path(__file__).with_name("working_module.py")
        environment = {**os.environ, "ZHIHUI_URL": house.url, "PYTHONPATH": str(ROOT / "client")}
        command = [sys.executable, str(script), "m", str(self._folder)]
        process = await asyncio.to_thread(spawn, command, env=environment)
        self._all.append(process)
        await until(lambda: hub.serving and hub.serving != before and hub.serving[0].present)
        return process

    @property
    def calls(self) -> list[tuple[int, str, int, int]]:
        """For each call: process, run, attempt, fence."""
        path = self._folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(pid), run_id, int(attempt), int(fence)) for pid, run_id, attempt, fence in (line.split() for line in lines)]

    def go(self) -> None:
        (self._folder / "go").touch()

    def end(self) -> None:
        for process in self._all:
            process.kill()
            process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    of_module = Processes(tmp_path)
    yield of_module
    of_module.end()


@pytest.mark.gen_test(timeout=60)
async def test_a_module_that_is_killed_is_tried_again_in_its_next_process(data: Path, processes: Processes) -> None:
    async with open_house(data) as house:
        first = await processes.start(house)
        module = await house.api.register("m")
        step = {"module_hash": module, "retry": {"max_attempts": 2, "backoff_s": 0.1}}
        run_id = await house.api.execute(await house.api.workflow("w", [step]))
        await until(lambda: processes.calls)
        first.kill()
        await asyncio.to_thread(first.wait)
        second = await processes.start(house)
        await until(lambda: len(processes.calls) == 2)
        assert processes.calls == [(first.pid, run_id, 1, 1), (second.pid, run_id, 2, 2)]
        processes.go()
        run = await house.api.ended(run_id)
        assert run["state"] == "succeeded"
        attempts = run["steps"][0]["attempts"]
        assert [(one["attempt"], one["fence"], one["outcome"]) for one in attempts] == [(1, 1, "lost"), (2, 2, "succeeded")]
        assert "process was replaced" in attempts[0]["error"]
        (kept,) = await house.rows(step_attempts)
        assert (kept.attempt, kept.fence, kept.outcome) == (1, 1, "lost")


@pytest.mark.gen_test(timeout=60)
async def test_a_module_that_gets_sigterm_finishes_and_the_next_process_takes_what_waits(data: Path, processes: Processes) -> None:
    async with open_house(data) as house:
        first = await processes.start(house)
        workflow = await house.api.workflow("w", [await house.api.register("m")], overlap="parallel")
        in_hand = await house.api.execute(workflow)
        await until(lambda: processes.calls)
        first.send_signal(signal.SIGTERM)
        hub = house.ctx.services.get(Hub)
        await until(lambda: not hub.serving)  # it has said that it leaves
        assert not await house.api.online()
        waiting = await house.api.execute(workflow)
        second = await processes.start(house)
        await until(lambda: len(processes.calls) == 2)
        processes.go()
        for run_id in (in_hand, waiting):
            assert (await house.api.ended(run_id))["state"] == "succeeded"
        assert processes.calls == [(first.pid, in_hand, 1, 1), (second.pid, waiting, 1, 1)]
        assert await asyncio.to_thread(first.wait, 20) == 0


@pytest.mark.gen_test(timeout=60)
async def test_a_module_that_connects_while_the_database_is_away_is_served_when_it_is_back(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(data) as house:
        module = await house.api.register("m")
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        write, away = house.ctx.sql.write, True

        async def sometimes(transaction: Any) -> Any:
            if away:
                raise EngineAway("sql", "for a test")
            return await write(transaction)

        monkeypatch.setattr(house.ctx.sql, "write", sometimes)
        connecting = asyncio.create_task(house.connect(module))
        hub = house.ctx.services.get(Hub)
        await until(lambda: hub.find(module) is not None)
        await asyncio.sleep(0.3)  # at least one more try
        away = False
        socket = await connecting
        await socket.answer(await socket.execution())
        assert (await house.api.ended(run_id))["state"] == "succeeded"
        assert not socket.is_closed
        assert not [frame for frame in socket.frames if frame["type"] == "drain"]
