"""The scheduler's page: all schedules in one list, edited, run, paused and reloaded."""

from __future__ import annotations

from typing import Any

import pytest

from server.context import Context
from tests.api.client import Api
from tests.api.module import FakeModule, until

NAMES = {"id", "kind", "name", "cron", "timezone", "enabled", "next_run_time", "last_run_time", "last_outcome"}


async def job_of(api: Api, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(job for job in (await api.get("/scheduler/jobs")).result if job["kind"] == kind)
    return found


@pytest.mark.gen_test
async def test_all_schedules_are_listed(api: Api, workflow: dict[str, Any]) -> None:
    jobs = (await api.get("/scheduler/jobs")).result
    assert {job["kind"] for job in jobs} == {"system", "workflow"}
    assert all(set(job) >= NAMES for job in jobs)
    cleanup = await job_of(api, "system")
    assert (cleanup["name"], cleanup["cron"]) == ("cleanup_old_records", ["0 3 * * 1"])
    assert cleanup["next_run_time"] is not None
    assert (await job_of(api, "workflow"))["workflow_id"] == workflow["workflow_id"]


@pytest.mark.gen_test
async def test_a_workflow_is_edited_through_its_job(api: Api, workflow: dict[str, Any]) -> None:
    number = (await job_of(api, "workflow"))["id"]
    changed = await api.patch(f"/scheduler/jobs/{number}", {"cron": ["0 9 * * *", "0 15 * * *"], "timezone": "Europe/Berlin"})
    assert (changed.result["cron"], changed.result["timezone"]) == (["0 9 * * *", "0 15 * * *"], "Europe/Berlin")
    after = (await api.get(f"/workflow/{workflow['id']}")).result
    assert after["execute_cron_list"] == ["0 9 * * *", "0 15 * * *"]
    assert after["timezone"] == "Europe/Berlin"
    assert after["version"] == workflow["version"] + 1
    assert (await api.patch(f"/scheduler/jobs/{number}", {"enabled": False})).result["enabled"] is False
    assert (await api.get(f"/workflow/{workflow['id']}")).result["enable"] is False


@pytest.mark.gen_test
async def test_bad_edits_name_their_field(api: Api, workflow: dict[str, Any]) -> None:
    number, system = (await job_of(api, "workflow"))["id"], (await job_of(api, "system"))["id"]
    assert (await api.patch(f"/scheduler/jobs/{number}", {"kwargs": {}})).fields == ["kwargs"]
    assert (await api.patch(f"/scheduler/jobs/{number}", {"cron": "0 0 31 2 *"})).fields == ["execute_cron_list[0]"]
    assert (await api.patch(f"/scheduler/jobs/{system}", {"cron": "never"})).fields == ["cron[0]"]
    assert (await api.patch(f"/scheduler/jobs/{system}", {"timezone": "Mars/Base"})).fields == ["timezone"]
    assert (await api.patch(f"/scheduler/jobs/{system}", {"corn": "* * * * *"})).fields == ["corn"]
    missing = await api.patch("/scheduler/jobs/999999", {"enabled": True})
    assert (missing.status, missing.type) == (404, "schedule_not_found")


@pytest.mark.gen_test
async def test_a_system_job_runs_once_at_a_time(api: Api) -> None:
    system = (await job_of(api, "system"))["id"]
    started = (await api.post(f"/scheduler/jobs/{system}/run")).result
    task = (await api.get(f"/api/tasks/{started['task_id']}")).result
    assert (task["kind"], task["queue"], task["state"]) == ("maintenance.clean_up", "maintenance", "queued")
    again = await api.post(f"/scheduler/jobs/{system}/run")
    assert (again.status, again.type) == (409, "schedule_busy")


@pytest.mark.gen_test
async def test_a_workflow_is_run_from_the_list(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    number = (await job_of(api, "workflow"))["id"]
    started = (await api.post(f"/scheduler/jobs/{number}/run")).result
    execute = await module.frame()
    assert execute["meta"]["run_id"] == started["run_id"]
    await module.settle(execute, output={"price": 1})

    async def ended() -> bool:
        return bool((await api.get(f"/run/{started['run_id']}")).result["state"] == "succeeded")

    await until(ended)


@pytest.mark.gen_test
async def test_reload_counts(api: Api, workflow: dict[str, Any]) -> None:
    reloaded = (await api.post("/scheduler/reload")).result
    assert reloaded["removed_count"] == 0
    assert reloaded["current_count"] == 2
    assert reloaded["enabled_workflows"] == [workflow["name"]]
    assert reloaded["message"]


@pytest.mark.gen_test
async def test_pause_and_resume(api: Api, ctx: Context) -> None:
    from server.platform.schedules import ledger

    await ctx.sql.write(lambda connection: ledger.take_over(connection, 1, "here", ctx.clock.now()))
    assert (await api.get("/scheduler/pause")).result == {"paused": False, "since": None, "by": None}
    paused = (await api.post("/scheduler/pause")).result
    assert (paused["paused"], paused["by"]) == (True, "admin")
    assert (await api.post("/scheduler/pause")).result == paused
    assert (await api.delete("/scheduler/pause")).result["paused"] is False
