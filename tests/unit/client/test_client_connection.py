"""Registering, reconnecting, results that were not confirmed, second deliveries, takeovers and the graceful end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_module_server import FakeServer
from module_serving import Serving

import zhihui_module.connection
from zhihui_module import AsyncTask, Module, RegistrationRefused, Task
from zhihui_module.outbox import Answer, Outbox

CLIENT = Path(__file__).resolve().parents[3] / "client"
REFUSED = {
    "code": "4220",
    "message": "字段有误",
    "result": None,
    "error": {"type": "invalid", "fields": {"input_data": ["类型不对"]}, "request_id": "r"},
}


async def count_calls(task: AsyncTask) -> dict[str, Any]:
    return {"fence": task.meta.fence}


@pytest.mark.gen_test(timeout=30)
async def test_registers_with_its_key_and_connects_with_the_hash(server: FakeServer, serve: Serving) -> None:
    module = serve(count_calls, key="zk_secret", description="daily", model_hash="v2", inputs=[{"name": "days", "type": "number"}])
    await module.wait_connected()
    (body,) = server.registrations
    assert (body["name"], body["description"], body["modelHash"]) == ("prices", "daily", "v2")
    assert body["input_data"] == [{"name": "days", "type": "number", "required": True, "description": ""}]
    assert server.headers[0]["Authorization"] == "Bearer zk_secret"
    assert (await server.socket()).get_query_argument("hash") == "hash1"


@pytest.mark.gen_test(timeout=30)
async def test_a_refused_registration_says_why_and_does_not_repeat(server: FakeServer) -> None:
    server.register_answers = [(422, REFUSED)]
    module = Module("prices", url=server.url, environ={}, key="zk_secret")
    module.handler(count_calls)
    with pytest.raises(RegistrationRefused) as refusal:
        await module.serve()
    assert refusal.value.status == 422
    assert refusal.value.fields == {"input_data": ["类型不对"]}
    assert "字段有误" in str(refusal.value)
    assert "input_data: 类型不对" in str(refusal.value)
    assert "zk_secret" not in str(refusal.value)
    assert len(server.registrations) == 1


@pytest.mark.gen_test(timeout=30)
async def test_registering_goes_on_while_the_server_is_not_ready(server: FakeServer, serve: Serving) -> None:
    server.register_answers = [(503, {"code": "5030", "message": "away", "result": None}), (404, {"detail": "a proxy's page"})]
    module = serve(count_calls)
    await module.wait_connected()
    assert len(server.registrations) == 3


@pytest.mark.gen_test(timeout=30)
async def test_a_server_that_starts_later_is_found(server: FakeServer, serve: Serving) -> None:
    await server.stop()
    module = serve(count_calls)
    loop = asyncio.get_running_loop()
    refused = loop.create_future()
    loop.call_later(0.3, refused.set_result, None)
    await refused
    await server.start()
    await module.wait_connected()
    (await server.socket()).execute()
    assert (await server.frame("result"))["status"] == "success"


@pytest.mark.gen_test(timeout=30)
async def test_an_unknown_hash_leads_to_a_new_registration(server: FakeServer, serve: Serving) -> None:
    module = serve(count_calls)
    first = await server.socket()
    server.known_hashes.clear()
    server.next_hash = 2
    first.lose()
    second = await server.socket(2)
    assert second.get_query_argument("hash") == "hash2"
    assert len(server.registrations) == 2
    second.execute()
    await server.frame("result")
    assert module.declaration.name == "prices"


@pytest.mark.gen_test(timeout=30)
async def test_unconfirmed_results_are_sent_again_on_the_next_socket(server: FakeServer, serve: Serving) -> None:
    calls: list[int | None] = []

    async def handler(task: AsyncTask) -> dict[str, Any]:
        calls.append(task.args["n"])
        task.log(f"working on {task.args['n']}")
        return {"n": task.args["n"]}

    serve(handler, outputs=[{"name": "n"}])
    first = await server.socket()
    first.execute(1, args={"n": 1})
    await server.frame("result", step_id="step-1")
    server.confirms = False
    first.execute(2, fence=17, args={"n": 2})
    await server.frame("result", step_id="step-2")
    server.confirms = True
    first.lose()
    second = await server.socket(2)
    await server.until(lambda: second.received)
    await server.frame("result", number=2, step_id="step-2")
    assert [frame["step_id"] for frame in second.received if frame["type"] == "result"] == ["step-2"]  # the confirmed one is not repeated
    assert second.received[-1]["fence"] == 17
    assert second.received[-1]["output"] == {"n": 2}
    assert [frame["type"] for frame in second.received] == ["result"]  # nor is a log that had travelled
    assert calls == [1, 2]


@pytest.mark.gen_test(timeout=30)
async def test_work_goes_on_while_the_socket_is_away(server: FakeServer, serve: Serving) -> None:
    gate = asyncio.Event()

    async def handler(task: AsyncTask) -> dict[str, Any]:
        await gate.wait()
        task.log("said while away")
        task.progress(90)
        return {"n": 1}

    module = serve(handler, outputs=[{"name": "n"}])
    socket = await server.socket()
    socket.execute()
    await server.frame("ack")
    await server.stop()
    await server.until(lambda: socket.is_closed)
    gate.set()
    await server.start()
    await module.wait_connected()
    second = await server.socket(2)
    await server.frame("result")
    assert [frame["type"] for frame in second.received if frame["type"] != "ack"] == ["progress", "log", "result"]


@pytest.mark.gen_test(timeout=30)
async def test_a_step_delivered_twice_runs_once(server: FakeServer, serve: Serving) -> None:
    calls: list[str] = []
    gates = {1: asyncio.Event(), 2: asyncio.Event()}

    async def handler(task: AsyncTask) -> dict[str, Any]:
        calls.append(f"{task.args['n']}/{task.meta.fence}")
        await gates[task.args["n"]].wait()
        return {"n": task.args["n"]}

    serve(handler)
    first = await server.socket()
    first.execute(1, args={"n": 1})
    await server.frame("ack", step_id="step-1")
    first.lose()
    second = await server.socket(2)
    second.execute(1, args={"n": 1})  # while it runs: stay with that one
    await server.until(lambda: second.received)
    assert second.received[0]["type"] == "ack"
    gates[1].set()
    await server.frame("result", step_id="step-1")
    second.execute(1, args={"n": 1})  # when it is done: the stored answer
    await server.frame("result", number=2, step_id="step-1")
    assert calls == ["1/1"]
    second.execute(1, fence=2, args={"n": 1})  # a later fence is new work
    await server.frame("result", step_id="step-1", fence=2)
    assert calls == ["1/1", "1/2"]


@pytest.mark.gen_test(timeout=30)
async def test_a_drained_socket_finishes_what_it_holds_and_stands_by(
    server: FakeServer, serve: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zhihui_module.connection, "STAND_BY_S", 0.01)
    gate = asyncio.Event()

    async def handler(task: AsyncTask) -> None:
        await gate.wait()

    serve(handler)
    first = await server.socket()
    first.execute(1)
    first.execute(2)
    await server.frame("ack", step_id="step-2")
    server.online = [{"hash": "hash1", "online": True}]  # another instance has taken over
    first.drain()
    first.execute(3)  # against the protocol: not taken
    gate.set()
    await server.until(lambda: first.is_closed)
    assert [frame["step_id"] for frame in server.of("result")] == ["step-1", "step-2"]
    assert first.code == 1000
    polls = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.5, polls.set_result, None)
    await polls
    assert len(server.sockets) == 1  # no swapping back while the other serves
    server.online = []
    (await server.socket(2)).execute(4)
    await server.frame("result", step_id="step-4")


@pytest.mark.gen_test(timeout=30)
async def test_stop_finishes_what_is_held_and_closes(server: FakeServer, serve: Serving) -> None:
    gate = threading.Event()

    def handler(task: Task) -> dict[str, int]:
        gate.wait(20)
        return {"n": task.args["n"]}

    module = serve(handler)
    socket = await server.socket()
    socket.execute(1, args={"n": 1})
    await server.frame("ack")
    stopping = asyncio.ensure_future(module.stop())
    await asyncio.sleep(0)
    socket.execute(2, args={"n": 2})  # too late
    socket.ping(b"")
    gate.set()
    await stopping
    await serve.task_of(module)
    await server.until(lambda: socket.is_closed)
    assert [frame["output"] for frame in server.of("result")] == [{"n": 1}]
    assert socket.code == 1000


@pytest.mark.gen_test(timeout=30)
async def test_what_outlasts_the_grace_is_answered_with_a_failure(server: FakeServer, serve: Serving) -> None:
    release = threading.Event()
    flags: list[bool] = []

    def handler(task: Task) -> None:
        release.wait(20)
        flags.append(task.cancelled)

    module = serve(handler)
    socket = await server.socket()
    socket.execute(1)
    socket.execute(2)
    await server.frame("ack", step_id="step-2")
    await module.stop(grace_s=0.05)
    await serve.task_of(module)
    assert [(frame["step_id"], frame["status"]) for frame in server.of("result")] == [("step-1", "failure"), ("step-2", "failure")]
    assert "grace" in server.of("result")[0]["error"]
    release.set()


@pytest.mark.gen_test(timeout=30)
async def test_stop_while_the_server_is_away_returns(server: FakeServer, serve: Serving) -> None:
    await server.stop()
    module = serve(count_calls)
    await asyncio.sleep(0)
    await module.stop()
    await serve.task_of(module)
    await server.start()
    assert server.sockets == []


@pytest.mark.gen_test(timeout=30)
async def test_frames_that_mean_nothing_leave_the_socket_open(server: FakeServer, serve: Serving) -> None:
    serve(count_calls)
    socket = await server.socket()
    texts = ["not json", "[1]", '{"type": "later"}', '{"type": "error", "message": "?"}', '{"type": "cancel"}', "receive result", "{}"]
    for text in texts:
        socket.write_message(text)
    socket.write_message('{"type": "execute", "meta": {"step_id": "odd", "fence": 1}, "args": [1]}')
    assert "args must be an object" in (await server.frame("result", step_id="odd"))["error"]
    socket.execute()
    assert (await server.frame("result", step_id="step-1"))["status"] == "success"


@pytest.mark.gen_test(timeout=60)
async def test_sigterm_drains_a_process(server: FakeServer, tmp_path: Path) -> None:
    script = tmp_path / "slow_module.py"
    script.write_text(
        "import pathlib, time\nfrom zhihui_module import Module\nmodule = Module('slow')\n"
        "@module.handler\ndef run(task):\n"
        "    task.log('begun')\n"
        f"    while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)\n"
        "    return {'done': True}\n"
        "module.run()\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(CLIENT), "ZHIHUI_URL": server.url, "ZHIHUI_MODULE_KEY": "zk_quiet"}
    process = subprocess.Popen([sys.executable, str(script)], env=environ, stderr=subprocess.PIPE)
    try:
        socket = await server.socket()
        socket.execute()
        await server.frame("log")
        process.send_signal(signal.SIGTERM)
        assert process.poll() is None
        (tmp_path / "go").touch()
        assert (await server.frame("result"))["output"] == {"done": True}
        await server.until(lambda: socket.is_closed)
        _, told = await asyncio.to_thread(process.communicate, timeout=20)
        assert process.returncode == 0
        assert socket.code == 1000
        assert b"slow stops" in told
        assert b"zk_quiet" not in told
        assert b"Traceback" not in told
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.gen_test(timeout=60)
async def test_a_second_signal_ends_at_once_though_a_thread_hangs(server: FakeServer, tmp_path: Path) -> None:
    script = tmp_path / "stuck_module.py"
    script.write_text(
        "import threading\nfrom zhihui_module import Module\nmodule = Module('stuck')\n"
        "@module.handler\ndef run(task):\n    task.log('begun')\n    threading.Event().wait()\n"
        "module.run()\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(CLIENT), "ZHIHUI_URL": server.url}
    process = subprocess.Popen([sys.executable, str(script)], env=environ, stderr=subprocess.DEVNULL)
    try:
        (await server.socket()).execute()
        await server.frame("log")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert server.of("result")[0]["status"] == "failure"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.gen_test(timeout=30)
async def test_the_outbox_keeps_the_newest_and_confirms_in_order() -> None:
    outbox = Outbox(limit=2)
    answers = [Answer((f"s{number}", 1), f"frame {number}", is_result=True, again=True) for number in range(3)]
    assert [outbox.put(answer) for answer in answers] == [None, None, answers[0]]
    assert outbox.find(("s0", 1)) is None
    assert outbox.waiting == answers[1:]
    for answer in answers[1:]:
        outbox.mark_sent(answer, 1)
    assert outbox.confirm()
    assert outbox.waiting == [answers[2]]
    assert outbox.find(("s1", 1)) is answers[1]
    outbox.socket_closed()
    assert not outbox.confirm()  # a new socket confirms only what was sent on it
    outbox.mark_sent(answers[2], 2)
    assert outbox.confirm()
    assert outbox.waiting == []
    assert not outbox.confirm()
    once = Answer(("", -1), "frame", is_result=True, again=False)
    outbox.put(once)
    outbox.mark_sent(once, 2)
    assert outbox.waiting == []
    assert outbox.confirm()
    assert outbox.find(("", -1)) is None
