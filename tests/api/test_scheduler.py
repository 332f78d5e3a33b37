"""The scheduler's routes: all schedules in one list, edited, run, reloaded; and what fires by itself."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.all import SCHEDULES
from server.context import Context
from server.platform.schedules import ledger
from tests.api.client import Api
from tests.api.module import FakeModule, until

CONTRACT = "id kind name cron timezone enabled next_run_time last_run_time last_outcome".split()


async def job_of(api: Api, kind: str) -> dict[str, Any]:
    """The one job of a kind; of the system's, which are several, the weekly clean-up."""
    jobs = [job for job in (await api.get("/scheduler/jobs")).result if job["kind"] == kind]
    jobs = [job for job in jobs if kind != "system" or job["name"] == "cleanup_old_records"]
    assert len(jobs) == 1
    found: dict[str, Any] = jobs[0]
    return found


@pytest.mark.gen_test
async def test_system_jobs_are_there_from_the_start(api: Api) -> None:
    job = await job_of(api, "system")
    assert set(CONTRACT) <= set(job)
    assert (job["name"], job["cron"], job["enabled"], job["last_run_time"]) == ("cleanup_old_records", ["0 3 * * 1"], True, None)
    assert job["next_run_time"]


@pytest.mark.gen_test
async def test_a_system_job_is_edited_and_run(api: Api) -> None:
    job = await job_of(api, "system")
    path = f"/scheduler/jobs/{job['id']}"
    changed = (await api.patch(path, {"cron": "0 4 * * *", "timezone": "UTC", "enabled": False})).result
    assert (changed["cron"], changed["timezone"], changed["enabled"], changed["next_run_time"]) == (["0 4 * * *"], "UTC", False, None)
    assert (await api.patch(path, {"cron": ["0 4 * * *", "0 5 * * *"], "enabled": True})).result["cron"] == ["0 4 * * *", "0 5 * * *"]
    assert (await api.patch(path, {})).status == 200
    started = (await api.post(f"{path}/run")).result
    task = (await api.get(f"/api/tasks/{started['task_id']}")).result
    assert (task["kind"], task["state"], task["queue"]) == ("maintenance.clean_up", "queued", "maintenance")
    busy = await api.post(f"{path}/run")
    assert (busy.status, busy.type) == (409, "schedule_busy")


@pytest.mark.gen_test
async def test_kwargs_are_kept_for_the_job(api: Api) -> None:
    job = await job_of(api, "system")
    assert (await api.patch(f"/scheduler/jobs/{job['id']}", {"kwargs": {"days": 3}})).result["kwargs"] == {"days": 3}
    started = (await api.post(f"/scheduler/jobs/{job['id']}/run")).result
    assert (await api.get(f"/api/tasks/{started['task_id']}")).result["payload"] == {"days": 3}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"cron": "x"}, ["cron[0]"]),
        ({"cron": ["0 4 * * *", "0 0 31 2 *"]}, ["cron[1]"]),
        ({"cron": 5}, ["cron"]),
        ({"cron": []}, []),
        ({"timezone": "Mars"}, ["timezone"]),
        ({"timezone": ""}, ["timezone"]),
        ({"enabled": "no"}, ["enabled"]),
        ({"kwargs": []}, ["kwargs"]),
        ({"name": "x"}, ["name"]),
    ],
    ids=str,
)
@pytest.mark.gen_test
async def test_an_edit_that_cannot_be(api: Api, body: dict[str, Any], fields: list[str]) -> None:
    job = await job_of(api, "system")
    answer = await api.patch(f"/scheduler/jobs/{job['id']}", body)
    if fields:
        assert answer.fields == fields
    else:
        assert answer.result["next_run_time"] is None


@pytest.mark.gen_test
async def test_a_workflows_schedule_is_edited_as_part_of_it(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    job = await job_of(api, "workflow")
    path = f"/scheduler/jobs/{job['id']}"
    changed = (await api.patch(path, {"cron": "0 4 * * *", "timezone": "UTC"})).result
    assert changed["cron"] == ["0 4 * * *"]
    shown = (await api.get(f"/workflow/{workflow['id']}")).result
    assert (shown["execute_cron_list"], shown["timezone"], shown["version"]) == (["0 4 * * *"], "UTC", workflow["version"] + 1)
    assert (await api.patch(path, {"enabled": False})).result["enabled"] is False
    assert (await api.get(f"/workflow/{workflow['id']}")).result["enable"] is False
    assert (await api.patch(path, {"kwargs": {}})).fields == ["kwargs"]
    assert (await api.patch(path, {"cron": "x"})).fields in (["cron[0]"], ["execute_cron_list[0]"])
    started = (await api.post(f"{path}/run")).result
    assert (await api.get(f"/run/{started['run_id']}")).result["workflow_id"] == workflow["workflow_id"]
    await module.settle(await module.frame())


@pytest.mark.parametrize("schedule_id", ["0", "999", "9" * 18])
@pytest.mark.gen_test
async def test_an_unknown_schedule(api: Api, schedule_id: str) -> None:
    assert (await api.patch(f"/scheduler/jobs/{schedule_id}", {})).type == "schedule_not_found"
    assert (await api.post(f"/scheduler/jobs/{schedule_id}/run")).type == "schedule_not_found"
    assert (await api.patch("/scheduler/jobs/x", {})).type == "route_not_found"


@pytest.mark.gen_test
async def test_reloading_answers_as_it_always_did(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    off = (await api.post("/workflow/create", {"name": "off", "enable": False, "execute_modules": [module.step]})).result
    answer = (await api.post("/scheduler/reload")).result
    assert {name: answer[name] for name in ("removed_count", "current_count", "enabled_workflows")} == {
        "removed_count": 0,
        "current_count": 2 + len(SCHEDULES),
        "enabled_workflows": ["daily"],
    }
    assert answer["message"]
    english = (await api.post("/scheduler/reload", headers={"Accept-Language": "en"})).result["message"]
    assert english.isascii()
    assert off["enable"] is False


@pytest.mark.gen_test
async def test_pausing_and_going_on(api: Api, ctx: Context) -> None:
    await ctx.sql.write(lambda connection: ledger.take_over(connection, 1, "here", ctx.clock.now()))
    assert (await api.get("/scheduler/pause")).result == {"paused": False, "since": None, "by": None}
    paused = (await api.post("/scheduler/pause")).result
    assert (paused["paused"], paused["by"]) == (True, "admin")
    assert (await api.post("/scheduler/pause")).result == paused
    assert (await api.delete("/scheduler/pause")).result["paused"] is False


class TestFiring:
    """With the loops on."""

    @pytest.fixture
    def loops(self) -> bool:
        return True

    @pytest.mark.gen_test(timeout=60)
    async def test_a_cron_fires_and_tells_of_it(self, api: Api, module: FakeModule) -> None:
        body = {"name": "w", "execute_modules": [module.step], "execute_cron_list": ["* * * * * *"], "overlap": "parallel"}
        made = (await api.post("/workflow/create", body)).result
        execute = await module.frame()
        await module.settle(execute)
        await api.post(f"/workflow/{made['id']}/disable")

        async def recorded() -> list[dict[str, Any]] | None:
            items: list[dict[str, Any]] = (await api.get(f"/workflow/{made['id']}/fires?sort=planned_at")).result["items"]
            return items or None

        [first, *_] = await until(recorded)
        assert (first["outcome"], first["run_id"]) == ("fired", execute["meta"]["run_id"])
        assert first["lag_ms"] >= 0
        assert set(first) >= {"planned_at", "outcome", "reason", "run_id", "lag_ms"}
        told = (await api.get(f"/workflow/{made['id']}/why?at={first['planned_at']}")).result
        assert told["outcome"] == "fired"
        assert first["run_id"] in told["sentence"]
        assert [row["id"] for row in told["fires"]] == [first["id"]]
        job = await job_of(api, "workflow")
        assert job["last_outcome"] == "fired"
        assert job["last_run_time"]

    @pytest.mark.gen_test(timeout=60)
    async def test_a_system_job_that_is_run_by_hand_is_done(self, api: Api) -> None:
        job = await job_of(api, "system")
        started = (await api.post(f"/scheduler/jobs/{job['id']}/run")).result

        async def done() -> dict[str, Any] | None:
            task: dict[str, Any] = (await api.get(f"/api/tasks/{started['task_id']}")).result
            return task if task["ended_at"] else None

        task = await until(done)
        assert (task["state"], task["progress"], task["attempts"]) == ("succeeded", 100, 1)
        assert set(task["result"]) >= {"runs", "fires", "tasks", "audit_log", "sessions", "logs", "files"}
