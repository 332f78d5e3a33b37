"""Runs: started by hand, told of, logged, cancelled, retried; fires and why."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.api.client import Api
from tests.api.conftest import PRICE, Register
from tests.api.module import FakeModule, until
from tests.api.test_module_socket import ended, start

NOBODY = 32 * "0"


@pytest.mark.gen_test
async def test_execute_answers_as_it_always_did(api: Api, workflow: dict[str, Any]) -> None:
    answer = (await api.post(f"/workflow/{workflow['workflow_id']}/execute")).result
    assert {name: answer[name] for name in ("workflow_id", "workflow_name", "message")} == {
        "workflow_id": workflow["workflow_id"],
        "workflow_name": "daily",
        "message": "工作流执行已启动",
    }
    assert answer["id"] == answer["run_id"]


@pytest.mark.gen_test
async def test_args_and_execution_time_reach_the_module(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    run_id = await start(api, workflow, args={"day": "周一", "n": [1, None]}, execution_time="2024-01-01T10:00:00")
    execute = await module.frame()
    assert execute["type"] == "execute"
    assert execute["args"] == {"day": "周一", "n": [1, None]}
    meta = execute["meta"]
    assert (meta["execution_time"], meta["workflow_id"], meta["workflow_name"]) == (
        "2024-01-01T10:00:00",
        str(workflow["workflow_id"]),
        "daily",
    )
    assert (meta["run_id"], meta["attempt"], meta["fence"]) == (run_id, 1, 1)
    await start(api, workflow, execution_time="2024-01-01T02:00:00+00:00")
    await module.settle(execute)
    assert (await module.frame())["meta"]["execution_time"] == "2024-01-01T10:00:00", "on the clock of the workflow's zone"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"args": []}, ["args"]),
        ({"args": None}, ["args"]),
        ({"arg": {}}, ["arg"]),
        ({"execution_time": "yesterday"}, ["execution_time"]),
        ({"execution_time": "2024-02-31T00:00:00"}, ["execution_time"]),
        ({"execution_time": 5}, ["execution_time"]),
        ({"execution_time": ""}, ["execution_time"]),
        ({"execution_time": "0001-01-01T00:00:00"}, ["execution_time"]),
        ({"execution_time": "0001-01-01T00:00:00+14:00"}, ["execution_time"]),
        ({"execution_time": "9999-12-31T23:59:59-14:00"}, ["execution_time"]),
        ({"execution_time": "9999-12-31T23:59:59+00:00"}, ["execution_time"]),
    ],
    ids=str,
)
@pytest.mark.gen_test
async def test_what_cannot_be_executed(api: Api, workflow: dict[str, Any], body: dict[str, Any], fields: list[str]) -> None:
    assert (await api.post(f"/workflow/{workflow['id']}/execute", body)).fields == fields
    assert (await api.get(f"/workflow/{workflow['id']}/runs")).result["total"] == 0


@pytest.mark.gen_test
async def test_a_run_tells_everything(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    run_id = await start(api, workflow, args={"x": 1})
    execute = await module.frame()
    named = {name: execute["meta"][name] for name in ("run_id", "step_id", "fence")}
    await module.say({"type": "ack", **named})
    await module.say({"type": "progress", "percent": 40, "message": "half", **named})
    await module.say({"type": "log", "level": "warning", "lines": ["one", "two"], **named})

    async def told() -> dict[str, Any] | None:
        run: dict[str, Any] = (await api.get(f"/run/{run_id}")).result
        step = run["steps"][0]
        return run if step["progress"] == 40 and step["log_lines"] == 2 else None

    going = await until(told)
    assert (going["state"], going["kind"], going["workflow_name"], going["requested_by"]) == ("running", "manual", "daily", "admin")
    step = going["steps"][0]
    assert (step["state"], step["progress_message"], step["args"], step["attempt"]) == ("running", "half", {"x": 1}, 1)
    assert [(line["n"], line["level"], line["text"]) for line in step["logs"]] == [(0, "warning", "one"), (1, "warning", "two")]
    assert (await api.get(f"/module/{module.hash}")).result["running"] == 1
    await module.settle(execute, output={"price": 3}, message="done")
    done = await ended(api, run_id)
    assert (done["state"], done["error"]) == ("succeeded", None)
    assert done["duration_ms"] >= 0
    assert (done["steps"][0]["output"], done["steps"][0]["message"], done["steps"][0]["progress"]) == ({"price": 3}, "done", 100)
    assert [attempt["outcome"] for attempt in done["steps"][0]["attempts"]] == ["succeeded"]
    [listed] = (await api.get(f"/workflow/{workflow['id']}/runs")).result["items"]
    assert {name: done[name] for name in listed} == listed


@pytest.mark.gen_test
async def test_logs_are_read_by_offset(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    run_id = await start(api, workflow)
    execute = await module.frame()
    named = {name: execute["meta"][name] for name in ("run_id", "step_id", "fence")}
    for first in (0, 700):
        await module.say({"type": "log", "lines": [f"line {number}" for number in range(first, first + 700)], **named})
    await module.settle(execute)
    path = f"/run/{run_id}/logs?step_id={execute['meta']['step_id']}"

    async def complete() -> bool:
        return bool((await api.get(path)).result["total"] == 1400)

    await until(complete)
    seen: list[str] = []
    offset = 0
    while True:
        chunk = (await api.get(f"{path}&offset={offset}&limit=333")).result
        if not chunk["lines"]:
            break
        assert [line["n"] for line in chunk["lines"]] == list(range(offset, chunk["next_offset"]))
        seen += [line["text"] for line in chunk["lines"]]
        offset = chunk["next_offset"]
    assert seen == [f"line {number}" for number in range(1400)]
    assert chunk["next_offset"] == 1400
    assert chunk["ended"] is True
    beyond = (await api.get(f"{path}&offset=5000")).result
    assert (beyond["lines"], beyond["next_offset"]) == ([], 1400)
    assert (await api.get(f"/run/{run_id}/logs?step_id={NOBODY}")).type == "step_not_found"
    assert (await api.get(f"/run/{NOBODY}/logs?step_id={NOBODY}")).type == "run_not_found"
    assert (await api.get(f"/run/{run_id}/logs")).fields == ["step_id"]
    for wrong in ("offset=-1", "offset=x", "limit=0", "limit=5001", "offset=99999999999999999999", "limits=1"):
        assert (await api.get(f"{path}&{wrong}")).fields == [wrong.partition("=")[0]]


@pytest.mark.gen_test
async def test_a_running_run_is_cancelled_when_the_module_says_so(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    run_id = await start(api, workflow)
    execute = await module.frame()
    asked = (await api.post(f"/run/{run_id}/cancel", {"reason": "wrong day"})).result
    assert (asked["cancel_reason"], asked["ended_at"]) == ("wrong day", None)
    frame = await module.frame()
    assert frame == {"type": "cancel", **{name: execute["meta"][name] for name in ("run_id", "step_id", "fence")}}
    await module.say({**frame, "type": "cancelled"})
    run = await ended(api, run_id)
    assert (run["state"], run["steps"][0]["state"], run["steps"][0]["cancel_confirmed"]) == ("cancelled", "cancelled", True)
    again = await api.post(f"/run/{run_id}/cancel", {})
    assert (again.status, again.type) == (409, "run_ended")


@pytest.mark.gen_test
async def test_a_waiting_run_is_cancelled_at_once(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    first, second = await start(api, workflow), await start(api, workflow)
    assert (await api.get(f"/run/{second}")).result["state"] == "queued"
    assert (await api.post(f"/run/{second}/cancel")).result["state"] == "cancelled"
    await module.settle(await module.frame())
    assert (await ended(api, first))["state"] == "succeeded"


@pytest.mark.parametrize("body", [{"reason": 5}, {"reason": "x" * 501}, {"why": "x"}])
@pytest.mark.gen_test
async def test_a_cancel_that_says_nonsense(api: Api, workflow: dict[str, Any], body: dict[str, Any]) -> None:
    run_id = await start(api, workflow)
    assert (await api.post(f"/run/{run_id}/cancel", body)).fields == list(body)


@pytest.mark.gen_test
async def test_a_failed_run_is_retried_from_where_it_failed(api: Api, register: Register) -> None:
    giver = await (await register("giver", output_data=[PRICE])).connect()
    taker = await (await register("taker", input_data=[PRICE])).connect()
    made = (await api.post("/workflow/create", {"name": "w", "execute_modules": [giver.step, taker.step]})).result
    run_id = await start(api, made)
    assert (await api.post(f"/run/{run_id}/retry", {})).type == "run_going"
    await giver.settle(await giver.frame(), output={"price": 7})
    execute = await taker.frame()
    assert execute["args"] == {"price": 7}
    await taker.settle(execute, status="failure", error="no luck")
    failed = await ended(api, run_id)
    assert (failed["state"], failed["error"]) == ("failed", "taker: no luck")
    again = (await api.post(f"/run/{run_id}/retry", {"from": "failed"})).result
    assert (again["kind"], again["retry_of"], again["steps"][0]["state"]) == ("retry", run_id, "succeeded")
    execute = await taker.frame()
    assert execute["args"] == {"price": 7}
    await taker.settle(execute)
    assert (await ended(api, again["id"]))["state"] == "succeeded"
    whole = (await api.post(f"/run/{run_id}/retry", {"from": "start"})).result
    await giver.settle(await giver.frame(), output={"price": 8})
    assert (await taker.frame())["args"] == {"price": 8}
    assert whole["steps"][0]["state"] == "dispatched"
    assert (await api.post(f"/run/{run_id}/retry", {"from": "middle"})).fields == ["from"]
    assert (await api.post(f"/run/{run_id}/retry", {"from_": "start"})).fields == ["from_"]


@pytest.mark.parametrize("run_id", [NOBODY, "f" * 32])
@pytest.mark.gen_test
async def test_an_unknown_run(api: Api, run_id: str) -> None:
    assert (await api.get(f"/run/{run_id}")).type == "run_not_found"
    assert (await api.post(f"/run/{run_id}/cancel", {})).type == "run_not_found"
    assert (await api.post(f"/run/{run_id}/retry", {})).type == "run_not_found"
    assert (await api.get("/run/x")).type == "route_not_found"


@pytest.mark.gen_test
async def test_the_runs_of_a_removed_workflow_stay(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    run_id = await start(api, workflow)
    await module.settle(await module.frame())
    await ended(api, run_id)
    await api.delete(f"/workflow/{workflow['id']}")
    assert (await api.get(f"/run/{run_id}")).result["state"] == "succeeded"
    assert (await api.post(f"/run/{run_id}/retry", {})).type == "workflow_not_found"


@pytest.mark.gen_test
async def test_the_list_of_runs(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    ids = []
    for status in ("success", "failure", "success"):
        ids.append(await start(api, workflow))
        await module.settle(await module.frame(), status=status, error="100%_" if status == "failure" else None)
        await ended(api, ids[-1])
    path = f"/workflow/{workflow['id']}/runs"
    assert [run["id"] for run in (await api.get(path)).result["items"]] == ids[::-1]
    assert [run["id"] for run in (await api.get(f"{path}?sort=created_at")).result["items"]] == ids
    assert [run["id"] for run in (await api.get(f"{path}?state=failed")).result["items"]] == [ids[1]]
    for q, total in [("100%25_", 1), ("%25", 1), ("_", 1), ("x%25", 0)]:
        assert (await api.get(f"{path}?q={q}")).result["total"] == total, q
    page = (await api.get(f"{path}?page=2&page_size=2")).result
    assert (len(page["items"]), page["total"], page["page"], page["page_size"]) == (1, 3, 2, 2)
    for wrong in (
        "page=0",
        "page_size=201",
        "page_size=999999999999",
        "sort=nothing",
        "states=failed",
        "q=" + "x" * 201,
        "page=one",
        "q=%00",
    ):
        assert (await api.get(f"{path}?{wrong}")).fields == [wrong.partition("=")[0]], wrong


@pytest.mark.gen_test
async def test_overlapping_starts_obey_the_policy(api: Api, module: FakeModule) -> None:
    made = (await api.post("/workflow/create", {"name": "w", "overlap": "skip", "execute_modules": [module.step]})).result
    answers = await asyncio.gather(*(api.post(f"/workflow/{made['id']}/execute", {}) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    assert {answer.type for answer in answers if answer.status == 409} == {"workflow_busy"}


@pytest.mark.gen_test
async def test_large_args_travel_as_a_file(api: Api, anonymous: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    table = [{"n": number, "text": "行" * 100} for number in range(2000)]
    run_id = await start(api, workflow, args={"table": table})
    execute = await module.frame()
    reference = execute["args"]["table"]["$file"]
    fetched = await anonymous.get(reference["url"].partition("10080")[2])
    assert msgspec.json.decode(fetched.body) == table
    await module.settle(execute)
    await ended(api, run_id)


@pytest.mark.gen_test
async def test_why_and_fires_of_a_workflow_that_never_fired(api: Api, workflow: dict[str, Any]) -> None:
    path = f"/workflow/{workflow['id']}"
    assert (await api.get(f"{path}/fires")).result["items"] == []
    for at in (
        "2020-01-01T10:00:00",
        "2020-01-01T10:00:00+08:00",
        "2020-01-01T10:00:00%2B08:00",
        "2099-01-01",
        "2199-12-31T00:00:00",
        "1970-01-01",
    ):
        told = (await api.get(f"{path}/why?at={at}")).result
        assert told["sentence"]
        assert told["fires"] == []
    english = (await api.get(f"{path}/why?at=2020-01-01T10:00:00", headers={"Accept-Language": "en"})).result["sentence"]
    assert english.isascii()
    assert (await api.get(f"{path}/why")).fields == ["at"]
    for wrong in (
        "",
        "yesterday",
        "2026-02-31",
        "0001-01-01T00:00:00%2B14:00",
        "0001-01-01",
        "9999-12-31T23:59:59-14:00",
        "9999-12-31",
        "%00",
    ):
        assert (await api.get(f"{path}/why?at={wrong}")).fields == ["at"], wrong
    for wrong in (
        "from=x",
        "to=2026-02-31T00:00:00",
        "since=1",
        "from=0001-01-01T00:00:00%2B14:00",
        "to=9999-12-31T23:59:59-14:00",
        "to=2200-01-02",
    ):
        assert (await api.get(f"{path}/fires?{wrong}")).fields == [wrong.partition("=")[0]], wrong
    assert (await api.get(f"{path}/fires?from=2026-01-01T00:00:00%2B08:00&to=2026-01-02T00:00:00&outcome=fired")).result["total"] == 0
