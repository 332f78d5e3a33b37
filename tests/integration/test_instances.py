"""Two instances on MariaDB and Valkey: one plans, both serve, and either engine may go away and come back."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from tests.contract.waiting import until
from tests.integration.api_client import Api
from tests.integration.instances import Instance, find_leader, two_instances
from tests.integration.module_socket import ModuleSocket
from tests.peers.mariadb import MariaDb
from tests.peers.valkey import Valkey

pytestmark = pytest.mark.integration

EVERY_SECOND = {"execute_cron_list": ["* * * * * *"], "overlap": "parallel", "misfire": "all", "offline_grace_s": 120}


class Serving:
    """A module that answers all that comes on a socket at once, and counts what came."""

    def __init__(self, socket: ModuleSocket) -> None:
        self.runs: list[str] = []
        self._task = asyncio.create_task(self._serve(socket))

    async def _serve(self, socket: ModuleSocket) -> None:
        while True:
            execution = await socket.execution(timeout_s=600)
            self.runs.append(execution["run_id"])
            socket.say("result", execution, status="success", output={})

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def no_gap(api: Api, workflow: int) -> list[dict[str, Any]]:
    """The ledger of a workflow that fires every second: each instant has one row, and none went by."""
    rows = await api.fires(workflow)
    at = [datetime.fromisoformat(row["planned_at"]) for row in rows]
    assert at == [at[0] + timedelta(seconds=number) for number in range(len(at))]
    assert {row["outcome"] for row in rows} <= {"fired", "disabled"}
    return rows


async def fired_after(api: Api, workflow: int, moment: float, *, timeout_s: float = 60) -> float:
    """Until the ledger has a run that was planned after a moment (of time.time()); how long after it that was seen."""

    async def fired() -> bool:
        newest = (await api.get(f"/workflow/{workflow}/fires?page_size=1"))["items"]
        return bool(newest and datetime.fromisoformat(newest[0]["planned_at"]).timestamp() > moment)

    await until(fired, timeout_s=timeout_s)
    return time.time() - moment


@pytest.mark.gen_test(timeout=120)
async def test_no_instant_fires_twice_and_the_other_leads_when_the_leader_is_killed(
    mariadb: MariaDb, valkey: Valkey, tmp_path: Path
) -> None:
    async with two_instances(mariadb, valkey, tmp_path) as pair:
        leader, other = await find_leader(pair)
        module = await other.api.register("m")
        serving = Serving(await other.connect(module))
        workflow = await other.api.workflow("w", [module], **EVERY_SECOND)
        await fired_after(other.api, workflow, time.time())
        leader.server.crash()
        killed = time.time()
        took = await fired_after(other.api, workflow, killed)
        print(f"the other instance planned {took:.1f} s after the leader was killed")
        assert took < 20
        assert await other.leads()
        await other.api.post(f"/workflow/{workflow}/disable")
        rows = [row for row in await no_gap(other.api, workflow) if row["run_id"]]
        for row in rows:
            assert (await other.api.ended(row["run_id"]))["state"] == "succeeded"
        assert sorted(serving.runs) == sorted(row["run_id"] for row in rows)
        await serving.end()


@pytest.mark.gen_test(timeout=120)
async def test_a_module_on_one_instance_is_driven_from_the_other(mariadb: MariaDb, valkey: Valkey, tmp_path: Path) -> None:
    async with two_instances(mariadb, valkey, tmp_path) as (a, b):
        module = await a.api.register("m", outputs=["x"])
        socket = await a.connect(module)
        assert module in await b.api.online()
        workflow = await b.api.workflow("w", [module], overlap="parallel")
        run_id = await b.api.execute(workflow)
        await socket.answer(await socket.execution(timeout_s=10), {"x": 1})
        assert (await b.api.ended(run_id))["steps"][0]["output"] == {"x": 1}

        cancelled = await b.api.execute(workflow)
        execution = await socket.execution(timeout_s=10)
        await b.api.post(f"/run/{cancelled}/cancel")
        assert (await socket.take("cancel", timeout_s=10))["step_id"] == execution["step_id"]
        socket.say("cancelled", execution)
        assert (await b.api.ended(cancelled))["steps"][0]["cancel_confirmed"] is True

        await b.api.post("/module/send_message", {"module_hash": module, "message": "from the other side"})
        assert (await socket.take("text"))["text"] == "from the other side"

        # Hot swap from one instance to the other: what is in hand ends there, all new work comes here.
        held = await a.api.execute(workflow)
        in_hand = await socket.execution()
        new = await b.connect(module, process="p2")
        await socket.take("drain", timeout_s=10)
        runs = [await one.api.execute(workflow) for one in (a, b, a, b)]
        for _ in runs:
            await new.answer(await new.execution(timeout_s=10), {"x": 2})
        for run_id in runs:
            assert (await a.api.ended(run_id))["state"] == "succeeded"
        assert not [frame for frame in socket.frames if frame["type"] == "execute"]
        await socket.answer(in_hand, {"x": 3})
        assert (await b.api.ended(held))["state"] == "succeeded"
        assert await socket.closed() == 1012
        assert module in await a.api.online()


@pytest.mark.gen_test(timeout=120)
async def test_two_instances_end_a_run_once_when_its_steps_end_at_the_same_time(mariadb: MariaDb, valkey: Valkey, tmp_path: Path) -> None:
    """Neither of two results that come at the same moment may take the other's step for unfinished: the run would never end."""
    async with two_instances(mariadb, valkey, tmp_path) as (a, b):
        modules = [await a.api.register(name) for name in ("left", "right")]
        sockets = [await a.connect(modules[0]), await b.connect(modules[1])]
        parallel = await a.api.workflow("parallel", modules, overlap="parallel")
        in_turn = await a.api.workflow("in turn", modules, overlap="queue")
        for workflow in (parallel, in_turn):
            runs = await asyncio.gather(*(one.api.execute(workflow) for one in (a, b) for _ in range(10)))
            for _ in runs:
                pairs = [(socket, await socket.execution()) for socket in sockets]
                for socket, execution in pairs:
                    socket.say("result", execution, status="success", output={})
            for run_id in runs:
                assert (await a.api.ended(run_id))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=120)
async def test_the_bus_goes_away_and_comes_back_empty(mariadb: MariaDb, valkey: Valkey, tmp_path: Path) -> None:
    async with two_instances(mariadb, valkey, tmp_path) as (a, b):
        modules = [await a.api.register(name) for name in ("here", "there")]
        here, there = await a.connect(modules[0]), await b.connect(modules[1])
        serving = Serving(here)
        workflow = await a.api.workflow("w", [modules[0]], **EVERY_SECOND)
        long = await a.api.execute(await a.api.workflow("long", [modules[1]], offline_grace_s=1))
        execution = await there.execution()
        await fired_after(a.api, workflow, time.time())
        valkey.stop()
        try:
            missed = await b.api.execute(await b.api.workflow("missed", [modules[0]], offline_grace_s=120))
            answer = await a.api.fetch("GET", "/health/ready")
            await asyncio.sleep(2)  # an outage of some length, during which the lease is not renewed
        finally:
            await asyncio.to_thread(valkey.start)
        back = time.time()
        print(f"ready was {answer.code} meanwhile; planned {await fired_after(b.api, workflow, back):.1f} s after the bus was back")
        assert (await a.api.ended(missed, timeout_s=20))["state"] == "succeeded"
        # The sockets never closed, so their modules are served all the time, whatever the bus has forgotten.
        assert set(modules) <= await b.api.online()
        await there.answer(execution)
        assert (await a.api.ended(long))["state"] == "succeeded"
        await a.api.post("/module/send_message", {"module_hash": modules[1], "message": "hello"})
        assert (await there.take("text"))["text"] == "hello"
        await a.api.post(f"/workflow/{workflow}/disable")
        rows = await no_gap(a.api, workflow)
        for row in rows:
            if row["run_id"]:
                assert (await a.api.ended(row["run_id"]))["state"] == "succeeded"
        assert len(serving.runs) == len(set(serving.runs))
        await serving.end()


@pytest.mark.gen_test(timeout=120)
async def test_the_database_goes_away_and_comes_back(mariadb: MariaDb, valkey: Valkey, tmp_path: Path) -> None:
    async with two_instances(mariadb, valkey, tmp_path) as (a, b):
        module = await a.api.register("m", outputs=["x"])
        socket = await a.connect(module)
        every_second = await b.api.register("every second")
        serving = Serving(await b.connect(every_second))
        ticking = await b.api.workflow("ticking", [every_second], **EVERY_SECOND)
        await fired_after(b.api, ticking, time.time())
        # The deadline passes while the database is away: the result, which came in time, counts all the same.
        run_id = await a.api.execute(await a.api.workflow("w", [{"module_hash": module, "timeout_s": 2}], offline_grace_s=1))
        execution = await socket.execution()
        mariadb.stop()
        try:
            refused = await a.api.ask("GET", "/workflow/list", status=503)
            assert refused["type"] == "engine_away"
            socket.say("result", execution, status="success", output={"x": 1})
            assert (await asyncio.to_thread(a.server.get, "/health/live"))[0] == 200
            assert (await asyncio.to_thread(a.server.get, "/health/ready"))[0] == 503
            late = await meets(a, module)
            await asyncio.sleep(3)  # longer than the step's time and the module's grace
        finally:
            await asyncio.to_thread(mariadb.start)
        back = time.time()
        await socket.confirmed()
        confirmed = time.time() - back
        run = await a.api.ended(run_id)
        assert (run["state"], run["steps"][0]["output"]) == ("succeeded", {"x": 1}), run["error"]
        took = await fired_after(b.api, ticking, back)
        print(f"the result was stored {confirmed:.1f} s, the next fire {took:.1f} s after the database was back; a new socket met {late}")
        await b.api.post(f"/workflow/{ticking}/disable")
        for row in await no_gap(b.api, ticking):
            if row["run_id"]:
                assert (await b.api.ended(row["run_id"]))["state"] == "succeeded"
        assert len(serving.runs) == len(set(serving.runs))
        await serving.end()


async def meets(instance: Instance, module: str) -> int:
    """What a module meets that connects while the database is away: it is to come again."""
    with pytest.raises(HTTPClientError) as refused:
        await ModuleSocket.open(instance.url, module)
    assert refused.value.code == 503
    return int(refused.value.code)
