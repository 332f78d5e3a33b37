"""Runs from end to end: order, overlap, branches, cancelling, retrying, and outputs that are too large for a frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from server.dispatch import progressing
from server.dispatch.definitions import Definitions
from tests.contract.waiting import until
from tests.integration.house import House, open_house
from zhihui_module import AsyncTask, Module

pytestmark = pytest.mark.integration


async def states(house: House, runs: list[str]) -> list[str]:
    return [(await house.api.run(run_id))["state"] for run_id in runs]


@pytest.mark.gen_test(timeout=60)
async def test_overlap_queue_runs_one_after_the_other(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        workflow = await house.api.workflow("w", [module], overlap="queue")
        runs = [await house.api.execute(workflow) for _ in range(4)]
        assert await states(house, runs) == ["dispatched", "queued", "queued", "queued"]
        for run_id in runs:
            execution = await socket.execution()
            assert execution["run_id"] == run_id
            assert not [frame for frame in socket.frames if frame["type"] == "execute"]
            await socket.answer(execution)
        assert await states(house, runs) == ["succeeded"] * 4


@pytest.mark.gen_test(timeout=60)
async def test_overlap_skip_refuses_while_one_is_going(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        workflow = await house.api.workflow("w", [module], overlap="skip")
        await house.api.execute(workflow)
        refused = await house.api.post(f"/workflow/{workflow}/execute", status=409)
        assert refused["type"] == "workflow_busy"
        await socket.answer(await socket.execution())
        await house.api.execute(workflow)


@pytest.mark.gen_test(timeout=60)
async def test_overlap_parallel_runs_side_by_side(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        workflow = await house.api.workflow("w", [module], overlap="parallel")
        runs = [await house.api.execute(workflow) for _ in range(3)]
        executions = [await socket.execution() for _ in runs]
        assert await states(house, runs) == ["dispatched"] * 3
        for execution in reversed(executions):
            await socket.answer(execution)
        assert await states(house, runs) == ["succeeded"] * 3


@pytest.mark.gen_test(timeout=60)
async def test_overlap_cancel_previous_asks_it_to_stop_and_takes_its_turn(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        workflow = await house.api.workflow("w", [module], overlap="cancel_previous")
        first = await house.api.execute(workflow)
        execution = await socket.execution()
        second = await house.api.execute(workflow)
        third = await house.api.execute(workflow)
        await socket.take("cancel")
        assert await states(house, [first, second, third]) == ["dispatched", "cancelled", "queued"]
        socket.say("cancelled", execution)
        last = await socket.execution()
        assert last["run_id"] == third
        await socket.answer(last)
        assert await states(house, [first, second, third]) == ["cancelled", "cancelled", "succeeded"]
        assert "newer run" in (await house.api.run(first))["cancel_reason"]


@pytest.mark.gen_test(timeout=60)
async def test_a_cancel_that_is_confirmed(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        after, _ = await house.module("after")
        workflow = await house.api.workflow("w", [{"module_hash": module, "name": "a"}, {"module_hash": after, "depends_on": ["a"]}])
        run_id = await house.api.execute(workflow)
        execution = await socket.execution()
        asked = await house.api.post(f"/run/{run_id}/cancel", {"reason": "not needed"})
        assert asked["state"] == "dispatched"
        assert (await socket.take("cancel"))["fence"] == 1
        socket.say("cancelled", execution)
        run = await house.api.ended(run_id)
        assert (run["state"], run["cancel_reason"]) == ("cancelled", "not needed")
        assert [(step["state"], step["cancel_confirmed"]) for step in run["steps"]] == [("cancelled", True), ("cancelled", None)]
        assert (await house.api.post(f"/run/{run_id}/cancel", status=409))["type"] == "run_ended"


@pytest.mark.gen_test(timeout=60)
async def test_a_cancel_that_nobody_confirms_says_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progressing, "CANCEL_GRACE", timedelta(seconds=0.5))
    async with open_house(data) as house:
        module, socket = await house.module("m")
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        execution = await socket.execution()
        await house.api.post(f"/run/{run_id}/cancel")
        run = await house.api.ended(run_id)
        assert run["state"] == "cancelled"
        assert (run["steps"][0]["cancel_confirmed"], run["steps"][0]["error"]) == (False, "the module did not confirm that it stopped")
        await socket.answer(execution)
        assert (await house.api.run(run_id))["state"] == "cancelled"
        assert len(await house.ctx.documents.find("stale_results", {"step_id": execution["step_id"]})) == 1


@pytest.mark.gen_test(timeout=60)
async def test_a_module_that_finishes_in_spite_of_a_cancel_keeps_its_outcome(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        execution = await socket.execution()
        await house.api.post(f"/run/{run_id}/cancel")
        await socket.answer(execution)
        run = await house.api.ended(run_id)
        assert (run["state"], run["steps"][0]["state"]) == ("cancelled", "succeeded")


async def three_levels(house: House) -> tuple[int, dict[str, Any]]:
    """root → left, right → leaf_left (of left), leaf_right (of right), join (of both leaves)."""
    sockets = {}
    steps = []
    wants = {"root": [], "left": ["root"], "right": ["root"], "leaf_left": ["left"], "leaf_right": ["right"]}
    for name, before in {**wants, "join": ["leaf_left", "leaf_right"]}.items():
        module, sockets[name] = await house.module(name, inputs=[f"{one}_out" for one in before], outputs=[f"{name}_out"])
        steps.append({"module_hash": module, "name": name})
    return await house.api.workflow("dag", steps), sockets


@pytest.mark.gen_test(timeout=60)
async def test_three_levels_pass_their_outputs_on(data: Path) -> None:
    async with open_house(data) as house:
        workflow, sockets = await three_levels(house)
        run_id = await house.api.execute(workflow)
        for level in (["root"], ["left", "right"], ["leaf_left", "leaf_right"], ["join"]):
            executions = {name: await sockets[name].execution() for name in level}
            for name, execution in executions.items():
                assert len(execution["args"]) == {"root": 0, "join": 2}.get(name, 1)
                await sockets[name].answer(execution, {f"{name}_out": [name, *execution["args"].values()]})
        run = await house.api.ended(run_id)
        assert run["state"] == "succeeded"
        assert run["steps"][-1]["args"] == {
            "leaf_left_out": ["leaf_left", ["left", ["root"]]],
            "leaf_right_out": ["leaf_right", ["right", ["root"]]],
        }


@pytest.mark.gen_test(timeout=60)
async def test_a_failing_branch_skips_what_needs_it_and_the_other_goes_on(data: Path) -> None:
    async with open_house(data) as house:
        workflow, sockets = await three_levels(house)
        run_id = await house.api.execute(workflow)
        await sockets["root"].answer(await sockets["root"].execution(), {"root_out": 1})
        await sockets["left"].answer(await sockets["left"].execution(), status="failure", error="left broke")
        await sockets["right"].answer(await sockets["right"].execution(), {"right_out": 2})
        await sockets["leaf_right"].answer(await sockets["leaf_right"].execution(), {"leaf_right_out": 3})
        run = await house.api.ended(run_id)
        assert (run["state"], run["error"]) == ("failed", "left: left broke")
        found = {step["name"]: step["state"] for step in run["steps"]}
        done = {"root": "succeeded", "right": "succeeded", "leaf_right": "succeeded"}
        assert found == {**done, "left": "failed", "leaf_left": "skipped", "join": "skipped"}

        again = await house.api.post(f"/run/{run_id}/retry", {"from": "failed"})
        assert (again["kind"], again["retry_of"]) == ("retry", run_id)
        assert {step["name"]: step["state"] for step in again["steps"] if step["state"] == "succeeded"} == done
        execution = await sockets["left"].execution()
        assert execution["args"] == {"root_out": 1}
        assert execution["execution_time"] == run["execution_time"]
        await sockets["left"].answer(execution, {"left_out": 4})
        await sockets["leaf_left"].answer(await sockets["leaf_left"].execution(), {"leaf_left_out": 5})
        join = await sockets["join"].execution()
        assert join["args"] == {"leaf_left_out": 5, "leaf_right_out": 3}
        await sockets["join"].answer(join, {"join_out": 6})
        assert (await house.api.ended(again["run_id"]))["state"] == "succeeded"
        for name in done:
            assert not [frame for frame in sockets[name].frames if frame["type"] == "execute"], name


@pytest.mark.gen_test(timeout=60)
async def test_a_retry_from_the_start_runs_everything_with_the_args_of_then(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m", inputs=[{"name": "symbol", "type": "string"}])
        workflow = await house.api.workflow("w", [{"module_hash": module, "args": {"symbol": "default"}}])
        run_id = await house.api.execute(workflow, symbol="600519")
        assert (await house.api.post(f"/run/{run_id}/retry", status=409))["type"] == "run_going"
        await socket.answer(await socket.execution())
        again = await house.api.post(f"/run/{run_id}/retry", {"from": "start"})
        execution = await socket.execution()
        assert (execution["run_id"], execution["args"]) == (again["run_id"], {"symbol": "600519"})
        await socket.answer(execution)


@asynccontextmanager
async def served(*clients: Module) -> AsyncIterator[None]:
    """Modules of the client package, on the test's loop."""
    serving = [asyncio.create_task(client.serve()) for client in clients]
    try:
        for client in clients:
            await client.wait_connected()
        yield
    finally:
        for client in clients:
            await client.stop(5)
        await asyncio.gather(*serving)


@pytest.mark.holds_loop  # the client turns large values into JSON on this loop, too
@pytest.mark.gen_test(timeout=60)
async def test_outputs_of_any_size_arrive_at_the_next_step(data: Path) -> None:
    """Under 256 KiB within the frame, above that as a file, above 1 MiB by an upload of the client."""
    sizes = {"small": 1_000, "medium": 400_000, "large": 3_000_000}
    outputs = [{"name": name, "type": "string"} for name in sizes]
    async with open_house(data) as house:
        giver = Module("giver", url=house.url, outputs=outputs)
        taker = Module("taker", url=house.url, inputs=outputs, outputs=[{"name": "lengths", "type": "object"}])

        @giver.handler
        async def give(_task: AsyncTask) -> dict[str, str]:
            return {name: name[0] * size for name, size in sizes.items()}

        @taker.handler
        async def take(task: AsyncTask) -> dict[str, Any]:
            return {"lengths": {name: [len(value), value[:2]] for name, value in task.args.items()}}

        async with served(giver, taker):
            steps = [await house.api.register(name, inputs=i, outputs=o) for name, i, o in _declared(outputs)]
            run = await house.api.ended(await house.api.execute(await house.api.workflow("w", steps)))
            assert run["state"] == "succeeded", run["error"]
            assert run["steps"][1]["output"]["lengths"] == {name: [size, name[0] * 2] for name, size in sizes.items()}
            given = run["steps"][0]["output"]
            assert given["small"] == "s" * 1_000
            for name in ("medium", "large"):
                assert set(given[name]) == {"$file"}
                assert given[name]["$file"]["size"] == sizes[name] + 2  # its JSON
                answer = await house.api.fetch("GET", given[name]["$file"]["url"].removeprefix(house.url))
                assert (answer.code, len(answer.body)) == (200, sizes[name] + 2)


def _declared(outputs: list[dict[str, str]]) -> list[tuple[str, list[Any], list[Any]]]:
    return [("giver", [], outputs), ("taker", outputs, [{"name": "lengths", "type": "object"}])]


@pytest.mark.gen_test(timeout=60)
async def test_a_raw_output_over_256_kib_is_put_away_by_the_server(data: Path) -> None:
    async with open_house(data) as house:
        giver, giving = await house.module("giver", outputs=["text"])
        taker, taking = await house.module("taker", inputs=["text"])
        run_id = await house.api.execute(await house.api.workflow("w", [giver, taker]))
        await giving.answer(await giving.execution(), {"text": "x" * 300_000})
        execution = await taking.execution()
        reference = execution["args"]["text"]["$file"]
        answer = await house.api.fetch("GET", reference["url"].removeprefix(house.url))
        assert answer.body == b'"' + b"x" * 300_000 + b'"'
        await taking.answer(execution)
        assert (await house.api.ended(run_id))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_a_handler_of_the_client_that_is_asked_to_stop_stops(data: Path) -> None:
    async with open_house(data) as house:
        client = Module("slow", url=house.url)
        begun = asyncio.Event()

        @client.handler
        async def work(task: AsyncTask) -> None:
            task.log("begun")
            begun.set()
            await asyncio.Event().wait()

        async with served(client):
            run_id = await house.api.execute(await house.api.workflow("w", [await house.api.register("slow")]))
            await begun.wait()

            async def runs() -> bool:
                step = await house.api.step(run_id)
                return step["state"] == "running" and [line["text"] for line in step["logs"]] == ["begun"]

            await until(runs)
            await house.api.post(f"/run/{run_id}/cancel")
            run = await house.api.ended(run_id)
            assert (run["state"], run["steps"][0]["cancel_confirmed"]) == ("cancelled", True)


@pytest.mark.gen_test(timeout=60)
async def test_an_edit_while_a_definition_is_read_is_neither_missed_nor_taken_for_a_removal(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(data) as house:
        module = await house.api.register("m")
        one, two = [await house.api.workflow(name, [module]) for name in ("one", "two")]
        definitions = house.ctx.services.get(Definitions)
        await definitions.get(one)
        definitions._forget(two)  # whoever else has asked for it meanwhile
        read, reading, go_on = house.ctx.sql.read, asyncio.Event(), asyncio.Event()

        async def slow(transaction: Any) -> Any:
            found = await read(transaction)
            if asyncio.current_task() is getting and not reading.is_set():
                reading.set()
                await go_on.wait()
            return found

        monkeypatch.setattr(house.ctx.sql, "read", slow)
        getting = asyncio.create_task(definitions.get_many([one, two]))
        await reading.wait()
        for number in (one, two):
            body = {"name": f"edited {number}", "execute_modules": [{"module_hash": module}]}
            await house.api.ask("PUT", f"/workflow/{number}", body)
        go_on.set()
        assert set(await getting) == {one, two}
        assert {found.name for found in (await definitions.get_many([one, two])).values()} == {f"edited {one}", f"edited {two}"}
