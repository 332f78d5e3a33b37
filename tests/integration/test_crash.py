"""A server that is killed, or stopped, in the middle of a hundred runs, and started again: nothing is lost, nothing happens twice."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from server import migrating
from server.config import Settings
from tests.contract.waiting import until
from tests.integration.api_client import Api
from tests.integration.house import PASSWORD
from tests.integration.instances import forget_everything
from tests.integration.running_server import RunningServer
from tests.peers.mariadb import MariaDb
from tests.peers.valkey import Valkey
from zhihui_module import AsyncTask, Module

pytestmark = pytest.mark.integration

MANUAL = 100
# Measured here 0.1 to 3 s; the client's own promise is 5 s. Twice that for a machine that is busy with other tests.
RECONNECT_S = 10.0
Call = tuple[str, int, int]


class Fleet:
    """Modules of the client package that outlive every server, and count each call of their handlers."""

    def __init__(self, url: str) -> None:
        self.calls: Counter[Call] = Counter()
        self.ends: Counter[Call] = Counter()
        self._clients = [
            self._client(url, "quick", 0.02),
            self._client(url, "slow", 0.4),
            self._client(url, "first", 0.05, outputs=["a"]),
            self._client(url, "second", 0.5, inputs=["a"], outputs=["b"]),
            self._client(url, "third", 0.05, inputs=["b"]),
        ]
        self._serving: list[asyncio.Task[None]] = []

    def _client(self, url: str, name: str, work_s: float, *, inputs: Any = (), outputs: Any = ()) -> Module:
        def declared(names: Any) -> list[dict[str, str]]:
            return [{"name": one, "type": "any"} for one in names]

        client = Module(name, url=url, concurrency=20, inputs=declared(inputs), outputs=declared(outputs))

        @client.handler
        async def work(task: AsyncTask) -> dict[str, Any]:
            assert task.meta.step_id is not None
            assert task.meta.fence is not None
            call = (task.meta.step_id, task.meta.fence, task.meta.attempt)
            self.calls[call] += 1
            task.log(f"{name} works")
            await asyncio.sleep(random.uniform(0.5, 1.5) * work_s)
            self.ends[call] += 1
            return {output: [*task.args.values(), name] for output in outputs}

        return client

    async def begin(self) -> None:
        self._serving = [asyncio.create_task(client.serve()) for client in self._clients]
        await self.connected()

    async def connected(self) -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(client.wait_connected() for client in self._clients))

    async def end(self) -> None:
        await asyncio.gather(*(client.stop(5) for client in self._clients))
        await asyncio.gather(*self._serving)


class Plan:
    """The workflows, and what is owed of each."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.workflows: dict[str, int] = {}
        self.manual: list[str] = []

    async def make(self) -> None:
        hashes = {module["name"]: module["hash"] for module in await self.api.get("/module/list")}
        chain = [{"module_hash": hashes[name], "name": name} for name in ("first", "second", "third")]
        shapes: dict[str, tuple[list[Any], str, str]] = {
            "every second": ([hashes["quick"]], "* * * * * *", "parallel"),
            "every two seconds, in turn": ([hashes["slow"]], "* * * * * */2", "queue"),
            "chain every second": (chain, "* * * * * *", "parallel"),
            "two crons": ([hashes["quick"]], "* * * * * */2", "parallel"),
        }
        for name, (steps, cron, overlap) in shapes.items():
            crons = [cron, "* * * * * */3"] if name == "two crons" else [cron]
            self.workflows[name] = await self.api.workflow(
                name, steps, execute_cron_list=crons, overlap=overlap, misfire="all", timezone="Asia/Shanghai"
            )
        self.workflows["by hand"] = await self.api.workflow("by hand", chain, overlap="parallel")

    async def start_by_hand(self, number: int) -> None:
        """Runs that were promised are noted; the server may go away meanwhile."""

        async def start() -> None:
            try:
                self.manual.append(await self.api.execute(self.workflows["by hand"]))
            except (HTTPClientError, OSError, AssertionError):
                return  # it was not promised

        await asyncio.gather(*(start() for _ in range(number)))

    async def stop_schedules(self) -> None:
        for name, workflow in self.workflows.items():
            if name != "by hand":
                await self.api.post(f"/workflow/{workflow}/disable")

    async def all_fired_after(self, moment: datetime) -> bool:
        for name, workflow in self.workflows.items():
            if name != "by hand":
                newest = (await self.api.get(f"/workflow/{workflow}/fires?page_size=1"))["items"]
                if not newest or _when(newest[0]["planned_at"]) <= moment:
                    return False
        return True

    async def all_ended(self) -> bool:
        for workflow in self.workflows.values():
            for state in ("queued", "dispatched", "running"):
                if (await self.api.get(f"/workflow/{workflow}/runs?state={state}&page_size=1"))["total"]:
                    return False
        return True

    async def check(self, fleet: Fleet) -> None:
        runs: dict[str, dict[str, Any]] = {}
        for workflow in self.workflows.values():
            runs |= {run["run_id"]: run for run in await self.api.runs(workflow)}
        assert {run["state"] for run in runs.values()} == {"succeeded"}, Counter(
            (run["workflow_name"], run["state"], run["error"]) for run in runs.values() if run["state"] != "succeeded"
        )
        assert set(self.manual) <= runs.keys()
        for name, workflow in self.workflows.items():
            if name != "by hand":
                await self._check_ledger(name, workflow, runs)
        twice = {call: number for call, number in fleet.calls.items() if number > 1}
        assert not twice, twice
        assert fleet.ends == fleet.calls
        # Its module never went away, so no step was tried a second time.
        steps = sum(run["step_count"] for run in runs.values())
        assert len(fleet.calls) == steps

    async def _check_ledger(self, name: str, workflow: int, runs: dict[str, dict[str, Any]]) -> None:
        """One row for each planned instant from the schedule's beginning to its end, with its run or the reason why there is none."""
        rows = [row for row in await self.api.fires(workflow) if row["outcome"] != "disabled"]
        planned = [instant for row in rows for instant in _instants(name, row)]
        assert len(planned) == len(set(planned)), f"{name}: an instant has two rows"
        owed = [at for at in _seconds(min(planned), max(planned)) if _is_planned(name, at)]
        assert sorted(planned) == owed, f"{name}: {sorted(set(owed) ^ set(planned))}"
        created = _when((await self.api.get(f"/workflow/{workflow}"))["created_at"])
        assert min(planned) - created <= timedelta(seconds=3)
        for row in rows:
            assert row["outcome"] in ("fired", "misfire", "shutdown"), row
            if row["outcome"] == "fired":
                assert runs[row["run_id"]]["kind"] == "fired"
        fired = {row["run_id"] for row in rows if row["run_id"]}
        assert fired == {run_id for run_id, run in runs.items() if run["workflow_id"] == workflow and run["kind"] == "fired"}


def _is_planned(name: str, at: datetime) -> bool:
    if name == "two crons":
        return at.second % 2 == 0 or at.second % 3 == 0
    return at.second % 2 == 0 if "two seconds" in name else True


def _instants(name: str, row: dict[str, Any]) -> list[datetime]:
    begin = _when(row["planned_at"])
    found = [at for at in _seconds(begin, _when(row["through"] or row["planned_at"])) if _is_planned(name, at)]
    assert len(found) == row["count"]
    return found


def _seconds(first: datetime, last: datetime) -> list[datetime]:
    return [first + timedelta(seconds=number) for number in range(round((last - first).total_seconds()) + 1)]


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _errors_in_log(server: RunningServer) -> list[str]:
    lines = (server.data / "logs" / "server.log").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if " ERROR " in line or "Traceback" in line]


async def _survives(data: Path, ends: list[tuple[signal.Signals, float]], **engines: Any) -> None:
    """`ends`: how the server ends, and for how many seconds it is away then."""
    settings = {"admin_password": PASSWORD, "rate_limit": "off", **engines}
    server = await asyncio.to_thread(RunningServer, data, **settings)
    api, fleet = Api(server.url, PASSWORD), Fleet(server.url)
    try:
        await asyncio.to_thread(server.wait_ready)
        await fleet.begin()
        plan = Plan(api)
        await plan.make()
        held = 0
        for end, away_s in ends:
            working = asyncio.create_task(plan.start_by_hand(MANUAL))
            promised, wait_s = len(plan.manual), random.uniform(0.3, 2.0)
            await until(lambda promised=promised: len(plan.manual) > promised)
            await asyncio.sleep(wait_s)  # at any point of the work: that is what is tried here
            working_on = len(fleet.calls) - len(fleet.ends)
            held += working_on
            if end is signal.SIGKILL:
                server.crash()
            else:
                server.signal(end)
                assert await asyncio.to_thread(server.wait_end) == 0
            await working
            await asyncio.sleep(away_s)
            began = time.monotonic()
            server = await asyncio.to_thread(RunningServer, data, server_port=server.port, **settings)
            await asyncio.to_thread(server.wait_ready)
            ready, started = time.monotonic(), datetime.now(UTC)
            await fleet.connected()
            back = time.monotonic()
            print(
                f"{end.name} {wait_s:.1f} s into the work, {working_on} steps in hand, away for {away_s:g} s: "
                f"ready in {ready - began:.2f} s, all modules back {back - ready:.2f} s later"
            )
            assert back - ready < RECONNECT_S
        assert held, "the server never ended in the middle of work"
        began = time.monotonic()
        await until(lambda: plan.all_fired_after(started), timeout_s=60)
        print(f"every schedule has fired again {time.monotonic() - began:.1f} s later")
        await plan.stop_schedules()
        stopped = time.monotonic()
        await until(plan.all_ended, timeout_s=90)
        print(f"the last run ended {time.monotonic() - stopped:.2f} s after the schedules; {len(fleet.calls)} steps in all")
        await plan.check(fleet)
        assert not _errors_in_log(server)
    finally:
        await fleet.end()
        api.close()
        await asyncio.to_thread(server.end)


@pytest.mark.gen_test(timeout=240)
async def test_kill_9_in_the_middle_of_a_hundred_runs(tmp_path: Path) -> None:
    await _survives(tmp_path / "data", [(signal.SIGKILL, 0), (signal.SIGKILL, 5), (signal.SIGKILL, 0)])


@pytest.mark.gen_test(timeout=240)
async def test_a_stop_in_the_middle_of_a_hundred_runs(tmp_path: Path) -> None:
    await _survives(tmp_path / "data", [(signal.SIGTERM, 4)])


@pytest.mark.gen_test(timeout=240)
async def test_kill_9_on_mariadb_and_valkey(mariadb: MariaDb, valkey: Valkey, tmp_path: Path) -> None:
    """The lease of the killed server runs out before the next one plans: it owes the instants of that time, too."""
    kept = mariadb.database()
    database = await asyncio.to_thread(kept.__enter__)
    try:
        await asyncio.to_thread(forget_everything, valkey)
        await asyncio.to_thread(migrating.migrate, Settings(data_dir=str(tmp_path), **database))
        await _survives(tmp_path / "data", [(signal.SIGKILL, 0)], redis_url=valkey.url, **database)
    finally:
        await asyncio.to_thread(kept.__exit__, None, None, None)
