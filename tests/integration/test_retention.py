"""The weekly clean-up: what is older than its time goes, from every table and folder; what is younger stays."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.dispatch.tables import runs, step_attempts, steps
from server.platform.tables import file_references, fires, tasks
from tests.contract.waiting import until
from tests.integration.house import NOON, House, open_house

pytestmark = pytest.mark.integration

LONG_AGO = datetime.now(UTC) - timedelta(days=100)


async def clean_up(house: House) -> dict[str, Any]:
    """Run the weekly job through its queue; what it says that it removed."""
    (job,) = [one for one in await house.api.get("/scheduler/jobs") if one["name"] == "cleanup_old_records"]
    assert (job["kind"], job["cron"], job["enabled"]) == ("system", ["0 3 * * 1"], True)
    assert datetime.fromisoformat(job["next_run_time"]) - datetime.now(UTC) <= timedelta(days=7)
    started = await house.api.post(f"/scheduler/jobs/{job['id']}/run")

    async def task() -> dict[str, Any]:
        found: dict[str, Any] = await house.api.get(f"/api/tasks/{started['task_id']}")
        return found

    async def over() -> bool:
        return (await task())["state"] in ("succeeded", "dead")

    await until(over)
    done = await task()
    assert done["state"] == "succeeded", done["error"]
    removed: dict[str, Any] = done["result"]
    return removed


async def finished_run(house: House, socket: Any, workflow: int, text: str) -> dict[str, Any]:
    """A run with a failed attempt, log lines and a large output."""
    run_id = await house.api.execute(workflow)
    first = await socket.execution()
    socket.say("log", first, lines=[text])
    await socket.answer(first, status="failure", error="once more")
    again = await socket.execution()
    await socket.answer(again, {"x": text * 300_000})
    run = await house.api.ended(run_id)
    assert run["state"] == "succeeded"
    return run


async def age(house: House, run: dict[str, Any]) -> None:
    """Let a run be a hundred days old."""
    run_id, step_id = run["run_id"], run["steps"][0]["id"]
    await house.write(runs.update().where(runs.c.id == run_id).values(ended_at=LONG_AGO, created_at=LONG_AGO))
    await house.write(steps.update().where(steps.c.id == step_id).values(ended_at=LONG_AGO))
    for document in await house.ctx.documents.find("step_logs", {"step_id": step_id}):
        await house.ctx.documents.patch("step_logs", document["id"], {"at": LONG_AGO})
    path = house.ctx.files.path(digest(run))
    os.utime(path, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))


def digest(run: dict[str, Any]) -> str:
    found: str = run["steps"][0]["output"]["x"]["$file"]["sha256"]
    return found


@pytest.mark.holds_loop  # makes values of some 100 KB on it
@pytest.mark.gen_test(timeout=90)
async def test_old_records_go_and_young_ones_stay(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m", outputs=["x"])
        step = {"module_hash": module, "retry": {"max_attempts": 2, "backoff_s": 0}}
        workflow = await house.api.workflow("w", [step], overlap="parallel")
        old, young = [await finished_run(house, socket, workflow, text) for text in ("o", "y")]
        await age(house, old)
        going = await house.api.execute(workflow)
        await house.write(runs.update().where(runs.c.id == going).values(created_at=LONG_AGO))
        for number, at in enumerate((LONG_AGO, datetime.now(UTC))):
            row = {"schedule_id": 999, "planned_at": at, "starts_at": at, "outcome": "calendar", "lag_ms": 0, "count": 1, "epoch": 1}
            await house.write(fires.insert().values(id=f"{number:032x}", created_at=at, **row))
        await _old_task(house, ended=True)
        unfinished = await _old_task(house, ended=False)
        orphan = await house.ctx.files.put(b"nobody refers to this")
        os.utime(house.ctx.files.path(orphan.sha256), (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
        fresh = await house.ctx.files.put(b"nobody refers to this yet")

        removed = await clean_up(house)

        counted = {name: removed[name] for name in ("runs", "fires", "tasks", "logs", "files")}
        assert counted == {"runs": 1, "fires": 1, "tasks": 1, "logs": 1, "files": 2}
        kept = {row.id for row in await house.rows(runs)}
        assert kept == {young["run_id"], going}
        assert {row.run_id for row in await house.rows(steps)} == kept
        assert {row.step_id for row in await house.rows(step_attempts)} == {young["steps"][0]["id"]}
        assert {row.owner for row in await house.rows(file_references)} == {f"run:{young['run_id']}"}
        assert [row.id for row in await house.rows(fires, fires.c.schedule_id == 999)] == [f"{1:032x}"]
        assert unfinished in {row.id for row in await house.rows(tasks)}
        assert [one["run_id"] for one in await house.ctx.documents.find("step_logs", {})] == [young["run_id"]]
        folder = house.ctx.files.path(digest(young)).parents[2]
        assert {path.name for path in folder.glob("??/??/*")} == {digest(young), fresh.sha256}
        await house.api.ask("GET", f"/run/{old['run_id']}", status=404)
        assert (await house.api.run(young["run_id"]))["steps"][0]["logs"][0]["text"] == "y"
        text = await house.ctx.files.read(digest(young))
        assert hashlib.sha256(text).hexdigest() == digest(young)
        assert (await clean_up(house))["runs"] == 0
        await socket.answer(await socket.execution(), {"x": 1})
        assert (await house.api.ended(going))["state"] == "succeeded"


async def _old_task(house: House, *, ended: bool) -> str:
    task_id = ("e" if ended else "f") * 32
    state = {"state": "succeeded", "ended_at": LONG_AGO} if ended else {"state": "queued", "ended_at": None}
    columns: dict[str, Any] = {"queue": "hr_sync", "kind": "nothing", "payload": {}, "attempts": 1, "max_attempts": 1, "progress": 0}
    # It is due in a year: no worker takes it.
    times = {"run_at": datetime.now(UTC) + timedelta(days=365), "created_at": LONG_AGO}
    await house.write(sa.insert(tasks).values(id=task_id, cancel_requested=False, **columns, **times, **state))
    return task_id


@pytest.mark.gen_test(timeout=60)
async def test_the_weekly_job_can_be_moved_and_keeps_its_place(data: Path) -> None:
    """The row belongs to the people once it is there: a restart does not add another or set it back."""
    async with open_house(data) as house:
        (job,) = [one for one in await house.api.get("/scheduler/jobs") if one["name"] == "cleanup_old_records"]
        await house.api.ask("PATCH", f"/scheduler/jobs/{job['id']}", {"cron": "30 4 * * 6", "timezone": "Europe/Berlin"})
    async with open_house(data) as house:
        (job,) = [one for one in await house.api.get("/scheduler/jobs") if one["name"] == "cleanup_old_records"]
        assert (job["cron"], job["timezone"]) == (["30 4 * * 6"], "Europe/Berlin")


@pytest.mark.gen_test(timeout=60)
async def test_the_weekly_job_runs_when_its_time_comes(data_at_noon: Path) -> None:
    clock = HeldClock(NOON)
    async with open_house(data_at_noon, clock=clock) as house:
        await until(lambda: house.resources.schedule_loop.leading)
        clock.at = datetime(2026, 3, 8, 19, 0, tzinfo=UTC)  # Monday, 03:00 in Shanghai

        async def done() -> bool:
            return bool(await house.rows(tasks, tasks.c.kind == "maintenance.clean_up", tasks.c.state == "succeeded"))

        await until(done)
        (task,) = await house.rows(tasks, tasks.c.kind == "maintenance.clean_up")
        (row,) = await house.rows(fires, fires.c.task_id == task.id)
        assert (row.outcome, row.task_id, task.state) == ("fired", task.id, "succeeded")
