"""An execution comes in, a result goes out: sync and async handlers, failures, outputs, order, cancelling."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from fake_module_server import FakeServer
from module_serving import Serving

from zhihui_module import AsyncTask, Task

IDS = {"run_id": "run-1", "step_id": "step-1", "fence": 1}


@pytest.mark.gen_test(timeout=30)
async def test_an_async_handler_answers_with_its_output(server: FakeServer, serve: Serving) -> None:
    async def handler(task: AsyncTask) -> dict[str, Any]:
        return {"时间": task.meta.execution_time, "year": task.meta.when.year, "n": task.args["n"] + 1, "attempt": task.meta.attempt}

    serve(handler, name="价格", outputs=[{"name": name} for name in ("时间", "year", "n", "attempt")])
    socket = await server.socket()
    socket.execute(args={"n": 41})
    result = await server.frame("result")
    assert result == {
        "type": "result",
        "status": "success",
        "workflow_id": "7",
        "workflow_name": "日报",
        "module_name": "价格",
        "error": "",
        "message": "done",
        **IDS,
        "output": {"时间": "2024-01-01T10:00:00", "year": 2024, "n": 42, "attempt": 1},
    }
    assert server.of("ack") == []
    assert server.of("log") == []


@pytest.mark.gen_test(timeout=30)
async def test_a_sync_handler_runs_beside_the_loop_and_is_acknowledged(server: FakeServer, serve: Serving) -> None:
    go_on = threading.Event()
    threads: list[threading.Thread] = []

    def handler(task: Task) -> None:
        threads.append(threading.current_thread())
        go_on.wait(20)

    serve(handler)
    (await server.socket()).execute()
    assert await server.frame("ack") == {"type": "ack", **IDS, "started": True}  # the loop was free to send it
    assert server.of("result") == []
    go_on.set()
    assert (await server.frame("result"))["status"] == "success"
    assert threads[0] is not threading.main_thread()
    assert threads[0].daemon


@pytest.mark.gen_test(timeout=30)
async def test_an_exception_is_a_failure_with_its_traceback_in_the_log(server: FakeServer, serve: Serving) -> None:
    def handler(task: Task) -> None:
        task.log("before")
        raise LookupError("no such symbol: 没有")

    serve(handler)
    (await server.socket()).execute()
    result = await server.frame("result")
    assert (result["status"], result["error"], result["output"]) == ("failure", "no such symbol: 没有", {})
    assert result["message"] == "LookupError: no such symbol: 没有"
    kinds = [frame["type"] for frame in server.frames]
    assert kinds == ["log", "log", "result"]  # every line before the result
    assert server.frames[0]["lines"] == ["before"]
    assert server.frames[0]["step_id"] == "step-1"
    assert server.frames[0]["fence"] == 1
    assert server.frames[1]["level"] == "error"
    assert server.frames[1]["lines"][-1].endswith("no such symbol: 没有")
    assert len(server.frames[1]["lines"]) <= 20


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ({"other": 1}, "declared outputs are missing: price"),
        (None, "declared outputs are missing: price"),
        ([1], "must return an object of outputs by name, not list"),
        ({"price": float("nan")}, "output 'price' is not JSON"),
        ({"price": {1, 2}}, "output 'price' is not JSON"),
        ({"price": "\ud800"}, "output 'price' is not JSON"),
        ({"price": [{1, 2}] * 5000}, "output 'price' is not JSON"),
    ],
)
@pytest.mark.gen_test(timeout=30)
async def test_an_output_that_cannot_be_is_a_failure_that_names_it(server: FakeServer, serve: Serving, output: Any, told: str) -> None:
    serve(lambda task: output, outputs=[{"name": "price"}, {"name": "note", "required": False}])
    (await server.socket()).execute()
    result = await server.frame("result")
    assert result["status"] == "failure"
    assert told in result["error"]


@pytest.mark.gen_test(timeout=30)
async def test_an_output_that_is_not_declared_is_sent_and_told_in_the_log(server: FakeServer, serve: Serving) -> None:
    serve(lambda task: {"price": 1, "extra": 2}, outputs=[{"name": "price"}])
    (await server.socket()).execute()
    assert (await server.frame("result"))["output"] == {"price": 1, "extra": 2}
    (log,) = server.of("log")
    assert log["level"] == "warning"
    assert "'extra' is not declared" in log["lines"][0]


@pytest.mark.gen_test(timeout=30)
async def test_executions_wait_their_turn_and_run_in_order(server: FakeServer, serve: Serving) -> None:
    running: list[str] = []
    most = 0
    gate = asyncio.Event()

    async def handler(task: AsyncTask) -> None:
        nonlocal most
        running.append(task.args["n"])
        most = max(most, len(running) - len(server.of("result")))
        await gate.wait()

    serve(handler)
    socket = await server.socket()
    for step in (1, 2, 3):
        socket.execute(step, args={"n": step})
    for step in (1, 2, 3):  # those that wait are acknowledged too
        await server.frame("ack", step_id=f"step-{step}")
    assert running == [1]
    gate.set()
    await server.frame("result", number=3)
    assert running == [1, 2, 3]
    assert [frame["step_id"] for frame in server.of("result")] == ["step-1", "step-2", "step-3"]


@pytest.mark.gen_test(timeout=30)
async def test_concurrency_lets_that_many_run(server: FakeServer, serve: Serving) -> None:
    together = threading.Barrier(3, timeout=20)
    serve(lambda task: {"place": together.wait()}, concurrency=3)
    socket = await server.socket()
    for step in (1, 2, 3):
        socket.execute(step)
    await server.frame("result", number=3)
    assert sorted(frame["output"]["place"] for frame in server.of("result")) == [0, 1, 2]


@pytest.mark.gen_test(timeout=30)
async def test_cancelling_an_async_handler_interrupts_it(server: FakeServer, serve: Serving) -> None:
    cleaned: list[bool] = []

    async def handler(task: AsyncTask) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            cleaned.append(task.cancelled)

    serve(handler)
    socket = await server.socket()
    socket.execute()
    await server.frame("ack")
    socket.cancel()
    assert await server.frame("cancelled") == {"type": "cancelled", **IDS}
    assert cleaned == [True]
    assert server.of("result") == []
    socket.cancel()  # asked again: the same answer
    await server.frame("cancelled", number=2)


@pytest.mark.gen_test(timeout=30)
async def test_cancelling_a_sync_handler_sets_its_flag(server: FakeServer, serve: Serving) -> None:
    looked = threading.Event()

    def handler(task: Task) -> None:
        while not looked.wait(0.005):
            task.raise_if_cancelled()

    serve(handler)
    socket = await server.socket()
    socket.execute()
    await server.frame("ack")
    socket.cancel()
    await server.frame("cancelled", **IDS)
    assert server.of("result") == []


@pytest.mark.gen_test(timeout=30)
async def test_a_sync_handler_that_ignores_the_flag_finishes(server: FakeServer, serve: Serving) -> None:
    flag_seen, go_on = threading.Event(), threading.Event()

    def handler(task: Task) -> dict[str, bool]:
        while not task.cancelled:
            go_on.wait(0.005)
        flag_seen.set()
        return {"finished": True}

    serve(handler)
    socket = await server.socket()
    socket.execute()
    await server.frame("ack")
    socket.cancel()
    assert (await server.frame("result"))["output"] == {"finished": True}
    assert flag_seen.is_set()
    assert server.of("cancelled") == []


@pytest.mark.gen_test(timeout=30)
async def test_cancelling_before_the_handler_began(server: FakeServer, serve: Serving) -> None:
    began: list[int] = []
    gate = asyncio.Event()

    async def handler(task: AsyncTask) -> None:
        began.append(task.args["n"])
        await gate.wait()

    serve(handler)
    socket = await server.socket()
    socket.execute(9, args={"n": 9})
    socket.cancel(9)  # may be read in the same breath as the execution
    await server.frame("cancelled", step_id="step-9")
    socket.execute(1, args={"n": 1})
    socket.execute(2, args={"n": 2})
    await server.frame("ack", step_id="step-2")
    socket.cancel(2)  # still in the queue
    await server.frame("cancelled", step_id="step-2")
    socket.cancel(5)  # never seen here, such as after a restart: nothing runs
    await server.frame("cancelled", step_id="step-5", run_id="run-5", fence=1)
    gate.set()
    await server.frame("result", step_id="step-1")
    assert 2 not in began


@pytest.mark.gen_test(timeout=30)
async def test_a_handler_that_gives_up_unasked_fails(server: FakeServer, serve: Serving) -> None:
    async def handler(task: AsyncTask) -> None:
        raise asyncio.CancelledError

    serve(handler)
    (await server.socket()).execute()
    assert (await server.frame("result"))["message"] == "CancelledError"


@pytest.mark.gen_test(timeout=30)
async def test_exit_in_a_handler_is_a_failure_not_the_end(server: FakeServer, serve: Serving) -> None:
    def handler(task: Task) -> None:
        raise SystemExit("wrong settings")

    serve(handler)
    socket = await server.socket()
    socket.execute(1)
    socket.execute(2)
    await server.frame("result", step_id="step-2", error="wrong settings")


@pytest.mark.gen_test(timeout=30)
async def test_a_server_that_knows_no_steps_gets_plain_results(server: FakeServer, serve: Serving) -> None:
    def handler(task: Task) -> dict[str, int]:
        task.log("not for this server")
        task.progress(50)
        return {"n": 1}

    serve(handler)
    socket = await server.socket()
    for _ in range(2):
        socket.write_message('{"type": "execute", "meta": {"execution_time": "2024-01-01T10:00:00", "workflow_id": 7}, "args": {}}')
    await server.frame("result", number=2)
    assert [sorted(frame) for frame in server.frames] == [
        sorted(["type", "status", "workflow_id", "workflow_name", "module_name", "error", "message", "output"])
    ] * 2
