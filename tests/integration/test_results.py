"""What modules say, as it should be and as it should not: no answer costs the socket, a step, or the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from server.dispatch.tables import step_attempts
from tests.contract.waiting import until
from tests.integration.house import House, open_house

pytestmark = pytest.mark.integration


async def evidence(house: House, **where: Any) -> list[dict[str, Any]]:
    return await house.ctx.documents.find("stale_results", where, order=["at"])


@pytest.mark.gen_test(timeout=60)
async def test_frames_that_cannot_be_read_cost_nothing(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        bad: list[Any] = [
            b"\x00\x01",
            "no JSON",
            "[1, 2]",
            {"type": "dance"},
            {"no": "type"},
            {"type": "result", "status": "perhaps"},
            {"type": "log", "lines": "not a list"},
            '{"type": "progress", "percent": ' + "[" * 2000,
        ]
        for frame in bad:
            socket.send(frame)
            assert (await socket.take("error"))["message"], frame
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        await socket.answer(await socket.execution())
        assert (await house.api.ended(run_id))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_frames_about_unknown_steps_are_complained_of_and_results_kept(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        nowhere = {"run_id": "0" * 32, "step_id": "f" * 32, "fence": 1}
        for frame in (
            {"type": "ack", **nowhere},
            {"type": "log", "lines": ["x"], **nowhere},
            {"type": "cancelled", **nowhere},
            {"type": "refused", **nowhere},
        ):
            socket.send(frame)
        for _ in range(3):
            assert (await socket.take("error"))["step_id"] == "f" * 32
        socket.send({"type": "result", "status": "success", "output": {"x": 1}, **nowhere})
        await socket.confirmed()
        (kept,) = await evidence(house, step_id="f" * 32)
        assert kept["verdict"] == "unknown"
        assert kept["module_hash"] == module
        assert kept["frame"]["output"] == {"x": 1}
        assert not socket.is_closed


@pytest.mark.gen_test(timeout=60)
async def test_a_second_answer_is_kept_as_evidence(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m", outputs=["x"])
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        execution = await socket.execution()
        await socket.answer(execution, {"x": 1})
        await socket.answer(execution, {"x": 2})
        await socket.answer(execution, status="failure", error="no, after all")
        run = await house.api.ended(run_id)
        assert (run["state"], run["steps"][0]["output"]) == ("succeeded", {"x": 1})
        kept = await evidence(house, step_id=execution["step_id"])
        assert [one["verdict"] for one in kept] == ["stale", "stale"]
        assert kept[0]["frame"]["output"] == {"x": 2}


@pytest.mark.gen_test(timeout=60)
async def test_a_module_that_never_answers_is_timed_out_asked_to_stop_and_tried_again(data: Path) -> None:
    """Its late answer, under the fence of the first attempt, changes nothing."""
    async with open_house(data) as house:
        module, socket = await house.module("m", outputs=["x"])
        step = {"module_hash": module, "timeout_s": 1, "retry": {"max_attempts": 2, "backoff_s": 0.1}}
        run_id = await house.api.execute(await house.api.workflow("w", [step]))
        first = await socket.execution()
        cancel = await socket.take("cancel")
        assert (cancel["step_id"], cancel["fence"]) == (first["step_id"], 1)
        second = await socket.execution()
        assert (second["step_id"], second["attempt"], second["fence"]) == (first["step_id"], 2, 2)
        await socket.answer(first, {"x": "late"})
        assert (await house.api.run(run_id))["state"] == "dispatched"
        await socket.answer(second, {"x": "right"})
        run = await house.api.ended(run_id)
        assert (run["state"], run["steps"][0]["output"]) == ("succeeded", {"x": "right"})
        assert [(one["attempt"], one["outcome"]) for one in run["steps"][0]["attempts"]] == [(1, "timed_out"), (2, "succeeded")]
        (kept,) = await evidence(house, step_id=first["step_id"])
        assert (kept["verdict"], kept["frame"]["fence"]) == ("stale", 1)


@pytest.mark.gen_test(timeout=60)
async def test_a_step_whose_time_is_up_ends_the_run(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        run_id = await house.api.execute(await house.api.workflow("w", [{"module_hash": module, "timeout_s": 1}]))
        await socket.execution()
        run = await house.api.ended(run_id)
        assert (run["state"], run["steps"][0]["state"]) == ("timed_out", "timed_out")
        assert "deadline" in run["error"]


@pytest.mark.gen_test(timeout=60)
async def test_the_time_of_a_step_counts_from_its_start_in_the_module(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        run_id = await house.api.execute(await house.api.workflow("w", [{"module_hash": module, "timeout_s": 2}]))
        execution = await socket.execution()
        sent_until = execution["deadline"]

        async def deadline() -> Any:
            return (await house.api.step(run_id))["deadline"]

        socket.say("ack", execution, started=True)

        async def later() -> bool:
            return bool(await deadline() > sent_until)

        await until(later)
        await socket.answer(execution)
        assert (await house.api.ended(run_id))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_a_failure_is_tried_again_after_its_backoff(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        step = {"module_hash": module, "retry": {"max_attempts": 3, "backoff_s": 0.2}}
        run_id = await house.api.execute(await house.api.workflow("w", [step]))
        for number in (1, 2, 3):
            execution = await socket.execution()
            assert (execution["attempt"], execution["fence"]) == (number, number)
            await socket.answer(execution, status="failure", error=f"failure {number}", message="m")
        run = await house.api.ended(run_id)
        (step,) = run["steps"]
        assert (run["state"], step["error"]) == ("failed", "failure 3")
        attempts = step["attempts"]
        assert [(one["attempt"], one["fence"], one["outcome"]) for one in attempts] == [(n, n, "failed") for n in (1, 2, 3)]
        assert [one["error"] for one in attempts] == ["failure 1", "failure 2", "failure 3"]
        # 0.2 s, doubled from try to try, give or take a fifth
        waits = [_seconds(before["ended_at"], after["dispatched_at"]) for before, after in pairwise(attempts)]
        assert waits[0] >= 0.16
        assert waits[1] >= 0.32


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


@pytest.mark.gen_test(timeout=60)
async def test_a_result_that_lacks_what_a_later_step_needs_is_a_failure(data: Path) -> None:
    async with open_house(data) as house:
        giver, giving = await house.module("giver", outputs=["price"])
        taker, _ = await house.module("taker", inputs=["price"])
        run_id = await house.api.execute(await house.api.workflow("w", [giver, taker]))
        await giving.answer(await giving.execution(), {"prise": 1})
        run = await house.api.ended(run_id)
        assert run["state"] == "failed"
        assert "lacks price" in run["error"]
        assert [step["state"] for step in run["steps"]] == ["failed", "skipped"]


@pytest.mark.gen_test(timeout=60)
async def test_an_inherited_client_settles_its_oldest_step_of_the_workflow(data: Path) -> None:
    async with open_house(data) as house:
        module = await house.api.register("old")
        socket = await house.connect(module, protocol=1)
        one = await house.api.workflow("one", [module], overlap="parallel")
        two = await house.api.workflow("two", [module], overlap="parallel")
        runs = [await house.api.execute(workflow) for workflow in (one, two, one, two)]
        for _ in runs:
            await socket.execution()

        async def result(workflow: int | None, **more: Any) -> None:
            named = {"workflow_id": str(workflow), "workflow_name": "…"} if workflow else {}
            socket.send({"type": "result", "status": "success", "module_name": "old", "error": "", "message": "ok", **named, **more})
            await socket.confirmed()

        async def states() -> list[str]:
            return [(await house.api.run(run_id))["state"] for run_id in runs]

        await result(two)
        assert await states() == ["dispatched", "succeeded", "dispatched", "dispatched"]
        await result(None)  # not even the workflow is named
        assert await states() == ["succeeded", "succeeded", "dispatched", "dispatched"]
        await result(two, status="failure", error="it broke")
        assert await states() == ["succeeded", "succeeded", "dispatched", "failed"]
        await result(one, output=[1, 2])
        assert await states() == ["succeeded", "succeeded", "succeeded", "failed"]
        assert (await house.api.run(runs[2]))["steps"][0]["output"] == {"output": [1, 2]}
        await result(one)
        assert [kept["verdict"] for kept in await evidence(house)] == ["unknown"]
        assert not await house.rows(step_attempts)


@pytest.mark.gen_test(timeout=60)
async def test_progress_and_log_lines_are_seen_while_the_step_runs(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        execution = await socket.execution()
        socket.say("progress", execution, percent=40, message="halfway")
        for start in range(0, 300, 100):
            socket.say("log", execution, level="info", lines=[f"line {number}" for number in range(start, start + 100)])
        socket.say("log", execution, level="error", lines=["the last"])

        async def step_shows(holds: Callable[[dict[str, Any]], bool]) -> None:
            async def shown() -> bool:
                return holds(await house.api.step(run_id))

            await until(shown)

        await step_shows(lambda step: step["progress"] == 40 and step["log_lines"] == 301 and len(step["logs"]) == 100)
        step = await house.api.step(run_id)
        assert (step["state"], step["progress_message"]) == ("running", "halfway")
        assert (step["logs"][-1]["n"], step["logs"][-1]["level"], step["logs"][-1]["text"]) == (300, "error", "the last")
        address = f"/run/{run_id}/logs?step_id={step['id']}"
        chunk = await house.api.get(f"{address}&offset=150&limit=100")
        assert [line["text"] for line in chunk["lines"]] == [f"line {number}" for number in range(150, 250)]
        assert (chunk["next_offset"], chunk["total"], chunk["ended"]) == (250, 301, False)
        await socket.answer(execution)
        rest = await house.api.get(f"{address}&offset=250&limit=5000")
        assert [line["n"] for line in rest["lines"]] == list(range(250, 301))
        assert (rest["next_offset"], rest["ended"]) == (301, True)
        assert (await house.api.step(run_id))["progress"] == 100


@pytest.mark.gen_test(timeout=60)
async def test_results_that_come_all_at_once_are_each_confirmed(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m", outputs=["n"])
        workflow = await house.api.workflow("w", [module], overlap="parallel")
        runs = [await house.api.execute(workflow) for _ in range(30)]
        executions = [await socket.execution() for _ in runs]
        for number, execution in enumerate(executions):
            socket.say("result", execution, status="success", output={"n": number})
        for _ in executions:
            await socket.confirmed()
        for number, execution in enumerate(executions):
            assert (await house.api.run(execution["run_id"]))["steps"][0]["output"] == {"n": number}


@pytest.mark.gen_test(timeout=60)
async def test_a_frame_over_one_mebibyte_ends_the_socket_and_the_step_waits_for_its_process(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        execution = await socket.execution()
        socket.send(json.dumps({"type": "result", "status": "success", "output": {"x": "x" * (1 << 20)}}))
        assert await socket.closed() == 1009
        again = await house.connect(module)
        assert (await again.execution())["fence"] == 1
        await again.answer(execution)
        assert (await house.api.ended(run_id))["state"] == "succeeded"
