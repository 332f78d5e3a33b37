"""The jobs of HR sync in the hands of real workers: a run from its request to its end, and the inherited round."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server import commands
from server.context import Context
from server.people.hr import runs
from server.scopes import system_actor
from tests.api.client import Api
from tests.api.hr.syncs import persons, source
from tests.peers.hr_server import HrPeer

SCHEDULE = system_actor("schedule")


@pytest.fixture
def loops() -> bool:
    return True


async def ended(api: Api, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            run: dict[str, Any] = (await api.get(f"/api/hr/runs/{run_id}")).result
            if run["state"] not in ("reading", "applying"):
                return run
            await asyncio.sleep(0.05)


@pytest.mark.gen_test(timeout=60)
async def test_a_worker_carries_a_run_out(api: Api, hr: HrPeer) -> None:
    await source(api, hr)
    asked = await api.post("/api/hr/sync", {"source": "人事"}, headers={"Idempotency-Key": "once"})
    again = await api.post("/api/hr/sync", {"source": "人事"}, headers={"Idempotency-Key": "once"})
    assert (asked.status, again.result["id"]) == (202, asked.result["id"])
    run = await ended(api, asked.result["id"])
    assert (run["state"], run["counts"]["create"]) == ("succeeded", 12)
    assert len(await persons(api)) == 12


@pytest.mark.gen_test(timeout=60)
async def test_two_rounds_at_once_start_one_run(api: Api, ctx: Context, hr: HrPeer) -> None:
    await source(api, hr)
    rounds = await asyncio.gather(*(runs.start_all(ctx, SCHEDULE) for _ in range(4)))
    started = [run_id for one in rounds for run_id in one["started"]]
    assert len(started) == 1
    run = await ended(api, started[0])
    assert (run["state"], run["requested_by"], run["requested_name"]) == ("succeeded", None, "schedule")


@pytest.mark.gen_test(timeout=60)
async def test_the_round_is_scheduled_and_a_command(api: Api, ctx: Context, hr: HrPeer) -> None:
    jobs = {job["name"]: job for job in (await api.get("/scheduler/jobs")).result}
    assert jobs["sync_hr_persons"]["cron"] == ["*/10 * * * *"]
    off = await source(api, hr, name="off", enabled=False)
    assert off["enabled"] is False
    arguments = commands.parser().parse_args(["sync_hr_persons"])
    said = await commands.COMMANDS["sync_hr_persons"](ctx, arguments)
    assert said.startswith("0 syncs")
