"""Module sockets: served, swapped, drained, noticed when they are gone, and found again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from tornado.httpclient import HTTPClientError
from tornado.iostream import IOStream
from tornado.tcpclient import TCPClient

from server.dispatch.hub import Hub
from server.dispatch.presence import Presence
from server.dispatch.tables import modules, step_attempts, steps
from tests.contract.waiting import until
from tests.integration.house import House, open_house
from tests.integration.module_socket import ModuleSocket
from zhihui_module import AsyncTask, Module

pytestmark = pytest.mark.integration


@pytest.mark.gen_test(timeout=60)
async def test_a_module_registers_connects_and_executes(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("prices", outputs=["stock_price"])
        assert await house.api.register("prices", outputs=["stock_price"]) == module
        workflow = await house.api.workflow("w", [{"module_hash": module, "args": {"symbol": "600519"}, "timeout_s": 60}])
        run_id = await house.api.execute(workflow)
        execution = await socket.execution()
        assert execution["run_id"] == run_id
        assert execution["workflow_id"] == str(workflow)
        assert execution["workflow_name"] == "w"
        assert (execution["attempt"], execution["fence"]) == (1, 1)
        assert execution["args"] == {"symbol": "600519"}
        assert (await house.api.run(run_id))["execution_time"] == execution["execution_time"]
        socket.say("ack", execution)
        await until(lambda: _state(house, run_id, "running"))
        await socket.answer(execution, {"stock_price": [1, 2]}, message="done")
        run = await house.api.ended(run_id)
        assert run["state"] == "succeeded"
        (step,) = run["steps"]
        assert (step["output"], step["message"], step["state"]) == ({"stock_price": [1, 2]}, "done", "succeeded")
        assert [attempt["outcome"] for attempt in step["attempts"]] == ["succeeded"]


async def _state(house: House, run_id: str, state: str) -> bool:
    return bool((await house.api.run(run_id))["state"] == state)


@pytest.mark.gen_test(timeout=60)
async def test_an_unknown_hash_is_refused_before_the_upgrade(data: Path) -> None:
    async with open_house(data) as house:
        with pytest.raises(HTTPClientError) as refused:
            await ModuleSocket.open(house.url, "0" * 32)
        assert refused.value.code == 403


@pytest.mark.gen_test(timeout=60)
async def test_a_second_connection_takes_all_new_work_and_the_first_drains(data: Path) -> None:
    async with open_house(data) as house:
        module, old = await house.module("m")
        workflow = await house.api.workflow("w", [module], overlap="parallel")
        first = await house.api.execute(workflow)
        held = await old.execution()
        new = await house.connect(module, process="p2")
        await old.take("drain")
        runs = [await house.api.execute(workflow) for _ in range(5)]
        for _ in runs:
            await new.answer(await new.execution())
        for run_id in runs:
            assert (await house.api.ended(run_id))["state"] == "succeeded"
        assert not old.is_closed
        assert not [frame for frame in old.frames if frame["type"] == "execute"]
        assert not await _state(house, first, "succeeded")
        await old.answer(held)
        assert await old.closed() == 1012
        assert (await house.api.ended(first))["state"] == "succeeded"
        assert module in await house.api.online()


@pytest.mark.gen_test(timeout=60)
async def test_an_idle_connection_that_is_replaced_closes_at_once(data: Path) -> None:
    async with open_house(data) as house:
        module, old = await house.module("m")
        await house.connect(module, process="p2")
        await old.take("drain")
        assert await old.closed(timeout_s=10) == 1012


@pytest.mark.gen_test(timeout=60)
async def test_a_drain_has_an_end_and_the_step_goes_to_the_successor(data: Path) -> None:
    async with open_house(data, hot_swap_grace_s=1) as house:
        module, old = await house.module("m")
        workflow = await house.api.workflow("w", [{"module_hash": module, "retry": {"max_attempts": 2, "backoff_s": 0}}])
        run_id = await house.api.execute(workflow)
        await old.execution()
        new = await house.connect(module, process="p2")
        assert await old.closed() == 1012
        again = await new.execution()
        assert (again["attempt"], again["fence"]) == (2, 2)
        await new.answer(again)
        assert (await house.api.ended(run_id))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_work_begun_while_connections_swap_is_never_lost(data: Path) -> None:
    """Runs start all the time while one process after the other takes over; each run happens, none has a second attempt."""
    async with open_house(data) as house:
        module = await house.api.register("m")
        served: list[asyncio.Task[None]] = []

        async def serve(socket: ModuleSocket) -> None:
            while True:
                execution = await socket.execution(timeout_s=60)
                socket.say("result", execution, status="success", output={})

        workflow = await house.api.workflow("w", [module], overlap="parallel")
        runs: list[str] = []
        for number in range(5):
            socket = await ModuleSocket.open(house.url, module, process=f"p{number}")
            served.append(asyncio.create_task(serve(socket)))
            runs += await asyncio.gather(*(house.api.execute(workflow) for _ in range(8)))
        for run_id in runs:
            run = await house.api.ended(run_id)
            assert run["state"] == "succeeded", run["error"]
        assert not await house.rows(step_attempts)
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)
        await socket.close()


async def _mute(house: House, module: str) -> IOStream:
    """A socket that is open for TCP but whose module answers nothing, not even pings."""
    stream = await TCPClient().connect("127.0.0.1", int(house.url.rpartition(":")[2]))
    head = f"GET /websocket?hash={module}&protocol=2&process=p1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    await stream.write(f"{head}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    assert b"101" in await stream.read_until(b"\r\n")
    return stream


@pytest.mark.gen_test(timeout=60)
async def test_a_half_open_socket_is_noticed(data: Path) -> None:
    async with open_house(data, ping_s=0.2) as house:
        module = await house.api.register("m")
        stream = await _mute(house, module)

        async def online() -> bool:
            return module in await house.api.online()

        await until(online)
        workflow = await house.api.workflow("w", [module], offline_grace_s=1)
        run_id = await house.api.execute(workflow)

        async def offline() -> bool:
            return not await online()

        await until(offline)
        run = await house.api.ended(run_id)
        assert run["state"] == "lost"
        assert "did not come back within 1 s" in run["error"]
        stream.close()


@pytest.mark.gen_test(timeout=60)
async def test_a_module_that_is_away_is_waited_for_and_then_lost(data: Path) -> None:
    async with open_house(data) as house:
        module = await house.api.register("m")
        workflow = await house.api.workflow("w", [module], offline_grace_s=1)
        run = await house.api.ended(await house.api.execute(workflow))
        assert (run["state"], run["steps"][0]["state"]) == ("lost", "lost")
        assert "offline for 1 s" in run["error"]


@pytest.mark.gen_test(timeout=60)
async def test_a_module_that_comes_within_the_grace_gets_its_work(data: Path) -> None:
    async with open_house(data) as house:
        module = await house.api.register("m")
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        assert (await house.api.step(run_id))["waits_for"] == "module"
        socket = await house.connect(module)
        await socket.answer(await socket.execution())
        assert (await house.api.ended(run_id))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_a_process_that_lost_its_socket_is_taken_up_again(data: Path) -> None:
    """The same process: the same attempt and fence are told once more, and its result counts."""
    async with open_house(data) as house:
        module, socket = await house.module("m")
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        execution = await socket.execution()
        await socket.close()

        async def waits() -> bool:
            return bool((await house.api.step(run_id))["waits_for"] == "reconnect")

        await until(waits)
        again = await house.connect(module)
        repeated = await again.execution()
        assert (repeated["step_id"], repeated["attempt"], repeated["fence"]) == (execution["step_id"], 1, 1)
        await again.answer(repeated)
        assert (await house.api.ended(run_id))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_a_process_that_connects_anew_keeps_its_steps_though_its_old_socket_still_seems_open(data: Path) -> None:
    async with open_house(data, hot_swap_grace_s=1) as house:
        module, old = await house.module("m")
        workflow = await house.api.workflow("w", [{"module_hash": module, "retry": {"max_attempts": 2}}], offline_grace_s=0)
        run_id = await house.api.execute(workflow)
        execution = await old.execution()
        new = await house.connect(module)
        repeated = await new.execution()
        assert (repeated["step_id"], repeated["attempt"], repeated["fence"]) == (execution["step_id"], 1, 1)
        assert await old.closed() == 1012
        hub = house.ctx.services.get(Hub)
        await until(lambda: len(hub.of_module(module)) == 1)
        await house.ctx.sql.write(lambda _connection: None)  # the end of the old socket is written down in front of this
        assert (await house.api.step(run_id))["waits_for"] == "result"
        await new.answer(repeated)
        run = await house.api.ended(run_id)
        assert (run["state"], run["steps"][0]["attempt"]) == ("succeeded", 1)


@pytest.mark.gen_test(timeout=60)
async def test_a_cancel_while_the_module_is_away_reaches_it_when_it_is_back(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        execution = await socket.execution()
        await socket.close()
        await until(lambda: house.ctx.services.get(Hub).find(module) is None)
        await house.api.post(f"/run/{run_id}/cancel")
        again = await house.connect(module)
        assert (await again.take("cancel"))["step_id"] == execution["step_id"]
        again.say("cancelled", execution)
        run = await house.api.ended(run_id)
        assert run["state"] == "cancelled"
        assert run["steps"][0]["cancel_confirmed"] is True


@pytest.mark.gen_test(timeout=60)
async def test_send_message_is_verbatim(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        sent = await house.api.post("/module/send_message", {"module_hash": module, "message": "  as it is: 汇\n"})
        assert sent["message"] == "  as it is: 汇\n"
        assert (await socket.take("text"))["text"] == "  as it is: 汇\n"
        await house.api.post("/module/send_message", {"module_hash": module, "message": {"type": "hello", "n": 1}})
        assert await socket.take("hello") == {"type": "hello", "n": 1}
        await socket.close()
        await until(lambda: house.ctx.services.get(Hub).find(module) is None)
        refused = await house.api.post("/module/send_message", {"module_hash": module, "message": "x"}, status=409)
        assert refused["type"] == "module_offline"


@pytest.mark.gen_test(timeout=60)
async def test_a_module_that_stops_finishes_what_it_has(data: Path) -> None:
    """The client package, as SIGTERM would stop it: the step in hand ends well, what comes later waits for the next process."""
    async with open_house(data) as house:
        begun, finish = asyncio.Event(), asyncio.Event()

        async def work(_task: AsyncTask) -> None:
            begun.set()
            await finish.wait()

        client = Module("drains", url=house.url)
        client.handler(work)
        serving = asyncio.create_task(client.serve())
        await client.wait_connected()
        module = await house.api.register("drains")
        workflow = await house.api.workflow("w", [module], overlap="parallel")
        first = await house.api.execute(workflow)
        await begun.wait()
        stopping = asyncio.create_task(client.stop())
        second = await house.api.execute(workflow)
        finish.set()
        await stopping
        await serving
        assert (await house.api.ended(first))["state"] == "succeeded"
        assert (await house.api.run(second))["state"] in ("queued", "dispatched")
        successor = await house.connect(module, process="p2")
        execution = await successor.execution()
        assert execution["run_id"] == second
        await successor.answer(execution)
        assert (await house.api.ended(second))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_a_removed_module_loses_its_socket(data: Path) -> None:
    async with open_house(data) as house:
        module, socket = await house.module("m")
        await house.api.ask("DELETE", f"/module/{module}")
        assert await socket.closed() == 1008
        with pytest.raises(HTTPClientError):
            await ModuleSocket.open(house.url, module)


@pytest.mark.gen_test(timeout=60)
async def test_an_instance_that_was_taken_for_dead_takes_its_sockets_back(data: Path) -> None:
    """As another instance would see it when the bus had lost its memory: the sockets here are open all the time."""
    async with open_house(data) as house:
        module, socket = await house.module("m")
        run_id = await house.api.execute(await house.api.workflow("w", [module]))
        execution = await socket.execution()
        soon = house.ctx.clock.now() + timedelta(seconds=1)
        await house.write(modules.update().values(instance=None))
        await house.write(steps.update().values(waits_for="reconnect", wake_at=soon))
        assert not await house.api.online()
        await house.ctx.services.get(Presence).check_sockets()
        assert module in await house.api.online()
        step = await house.api.step(run_id)
        assert (step["waits_for"], step["state"]) == ("result", "dispatched")
        assert not [frame for frame in socket.frames if frame["type"] in ("execute", "drain")]
        await socket.answer(execution)
        assert (await house.api.ended(run_id))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_one_missing_sign_of_life_is_no_proof_of_death(data: Path) -> None:
    async with open_house(data, loops=False) as house:
        module = await house.api.register("m")
        await house.write(modules.update().values(instance="another-instance"))
        presence = house.ctx.services.get(Presence)
        for _ in range(2):
            await presence.forget_dead()
            assert module in await house.api.online()
        await house.ctx.bus.put("instance:another-instance", b"1", ttl_s=60)
        await presence.forget_dead()
        await house.ctx.bus.remove("instance:another-instance")
        for _ in range(2):
            await presence.forget_dead()
            assert module in await house.api.online()
        await presence.forget_dead()
        assert module not in await house.api.online()
