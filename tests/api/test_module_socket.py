"""The socket of a module: frames that cannot be read never cost it, and a foreign frame settles nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from tests.api.client import Api
from tests.api.conftest import Register
from tests.api.module import FakeModule, until

NOBODY = 32 * "0"
MANY_LEVELS = 900


async def start(api: Api, workflow: dict[str, Any], **body: Any) -> str:
    return str((await api.post(f"/workflow/{workflow['id']}/execute", body)).result["run_id"])


async def ended(api: Api, run_id: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        run: dict[str, Any] = (await api.get(f"/run/{run_id}")).result
        return run if run["ended_at"] else None

    found: dict[str, Any] = await until(look)
    return found


@pytest.mark.parametrize(
    "query", ["", "?hash=", f"?hash={NOBODY}", "?hash=x", "?hash=%00", "?hash=" + "a" * 3000, "?module=x", "?hash=%ff"]
)
@pytest.mark.gen_test
async def test_an_unknown_hash_is_refused_before_the_upgrade(anonymous: Api, query: str) -> None:
    with pytest.raises(HTTPClientError) as refused:
        await websocket_connect(f"{anonymous.base_url.replace('http', 'ws', 1)}/websocket{query}")
    response = refused.value.response
    assert response is not None
    envelope = msgspec.json.decode(response.body)
    if query == "?hash=%ff":
        assert (response.code, envelope["error"]["type"]) == (400, "malformed")
    else:
        assert (response.code, envelope["error"]["type"], envelope["code"]) == (403, "unknown_hash", "4030")
    assert envelope["error"]["request_id"] == response.headers["X-Request-ID"]
    assert response.headers["X-Frame-Options"] == "DENY"


@pytest.mark.gen_test
async def test_an_ill_formed_request_id_is_not_repeated(anonymous: Api) -> None:
    request = HTTPRequest(f"{anonymous.base_url.replace('http', 'ws', 1)}/websocket?hash=x", headers={"X-Request-ID": "<script>"})
    with pytest.raises(HTTPClientError) as refused:
        await websocket_connect(request)
    assert refused.value.response is not None
    assert b"script" not in refused.value.response.body


NONSENSE = [
    "",
    "hello",
    "null",
    "[]",
    "5",
    "{}",
    '{"type": 5}',
    '{"type": "dance"}',
    '{"type": "result"}',
    '{"type": "result", "status": "perhaps"}',
    '{"type": "progress", "percent": "much"}',
    '{"type": "log", "lines": "one"}',
    '{"type": "log"}',
    '{"type": "result", "status": "success"',
    '{"type": "result", "status": "success", "run_id": 5}',
    '{"type": "result", "status": "success", "output": ' + MANY_LEVELS * "[" + MANY_LEVELS * "]" + "}",
    '{"type": "result", "status": "success", "output": ' + 100_000 * "[",
    b"\x00\x01",
]


@pytest.mark.gen_test
async def test_nonsense_is_answered_and_the_socket_stays(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    for nonsense in NONSENSE:
        await module.say(nonsense)
        answer = await module.frame()
        assert answer["type"] == "error", nonsense
        assert answer["message"], nonsense
    run_id = await start(api, workflow)
    await module.settle(await module.frame())
    assert (await ended(api, run_id))["state"] == "succeeded"


UNREADABLE = [
    {"workflow_id": 10**30},
    {"run_id": "x" * 5000},
    {"step_id": "x" * 65},
    {"fence": 2**63},
    {"fence": 10**30},
    {"fence": 1.5},
    {"fence": "1"},
]


@pytest.mark.parametrize("about", UNREADABLE, ids=lambda about: str(about)[:40])
@pytest.mark.gen_test
async def test_what_can_be_no_id_of_ours_is_complained_of(module: FakeModule, about: dict[str, Any]) -> None:
    await module.say({"type": "result", "status": "success", "step_id": NOBODY, **about})
    assert (await module.frame())["type"] == "error"
    await module.say({"type": "ack", "step_id": NOBODY})
    assert (await module.frame())["type"] == "error", "the socket is still there"


@pytest.mark.gen_test
async def test_a_late_result_that_no_store_can_hold_is_confirmed(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    await start(api, workflow)
    execute = await module.frame()
    await module.settle(execute)
    await module.settle(execute, output={"n": 10**30, "": {"a.b": [float(2**70)], "$x": 1}})


UNKNOWN = [
    {"run_id": NOBODY, "step_id": NOBODY, "fence": 1},
    {"step_id": NOBODY},
    {"workflow_id": "999"},
    {"workflow_id": 999},
    {"workflow_id": "²"},
    {"workflow_id": "-1"},
    {"workflow_id": "9" * 40},
    {"run_id": "x" * 64},
    {"step_id": "\x00"},
    {},
]


@pytest.mark.parametrize("about", UNKNOWN, ids=lambda about: str(about)[:40])
@pytest.mark.gen_test
async def test_a_result_for_nothing_is_confirmed_and_complained_of(module: FakeModule, about: dict[str, Any]) -> None:
    await module.say({"type": "result", "status": "success", **about})
    assert (await module.frame())["type"] == "error"
    assert await module.text() == "receive result"
    await module.say({"type": "ack", **{name: value for name, value in about.items() if name != "workflow_id"}})
    assert (await module.frame())["type"] == "error"


@pytest.mark.parametrize("fence", [2, 0, -1, 2**31 - 1])
@pytest.mark.gen_test
async def test_a_stale_fence_settles_nothing(api: Api, module: FakeModule, workflow: dict[str, Any], fence: int) -> None:
    run_id = await start(api, workflow)
    execute = await module.frame()
    named = {name: execute["meta"][name] for name in ("run_id", "step_id")}
    await module.say({"type": "result", "status": "success", **named, "fence": fence})
    assert await module.text() == "receive result"
    assert (await api.get(f"/run/{run_id}")).result["state"] == "dispatched"
    await module.settle(execute)
    assert (await ended(api, run_id))["state"] == "succeeded"


@pytest.mark.gen_test
async def test_another_modules_result_settles_nothing(api: Api, module: FakeModule, workflow: dict[str, Any], register: Register) -> None:
    other = await (await register("other")).connect()
    run_id = await start(api, workflow)
    execute = await module.frame()
    named = {name: execute["meta"][name] for name in ("run_id", "step_id", "fence")}
    for frame in (
        {"type": "result", "status": "failure", "error": "sabotage", **named},
        {"type": "result", "status": "success", "workflow_id": execute["meta"]["workflow_id"]},
    ):
        await other.say(frame)
        while await other.text() != "receive result":
            pass
    await other.say({"type": "log", "lines": ["sabotage"], **named})
    assert (await other.frame())["type"] == "error"
    await other.say({"type": "cancelled", **named})
    await other.say({"type": "progress", "percent": 99, **named})
    await module.settle(execute)
    run = await ended(api, run_id)
    assert run["state"] == "succeeded"
    assert run["steps"][0]["progress_message"] is None
    assert run["steps"][0]["logs"] == []


@pytest.mark.gen_test
async def test_answering_twice_changes_nothing(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    run_id = await start(api, workflow)
    execute = await module.frame()
    await module.settle(execute, output={"price": 1})
    await module.settle(execute, status="failure", output={"price": 2})
    run = await ended(api, run_id)
    assert (run["state"], run["steps"][0]["output"]) == ("succeeded", {"price": 1})


@pytest.mark.gen_test
async def test_an_old_client_that_names_only_the_workflow(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    run_id = await start(api, workflow)
    execute = await module.frame()
    assert set(execute) == {"type", "meta", "args"}
    assert set(execute["meta"]) >= {"execution_time", "workflow_id", "workflow_name"}
    await module.say(
        {
            "type": "result",
            "status": "success",
            "workflow_id": execute["meta"]["workflow_id"],
            "workflow_name": "daily",
            "module_name": "prices",
        }
    )
    assert await module.text() == "receive result"
    assert (await ended(api, run_id))["state"] == "succeeded"


@pytest.mark.gen_test
async def test_a_frame_over_the_limit_closes_the_socket_and_loses_no_step(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    run_id = await start(api, workflow)
    await module.frame()
    await module.say("x" * ((1 << 20) + 1))
    assert await module.closed() in (1006, 1009)
    run = (await api.get(f"/run/{run_id}")).result
    assert run["ended_at"] is None


@pytest.mark.gen_test
async def test_odd_values_are_kept_as_they_are(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    output = {"price": 1e308, "text": "\x00 \u2028 𝒳 '; drop table runs", "": [], "deep": [[[[]]]], "big": 2**60, "none": None}
    run_id = await start(api, workflow)
    await module.settle(await module.frame(), output=output, message={"a": 1}, error=None)
    step = (await ended(api, run_id))["steps"][0]
    assert step["output"] == output
    assert step["message"] == '{"a":1}'


@pytest.mark.gen_test
async def test_a_second_connection_takes_over(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    first = await start(api, workflow)
    execute = await module.frame()
    second = await FakeModule(api, module.hash, module.number, module.name).connect()
    assert await module.frame() == {"type": "drain"}
    shown = (await api.get(f"/module/{module.hash}")).result
    assert sorted(connection["state"] for connection in shown["connections"]) == ["draining", "serving"]
    await module.settle(execute)
    assert await module.closed() == 1012
    assert (await ended(api, first))["state"] == "succeeded"
    again = await start(api, workflow)
    await second.settle(await second.frame())
    assert (await ended(api, again))["state"] == "succeeded"
    await second.disconnect()


@pytest.mark.gen_test
async def test_many_frames_at_once(api: Api, module: FakeModule, workflow: dict[str, Any]) -> None:
    run_id = await start(api, workflow)
    execute = await module.frame()
    named = {name: execute["meta"][name] for name in ("run_id", "step_id", "fence")}
    frames = [{"type": "log", "lines": [f"line {number}"], **named} for number in range(200)]
    await asyncio.gather(*(module.say(frame) for frame in frames))
    await module.say({"type": "progress", "percent": 1e9, "message": "m" * 5000, **named})

    async def logged() -> bool:
        return bool((await api.get(f"/run/{run_id}")).result["steps"][0]["log_lines"] == 200)

    await until(logged)
    await module.settle(execute)
    run = await ended(api, run_id)
    assert [line["text"] for line in run["steps"][0]["logs"]] == [f"line {number}" for number in range(100, 200)]
    assert run["steps"][0]["progress"] == 100
