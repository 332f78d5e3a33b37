"""Lag is measured, and the guard names the callback that held the loop."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import time
from asyncio import events

import pytest

from server.loop_lag import LoopGuard, LoopLag, SlowCallback

pytestmark = pytest.mark.holds_loop


def burn(seconds: float | None = None) -> None:
    """Use that much CPU time of this thread; by default more than the guard allows, which is lenient under coverage."""
    seconds = 2.5 * LoopGuard().threshold_s if seconds is None else seconds
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_p99_and_worst_of_what_was_added() -> None:
    heard: list[float] = []
    lag = LoopLag(heard.append)
    assert lag.p99 == 0.0
    for sample in range(100):
        lag.add(sample / 1000, now=0.0)
    assert lag.p99 == 0.099
    assert lag.worst == 0.099
    assert len(heard) == 100


def test_old_samples_are_forgotten_but_the_worst_is_not() -> None:
    lag = LoopLag()
    lag.add(5.0, now=0.0)
    for _ in range(240):
        lag.add(0.001, now=0.0)
    assert lag.p99 == 0.001
    assert lag.worst == 5.0


def test_a_held_loop_is_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    lag = LoopLag()
    with caplog.at_level(logging.WARNING):
        for now in (0.0, 1.0, 29.0, 31.0):
            lag.add(0.7, now=now)
    assert [record.getMessage() for record in caplog.records] == ["the event loop was held for 700 ms"] * 2


@pytest.mark.gen_test
async def test_a_running_loop_is_measured() -> None:
    sampled = asyncio.Event()
    lag = LoopLag(lambda _: sampled.set())
    lag.start()
    await sampled.wait()
    await lag.stop()
    assert lag.worst >= 0.0
    assert len(lag._samples) >= 1


async def holds_the_loop() -> None:
    await asyncio.sleep(0)
    burn()


async def waits_a_while() -> None:
    await asyncio.sleep(0.05)


def test_the_guard_names_the_coroutine_that_held_the_loop() -> None:
    with LoopGuard() as guard:
        asyncio.run(holds_the_loop())
    with pytest.raises(AssertionError, match=r"task holds_the_loop \(.*test_loop_lag.py:\d+\) took \d+ ms"):
        guard.check()


def test_the_guard_names_a_plain_callback_behind_partial() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(functools.partial(burn))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with LoopGuard() as guard:
        asyncio.run(main())
    assert [slow.name.split()[0] for slow in guard.slow] == ["burn"]


def test_a_little_over_is_let_pass_once() -> None:
    guard = LoopGuard()
    guard.slow = [SlowCallback("a", 1.5 * guard.threshold_s), SlowCallback("b", 1.5 * guard.threshold_s)]
    guard.check()
    guard.slow.append(SlowCallback("a", 1.1 * guard.threshold_s))
    with pytest.raises(AssertionError, match=r"a took \d+ ms; a took \d+ ms$"):
        guard.check()


def test_waiting_and_threads_do_not_hold_the_loop() -> None:
    async def main() -> None:
        await waits_a_while()
        await asyncio.to_thread(burn)

    with LoopGuard() as guard:
        asyncio.run(main())
    guard.check()


def test_garbage_collection_is_taken_off() -> None:
    many = [{"number": number} for number in range(500_000)]

    async def main() -> None:
        gc.collect()

    with LoopGuard(threshold_s=0.005) as guard:
        asyncio.run(main())
    assert guard._collecting > guard.threshold_s, len(many)  # long enough to be noticed, were it counted
    guard.check()


def test_the_guard_leaves_the_loop_as_it_was() -> None:
    before = events.Handle._run
    callbacks = len(gc.callbacks)
    with pytest.raises(RuntimeError), LoopGuard():
        assert events.Handle._run is not before
        raise RuntimeError
    assert events.Handle._run is before
    assert len(gc.callbacks) == callbacks
