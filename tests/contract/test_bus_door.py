"""The bus door's contract, in the process, on Valkey and on Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from server.clock import Clock, HeldClock
from server.config import Settings
from server.engines.bus import BusDoor, open_bus
from server.engines.bus_local import LocalBus
from server.engines.bus_redis import RedisBus
from server.errors import EngineAway
from tests.contract.waiting import until
from tests.peers.valkey import Valkey

Received = list[tuple[str, bytes]]


def keep(received: Received):  # type: ignore[no-untyped-def]
    return lambda topic, message: received.append((topic, message))


# Messages.


@pytest.mark.gen_test(timeout=60)
async def test_messages_reach_those_who_want_them_in_order(bus: BusDoor) -> None:
    exact: Received = []
    prefix: Received = []
    for subscription in (bus.subscribe("run:1", keep(exact)), bus.subscribe("run:*", keep(prefix))):
        await subscription.ready()
    assert await bus.publish("nobody", b"") == 0
    for n in range(20):
        assert await bus.publish("run:1", b"%d" % n) >= 1
    await bus.publish("run:2", bytes(range(256)))
    await until(lambda: len(prefix) == 21)
    assert exact == [("run:1", b"%d" % n) for n in range(20)]
    assert prefix == [*exact, ("run:2", bytes(range(256)))]


@pytest.mark.gen_test(timeout=60)
async def test_several_receivers_of_one_topic_and_one_that_fails(bus: BusDoor, caplog: pytest.LogCaptureFixture) -> None:
    received: Received = []

    def fails(_topic: str, _message: bytes) -> None:
        raise RuntimeError("the receiver's own")

    first = bus.subscribe("t", fails)
    second = bus.subscribe("t", keep(received))
    third = bus.subscribe("t", keep(received))
    await third.ready()
    await bus.publish("t", b"1")
    await until(lambda: len(received) == 2)
    assert "a receiver of t failed" in caplog.text
    first.close()
    second.close()
    await bus.publish("t", b"2")
    await until(lambda: len(received) == 3)
    third.close()
    third.close()
    other = bus.subscribe("other", keep(received))
    await other.ready()

    async def nobody() -> bool:
        return await bus.publish("t", b"3") == 0

    await until(nobody)
    assert [message for _, message in received] == [b"1", b"1", b"2"]


@pytest.mark.gen_test(timeout=60)
async def test_a_topic_that_is_closed_and_wanted_again(bus: BusDoor) -> None:
    received: Received = []
    first = bus.subscribe("t", keep(received))
    await first.ready()
    first.close()
    again = bus.subscribe("t", keep(received))
    await again.ready()
    assert await bus.publish("t", b"1") == 1
    await until(lambda: received == [("t", b"1")])


@pytest.mark.gen_test(timeout=60)
async def test_names_that_would_mean_different_things_are_refused(bus: BusDoor) -> None:
    for topic in ("", "a*", "a b", "a[b]", "a?", "智"):
        with pytest.raises(ValueError):
            await bus.publish(topic, b"")
    for topic in ("", "*", "a*b", "a**", "[a]*"):
        with pytest.raises(ValueError):
            bus.subscribe(topic, keep([]))
    with pytest.raises(ValueError):
        await bus.acquire("../lease", "me", 1)


# Leases.


@pytest.mark.gen_test(timeout=60)
async def test_a_lease_has_one_holder_and_rising_epochs(bus: BusDoor) -> None:
    first = await bus.acquire("leader", "a", 30)
    assert first is not None
    assert await bus.acquire("leader", "b", 30) is None
    assert await bus.acquire("another", "b", 30) is not None
    assert await bus.renew("leader", "a", first, 30) is True
    assert await bus.renew("leader", "a", first - 1, 30) is False
    assert await bus.renew("leader", "b", first, 30) is False
    await bus.release("leader", "b", first)
    await bus.release("leader", "a", first - 1)
    assert await bus.acquire("leader", "b", 30) is None
    again = await bus.acquire("leader", "a", 30)
    assert again is not None
    assert again > first
    assert await bus.renew("leader", "a", first, 30) is False
    await bus.release("leader", "a", again)
    assert await bus.renew("leader", "a", again, 30) is False
    last = await bus.acquire("leader", "b", 30)
    assert last is not None
    assert last > again


@pytest.mark.gen_test(timeout=60)
async def test_of_many_who_want_a_lease_one_gets_it(bus: BusDoor) -> None:
    epochs = await asyncio.gather(*(bus.acquire("leader", f"holder-{n}", 30) for n in range(20)))
    assert sum(epoch is not None for epoch in epochs) == 1


@pytest.mark.gen_test(timeout=60)
async def test_a_lease_that_is_not_renewed_ends(bus: BusDoor) -> None:
    first = await bus.acquire("leader", "a", 0.2)
    assert first is not None
    epochs: list[int] = []

    async def taken() -> bool:
        epoch = await bus.acquire("leader", "b", 30)
        epochs.extend([] if epoch is None else [epoch])
        return epoch is not None

    await until(taken)
    assert epochs[0] > first
    assert await bus.renew("leader", "a", first, 30) is False


# Counters and keys.


@pytest.mark.gen_test(timeout=60)
async def test_counters(bus: BusDoor) -> None:
    assert await bus.increment("n", ttl_s=60) == 1
    assert await bus.increment("n", ttl_s=6000, by=4) == 5
    assert 0 < await bus.ttl("n") <= 60
    assert sorted(await asyncio.gather(*(bus.increment("n", ttl_s=60) for _ in range(50)))) == list(range(6, 56))
    await bus.remove("n")
    assert await bus.increment("n", ttl_s=0.1) == 1

    async def gone() -> bool:
        return await bus.ttl("n") == 0

    await until(gone)
    assert await bus.increment("n", ttl_s=60) == 1


@pytest.mark.gen_test(timeout=60)
async def test_keys(bus: BusDoor) -> None:
    assert await bus.find("k") is None
    assert await bus.take("k") is None
    assert await bus.ttl("k") == 0
    await bus.put("k", bytes(range(256)), ttl_s=60)
    assert await bus.find("k") == bytes(range(256))
    assert 0 < await bus.ttl("k") <= 60
    await bus.put("k", b"", ttl_s=600)
    assert await bus.find("k") == b""
    assert await bus.ttl("k") > 60
    assert sorted(await asyncio.gather(*(bus.take("k") for _ in range(5))), key=lambda got: got is None) == [b"", None, None, None, None]
    await bus.put("k", b"1", ttl_s=0.1)

    async def gone() -> bool:
        return await bus.find("k") is None

    await until(gone)
    assert await bus.take("k") is None
    await bus.put("k", b"1", ttl_s=60)
    await bus.remove("k")
    await bus.remove("k")
    assert await bus.find("k") is None


@pytest.mark.gen_test(timeout=60)
async def test_many_at_once(bus: BusDoor) -> None:
    assert sorted(await asyncio.gather(*(bus.increment("n", ttl_s=60) for _ in range(500)))) == list(range(1, 501))


@pytest.mark.gen_test(timeout=60)
async def test_closed(bus: BusDoor) -> None:
    bus.subscribe("t", keep([]))
    await bus.ping()
    await bus.close()
    await bus.close()
    with pytest.raises(EngineAway):
        await bus.ping()
    with pytest.raises(EngineAway):
        await bus.publish("t", b"")


# In the process alone.


@pytest.mark.gen_test(timeout=60)
async def test_local_time_is_the_clocks(tmp_path: Path) -> None:
    clock = HeldClock()
    bus = LocalBus(tmp_path, clock)
    await bus.put("k", b"1", ttl_s=10)
    await bus.increment("n", ttl_s=20)
    epoch = await bus.acquire("leader", "a", 10)
    assert epoch is not None
    clock.advance(seconds=9)
    assert await bus.ttl("k") == pytest.approx(1)
    assert await bus.renew("leader", "a", epoch, 10) is True
    clock.advance(seconds=2)
    assert await bus.find("k") is None
    assert await bus.increment("n", ttl_s=20) == 2
    assert await bus.acquire("leader", "b", 10) is None
    clock.advance(seconds=9)
    assert await bus.renew("leader", "a", epoch, 10) is False
    assert (await bus.acquire("leader", "b", 10) or 0) > epoch
    assert await bus.increment("n", ttl_s=20) == 1
    await bus.close()


ROOT = Path(__file__).parents[2]
HOLDER = """
import asyncio, sys
from pathlib import Path
from server.clock import Clock
from server.engines.bus_local import LocalBus

async def hold():
    bus = LocalBus(Path(sys.argv[1]), Clock())
    print(await bus.acquire("leader", "other", 3600), flush=True)
    await asyncio.sleep(3600)

asyncio.run(hold())
"""


@pytest.mark.gen_test(timeout=120)
async def test_a_local_lease_holds_between_processes_and_ends_with_a_crash(tmp_path: Path) -> None:
    bus = LocalBus(tmp_path, Clock())
    mine = await bus.acquire("leader", "me", 30)
    assert mine is not None

    def other() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)

    with other() as refused:
        assert refused.stdout is not None
        assert await asyncio.to_thread(refused.stdout.readline) == "None\n"
        refused.kill()
    await bus.release("leader", "me", mine)
    with other() as holder:
        assert holder.stdout is not None
        theirs = int(await asyncio.to_thread(holder.stdout.readline))
        assert theirs > mine
        assert await bus.acquire("leader", "me", 30) is None
        holder.kill()
    again = await bus.acquire("leader", "me", 30)
    assert again is not None
    assert again > theirs
    await bus.close()
    # And over a restart whose clock went back.
    restarted = LocalBus(tmp_path, HeldClock())
    assert await restarted.acquire("leader", "me", 30) == again + 1
    await restarted.close()


@pytest.mark.gen_test(timeout=60)
async def test_a_local_lease_that_ran_out_is_free_for_another_process(tmp_path: Path) -> None:
    # Two buses in one process lock against each other as two processes do: flock belongs to the open file.
    one, two = LocalBus(tmp_path, Clock()), LocalBus(tmp_path, Clock())
    first = await one.acquire("leader", "one", 0.2)
    assert first is not None
    assert await two.acquire("leader", "two", 30) is None

    async def taken() -> bool:
        return await two.acquire("leader", "two", 30) is not None

    await until(taken)
    assert await one.renew("leader", "one", first, 30) is False
    await one.close()
    await two.close()


# Redis alone.


@pytest.mark.gen_test(timeout=60)
async def test_two_instances(valkey: Valkey) -> None:
    one, two = RedisBus(valkey.url), RedisBus(valkey.url)
    received: Received = []
    await one.subscribe("from:*", keep(received)).ready()
    assert await two.publish("from:two", b"hello") == 1
    await until(lambda: received == [("from:two", b"hello")])
    epoch = await one.acquire("shared", "one", 30)
    assert epoch is not None
    assert await two.acquire("shared", "two", 30) is None
    await one.release("shared", "one", epoch)
    assert (await two.acquire("shared", "two", 30) or 0) > epoch
    await one.close()
    await two.close()


@pytest.mark.gen_test(timeout=120)
async def test_redis_stopped_and_started_again(valkey: Valkey) -> None:
    bus = RedisBus(valkey.url)
    received: Received = []
    resyncs: list[int] = []
    bus.on_resync(lambda: 1 / 0)  # type: ignore[arg-type]
    bus.on_resync(lambda: resyncs.append(1))
    await bus.subscribe("t", keep(received)).ready()
    await bus.subscribe("p:*", keep(received)).ready()
    before = await bus.acquire("leader", "a", 30)
    assert before is not None
    await asyncio.to_thread(valkey.stop)
    try:
        for ask in (
            bus.ping,
            lambda: bus.publish("t", b""),
            lambda: bus.acquire("leader", "a", 30),
            lambda: bus.renew("leader", "a", before, 30),
            lambda: bus.increment("n", ttl_s=1),
            lambda: bus.find("k"),
        ):
            with pytest.raises(EngineAway):
                await ask()
        assert resyncs == []
    finally:
        await asyncio.to_thread(valkey.start)
    await until(lambda: resyncs == [1])
    assert await bus.publish("t", b"1") == 1
    assert await bus.publish("p:1", b"2") == 1
    await until(lambda: received == [("t", b"1"), ("p:1", b"2")])
    assert await bus.renew("leader", "a", before, 30) is False
    # It has forgotten the old epoch and still goes on above it.
    assert (await bus.acquire("leader", "b", 30) or 0) > before
    await bus.close()


@pytest.mark.gen_test(timeout=120)
async def test_redis_away_from_the_start(valkey: Valkey, tmp_path: Path) -> None:
    await asyncio.to_thread(valkey.stop)
    try:
        bus = open_bus(Settings(data_dir=str(tmp_path), redis_url=valkey.url), Clock())
        received: Received = []
        subscription = bus.subscribe("t", keep(received))
        with pytest.raises(EngineAway):
            await bus.ping()
    finally:
        await asyncio.to_thread(valkey.start)
    await subscription.ready()
    await bus.publish("t", b"1")
    await until(lambda: received == [("t", b"1")])
    await bus.close()


@pytest.mark.gen_test(timeout=120)
async def test_a_silent_redis_is_left_and_found_again(valkey: Valkey) -> None:
    bus = RedisBus(valkey.url, heartbeat_s=0.2, silence_s=1.0)
    resyncs: list[int] = []
    bus.on_resync(lambda: resyncs.append(1))
    await bus.subscribe("t", keep([])).ready()
    await asyncio.sleep(2.5)  # heartbeats alone keep it
    assert resyncs == []
    valkey.freeze()
    try:
        await until(lambda: bus._gap)
    finally:
        valkey.thaw()
    await until(lambda: resyncs)
    await bus.close()
