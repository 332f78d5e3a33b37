"""Schedules as rows: made, edited, removed, run; what each fire came to; and the jitter of their starts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs.all import JOBS, SCHEDULES
from jobs.registry import Job, register
from jobs.worker import CONCURRENCY
from server.context import Context
from server.platform.tasks import Queue
from tests.api.client import Api
from tests.api.module import FakeModule, until
from tests.api.people import user

NIGHTLY = {"name": "nightly", "job": "test.count", "crons": ["0 3 * * *"], "timezone": "UTC", "kwargs": {"days": 3}}


async def count(ctx: Context, days: int, label: str = "", tags: list[str] | None = None) -> dict[str, int]:
    """Count days."""
    return {"days": days}


async def unheard(ctx: Context) -> None:
    """Not for people."""


@pytest.fixture
def ctx(ctx: Context) -> Context:
    """With two more jobs, of which people may schedule one."""
    more = {
        "test.count": Job(kind="test.count", queue=Queue.MAINTENANCE, function=count, schedulable=True, max_attempts=2),
        "test.unheard": Job(kind="test.unheard", queue=Queue.MAIL, function=unheard),
    }
    ctx.services.add(register({**JOBS, **more}, SCHEDULES, CONCURRENCY))
    return ctx


async def make(api: Api, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = (await api.post("/api/schedules", {**NIGHTLY, **more})).result
    return made


@pytest.mark.gen_test
async def test_a_schedule_is_made_edited_and_removed(api: Api, ctx: Context) -> None:
    made = await make(api, calendar=None, jitter_s=30)
    assert (made["kind"], made["built_in"], made["job"], made["queue"]) == ("system", False, "test.count", "maintenance")
    assert (made["crons"], made["timezone"], made["kwargs"], made["jitter_s"]) == (["0 3 * * *"], "UTC", {"days": 3}, 30)
    assert (made["enabled"], made["misfire"], made["overlap"], made["workflow_id"]) == (True, "last", "skip", None)
    assert made["next_run_time"]
    path = f"/api/schedules/{made['id']}"
    assert (await api.get(path)).result == made
    changes = {"crons": ["0 4 * * *", "0 5 * * *"], "kwargs": {"days": 4, "label": "x"}, "misfire": "all", "overlap": "parallel"}
    changed = (await api.patch(path, {**changes, "enabled": False, "name": "other"})).result
    assert {name: changed[name] for name in changes} == changes
    assert (changed["enabled"], changed["name"], changed["version"], changed["next_run_time"]) == (False, "other", 2, None)
    assert (await api.patch(path, {})).result == changed
    assert (await api.delete(path)).status == 200
    assert (await api.get(path)).type == "schedule_not_found"
    assert (await api.delete(path)).type == "schedule_not_found"
    rows = (await api.get(f"/api/audit-log?target=schedule:{made['id']}&sort=at")).result["items"]
    assert {row["action"] for row in rows} == {"schedule.create", "schedule.update", "schedule.delete"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"job": "test.unheard", "kwargs": {}}, ["job"]),
        ({"job": "nothing"}, ["job"]),
        ({"kwargs": {}}, ["kwargs.days"]),
        ({"kwargs": {"days": "three"}}, ["kwargs.days"]),
        ({"kwargs": {"days": 3, "tags": [1]}}, ["kwargs.tags"]),
        ({"kwargs": {"days": 3, "ctx": 1, "wrong": 2}}, ["kwargs.ctx", "kwargs.wrong"]),
        ({"queue": "mail"}, ["queue"]),
        ({"crons": ["0 3 * * *", "x"]}, ["crons[1]"]),
        ({"timezone": "Mars"}, ["timezone"]),
        ({"calendar": "none"}, ["calendar"]),
        ({"misfire": "never"}, ["misfire"]),
        ({"misfire_max_age_s": -1}, ["misfire_max_age_s"]),
        ({"overlap": "queue"}, ["overlap"]),
        ({"jitter_s": 3601}, ["jitter_s"]),
        ({"name": ""}, ["name"]),
        ({"name": "cleanup_old_records"}, ["name"]),
        ({"more": 1}, ["more"]),
    ],
    ids=str,
)
@pytest.mark.gen_test
async def test_what_cannot_be_is_named(api: Api, ctx: Context, body: dict[str, Any], fields: list[str]) -> None:
    assert (await api.post("/api/schedules", {**NIGHTLY, **body})).fields == fields
    made = await make(api)
    assert (await api.patch(f"/api/schedules/{made['id']}", body)).fields == fields


@pytest.mark.gen_test
async def test_a_name_is_given_once(api: Api, ctx: Context) -> None:
    await make(api)
    assert (await api.post("/api/schedules", NIGHTLY)).fields == ["name"]


@pytest.mark.gen_test
async def test_the_jobs_that_can_be_scheduled(api: Api, ctx: Context) -> None:
    jobs = {job["job"]: job for job in (await api.get("/api/schedules/jobs")).result}
    assert "test.unheard" not in jobs
    assert {schedule.job for schedule in SCHEDULES} <= set(jobs)
    assert (jobs["test.count"]["queue"], jobs["test.count"]["summary"]) == ("maintenance", "Count days.")
    parameters = {one["name"]: (one["type"], one["required"], one["default"]) for one in jobs["test.count"]["parameters"]}
    assert parameters == {"days": ("int", True, None), "label": ("str", False, ""), "tags": ("list[str] | None", False, None)}


@pytest.mark.gen_test
async def test_a_built_in_one_is_edited_and_not_removed(api: Api) -> None:
    [found] = (await api.get("/api/schedules?q=cleanup_old_records")).result["items"]
    path = f"/api/schedules/{found['id']}"
    assert found["built_in"]
    assert (await api.patch(path, {"crons": ["0 4 * * *"], "enabled": False})).result["enabled"] is False
    assert (await api.patch(path, {"name": "other"})).fields == ["name"]
    assert (await api.patch(path, {"job": "audit.seal"})).fields == ["job"]
    refused = await api.delete(path)
    assert (refused.status, refused.type) == (409, "schedule_built_in")
    job = next(job for job in (await api.get("/scheduler/jobs")).result if job["id"] == found["id"])
    assert (job["cron"], job["enabled"]) == (["0 4 * * *"], False)


@pytest.mark.gen_test
async def test_a_workflows_schedule_stays_part_of_it(api: Api, workflow: dict[str, Any]) -> None:
    [found] = (await api.get("/api/schedules?kind=workflow")).result["items"]
    path = f"/api/schedules/{found['id']}"
    assert (found["workflow_id"], found["name"], found["built_in"]) == (workflow["workflow_id"], "daily", False)
    changed = (await api.patch(path, {"crons": ["0 4 * * *"], "timezone": "UTC", "jitter_s": 20})).result
    assert (changed["crons"], changed["timezone"], changed["jitter_s"]) == (["0 4 * * *"], "UTC", 20)
    assert (await api.get(f"/workflow/{workflow['id']}")).result["execute_cron_list"] == ["0 4 * * *"]
    assert (await api.patch(path, {"crons": ["x"]})).fields == ["crons[0]"]
    assert (await api.patch(path, {"kwargs": {}, "overlap": "skip"})).fields == ["kwargs", "overlap"]
    refused = await api.delete(path)
    assert (refused.status, refused.type) == (409, "schedule_of_workflow")


@pytest.mark.gen_test
async def test_a_schedule_is_run_by_hand(api: Api, ctx: Context) -> None:
    made = await make(api)
    path = f"/api/schedules/{made['id']}"
    task_id = (await api.post(f"{path}/run")).result["task_id"]
    task = (await api.get(f"/api/tasks/{task_id}")).result
    assert (task["kind"], task["payload"], task["max_attempts"]) == ("test.count", {"days": 3}, 2)
    assert (await api.post(f"{path}/run")).type == "schedule_busy"
    await api.patch(path, {"overlap": "cancel_previous"})
    second = (await api.post(f"{path}/run")).result["task_id"]
    assert (await api.get(f"/api/tasks/{task_id}")).result["state"] == "cancelled"
    await api.patch(path, {"overlap": "parallel"})
    third = (await api.post(f"{path}/run")).result["task_id"]
    assert len({task_id, second, third}) == 3
    assert (await api.get(f"/api/tasks/{second}")).result["state"] == "queued"


@pytest.mark.gen_test
async def test_a_preview_shows_the_jitter(api: Api, ctx: Context) -> None:
    made = await make(api, crons=["0 * * * *"], jitter_s=600)
    coming = (await api.get(f"/api/schedules/{made['id']}/preview?days=1&limit=24")).result
    late = [datetime.fromisoformat(one["starts_at"]) - datetime.fromisoformat(one["planned_at"]) for one in coming]
    assert len(coming) == 24
    assert timedelta() <= min(late)
    assert max(late) <= timedelta(seconds=600)
    assert len(set(late)) > 20
    assert made["next_run_time"] == coming[0]["starts_at"]


@pytest.mark.gen_test
async def test_who_may(api: Api, ctx: Context, anonymous: Api) -> None:
    made = await make(api)
    path = f"/api/schedules/{made['id']}"
    assert (await anonymous.get("/api/schedules")).status == 401
    student = await user(ctx, anonymous, "student", "student")
    auditor = await user(ctx, anonymous, "auditor", "auditor")
    for verb, where in (("get", "/api/schedules"), ("get", path), ("get", f"{path}/history"), ("get", "/api/schedules/jobs")):
        assert (await getattr(student, verb)(where)).status == 403, where
        assert (await getattr(auditor, verb)(where)).status == 200, where
    assert (await auditor.patch(path, {})).status == 403
    assert (await auditor.post(f"{path}/run")).status == 403
    assert (await auditor.delete(path)).status == 403
    assert (await auditor.post("/api/schedules", NIGHTLY)).status == 403


class TestFiring:
    """With the loops on."""

    @pytest.fixture
    def loops(self) -> bool:
        return True

    @pytest.mark.gen_test(timeout=60)
    async def test_each_fire_is_in_the_history_with_its_task(self, api: Api) -> None:
        body = {"name": "seal often", "job": "audit.seal", "crons": ["* * * * * *"], "jitter_s": 1}
        made = (await api.post("/api/schedules", body)).result
        path = f"/api/schedules/{made['id']}"

        async def done() -> dict[str, Any] | None:
            items = (await api.get(f"{path}/history?outcome=fired")).result["items"]
            return next((item for item in items if item["task"] and item["task"]["state"] == "succeeded"), None)

        fire = await until(done, timeout_s=40)
        await api.patch(path, {"enabled": False})
        task = fire["task"]
        assert (fire["outcome"], fire["run_id"], fire["task_id"]) == ("fired", None, task["id"])
        assert fire["lag_ms"] >= 0
        assert task["duration_s"] >= 0
        assert "sealed" in task["result"]
        assert (await api.get(task["log"])).status == 200
        late = datetime.fromisoformat(fire["starts_at"]) - datetime.fromisoformat(fire["planned_at"])
        assert timedelta() <= late < timedelta(seconds=1)

    @pytest.mark.gen_test(timeout=60)
    async def test_a_jittered_workflow_is_told_its_planned_time(self, api: Api, module: FakeModule) -> None:
        body = {"name": "w", "execute_modules": [module.step], "timezone": "UTC", "overlap": "parallel"}
        made = (await api.post("/workflow/create", body)).result
        [row] = (await api.get("/api/schedules?kind=workflow")).result["items"]
        await api.patch(f"/api/schedules/{row['id']}", {"jitter_s": 2, "crons": ["* * * * * */2"]})
        execute = await module.frame()
        await api.post(f"/workflow/{made['id']}/disable")
        await module.settle(execute)
        [*_, first] = (await api.get(f"/api/schedules/{row['id']}/history?outcome=fired")).result["items"]
        planned = datetime.fromisoformat(first["planned_at"])
        assert planned.second % 2 == 0
        assert datetime.fromisoformat(execute["meta"]["execution_time"]) == planned.replace(tzinfo=None)
        assert datetime.fromisoformat(first["starts_at"]) - planned < timedelta(seconds=2)
