"""Progress and log lines: batched, cut, in order, and complete before the result."""

from __future__ import annotations

import asyncio
import threading

import pytest
from fake_module_server import FakeServer
from module_serving import Serving

from zhihui_module import AsyncTask, Task
from zhihui_module.reporting import MAX_KEPT_LINES, Reporter


@pytest.mark.gen_test(timeout=30)
async def test_lines_travel_while_the_handler_works(server: FakeServer, serve: Serving) -> None:
    seen = threading.Event()

    def handler(task: Task) -> None:
        task.progress(40, "half")
        task.log("first\nsecond")
        task.log("third", level="warning")
        assert seen.wait(20)
        task.progress(100)

    serve(handler)
    (await server.socket()).execute()
    progress = await server.frame("progress")
    assert (progress["percent"], progress["message"], progress["run_id"], progress["fence"]) == (40, "half", "run-1", 1)
    info, warning = await server.frame("log"), await server.frame("log", number=2)
    assert (info["level"], info["lines"]) == ("info", ["first", "second"])
    assert (warning["level"], warning["lines"]) == ("warning", ["third"])
    seen.set()
    await server.frame("result")
    assert server.of("progress")[-1]["percent"] == 100
    assert server.frames[-1]["type"] == "result"


@pytest.mark.gen_test(timeout=30)
async def test_many_and_long_lines_arrive_whole_and_in_order(server: FakeServer, serve: Serving) -> None:
    async def handler(task: AsyncTask) -> None:
        for number in range(250):
            task.log(f"{number} " + "行" * 4000)
        for percent in range(101):
            task.progress(percent)

    serve(handler)
    (await server.socket()).execute()
    await server.frame("result")
    batches = [frame["lines"] for frame in server.of("log")]
    lines = [line for batch in batches for line in batch]
    assert [int(line.split()[0]) for line in lines] == list(range(250))
    assert max(len(batch) for batch in batches) <= 100
    assert all(len(line.encode()) <= 8192 and line.endswith("…") for line in lines)
    assert max(len(text.encode()) for text in server.texts) <= 1024 * 1024
    percents = [frame["percent"] for frame in server.of("progress")]
    assert percents[-1] == 100
    assert percents == sorted(percents)
    assert len(percents) < 50


@pytest.mark.gen_test(timeout=30)
async def test_wrong_levels_and_percents_are_the_handlers_error(server: FakeServer, serve: Serving) -> None:
    def handler(task: Task) -> dict[str, list[str]]:
        told = []
        for wrong in (101, -1, float("nan"), "40", None, True):
            with pytest.raises(ValueError, match="percent:"):
                task.progress(wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="level:") as error:
            task.log("x", level="loud")
        told.append(str(error.value))
        return {"told": told}

    serve(handler)
    (await server.socket()).execute()
    result = await server.frame("result")
    assert result["status"] == "success"
    assert "'loud' is not one of" in result["output"]["told"][0]


@pytest.mark.gen_test(timeout=30)
async def test_while_the_socket_is_away_lines_are_kept_up_to_a_bound() -> None:
    sent: list[str] = []
    is_open = False

    def send(frame: str) -> bool:
        if is_open:
            sent.append(frame)
        return is_open

    reporter = Reporter(',"step_id":"s"', send, asyncio.get_running_loop(), threading.get_ident())
    for number in range(MAX_KEPT_LINES + 5):
        reporter.log("info", f"line {number}")
    reporter.progress(10, "")
    reporter.progress(20, "")
    is_open = True
    reporter.flush()
    assert '"percent":20' in sent[0]
    assert '"percent":10' not in "".join(sent)
    assert "5 log lines were dropped" in sent[1]
    assert '"line 5"' in sent[2]
    assert '"line 4"' not in "".join(sent)
    assert f'"line {MAX_KEPT_LINES + 4}"' in sent[-1]
    assert reporter.close() == []
    reporter.log("info", "too late")
    assert reporter.close() == []
