"""The compute door's contract, on local worker processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from server.config import Settings, SettingsError
from server.engines.compute import (
    ComputeCrashed,
    ComputeDoor,
    ComputeOutOfMemory,
    ComputeState,
    ComputeTimedOut,
    open_compute,
)
from server.errors import EngineAway
from tests.contract import cpu_work
from tests.contract.waiting import until

ROOT = Path(__file__).parents[2]
LONG = 60.0


@pytest.fixture
def compute(on_loop: Any) -> Iterator[ComputeDoor]:
    """A door of two slots of 1 GiB."""

    async def opened() -> ComputeDoor:
        return open_compute(Settings(ws=2, compute_memory_mb=1024))

    door = on_loop(opened)
    yield door
    on_loop(door.close)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def dead(pid: int) -> bool:
    return not alive(pid)


def pid_in(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text() or 0) if path.exists() else 0


@pytest.mark.gen_test(timeout=120)
async def test_work_runs_elsewhere_and_workers_stay(compute: ComputeDoor) -> None:
    assert compute.state() == ComputeState(slots=2, busy=0, waiting=0)
    assert await compute.run(cpu_work.add, 2, 3, time_limit_s=LONG) == 5
    first = await compute.run(cpu_work.process, time_limit_s=LONG)
    assert first != os.getpid()
    assert await compute.run(cpu_work.process, time_limit_s=LONG) == first
    assert len(set(await asyncio.gather(*(compute.run(cpu_work.sleep, 0.2, time_limit_s=LONG) for _ in range(4))))) == 2
    assert compute.state() == ComputeState(slots=2, busy=0, waiting=0)


@pytest.mark.gen_test(timeout=120)
async def test_first_come_first_served(tmp_path: Path, compute: ComputeDoor) -> None:
    log = tmp_path / "order"
    held = asyncio.create_task(compute.run(cpu_work.spin_with_mark, str(tmp_path / "mark"), time_limit_s=LONG))
    await until(pid_in(tmp_path / "mark"))
    waiting = [asyncio.create_task(compute.run(cpu_work.append, str(log), f"{n}", time_limit_s=LONG)) for n in range(8)]
    await until(lambda: compute.state().waiting == 7)
    assert compute.state() == ComputeState(slots=2, busy=2, waiting=7)
    await asyncio.gather(*waiting)
    assert log.read_text() == "01234567"
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)


@pytest.mark.gen_test(timeout=120)
async def test_its_own_errors_arrive(compute: ComputeDoor) -> None:
    with pytest.raises(cpu_work.PlainError) as plain:
        await compute.run(cpu_work.fail_plainly, time_limit_s=LONG)
    assert plain.value.args == ("page 7", 7)
    with pytest.raises(RuntimeError, match="AwkwardError: page 7"):
        await compute.run(cpu_work.fail_awkwardly, time_limit_s=LONG)
    with pytest.raises(TimeoutError, match="the work's own"):
        await compute.run(cpu_work.fail_late, time_limit_s=LONG)
    with pytest.raises(Exception, match="pickle"):
        await compute.run(cpu_work.give_lambda, time_limit_s=LONG)
    with pytest.raises(Exception, match="pickle"):
        await compute.run(lambda: None, time_limit_s=LONG)
    assert await compute.run(cpu_work.add, 1, 1, time_limit_s=LONG) == 2


@pytest.mark.gen_test(timeout=120)
async def test_a_death_is_one_calls_and_disturbs_no_other(compute: ComputeDoor) -> None:
    other = asyncio.create_task(compute.run(cpu_work.sleep, 1.0, time_limit_s=LONG))
    for deadly in (cpu_work.die, cpu_work.leave, cpu_work.die):
        with pytest.raises(ComputeCrashed):
            await compute.run(deadly, time_limit_s=LONG)
    await other
    assert await asyncio.gather(*(compute.run(cpu_work.add, n, n, time_limit_s=LONG) for n in range(6))) == [0, 2, 4, 6, 8, 10]
    assert await compute.run(cpu_work.interrupt_self, time_limit_s=LONG) == "still here"


@pytest.mark.gen_test(timeout=120)
async def test_a_worker_that_dies_idle_costs_nobody_anything(compute: ComputeDoor) -> None:
    pid = await compute.run(cpu_work.process, time_limit_s=LONG)
    os.kill(pid, 9)
    await until(lambda: not alive(pid))
    assert await compute.run(cpu_work.add, 1, 1, time_limit_s=LONG) == 2


@pytest.mark.gen_test(timeout=120)
async def test_endless_work_is_killed(tmp_path: Path, compute: ComputeDoor) -> None:
    with pytest.raises(ComputeTimedOut, match=r"0\.5 s"):
        await compute.run(cpu_work.spin_with_mark, str(tmp_path / "mark"), time_limit_s=0.5)
    pid = pid_in(tmp_path / "mark")()
    await until(lambda: not alive(pid))
    assert await compute.run(cpu_work.add, 1, 1, time_limit_s=LONG) == 2


@pytest.mark.gen_test(timeout=120)
async def test_too_much_memory(compute: ComputeDoor) -> None:
    before = await compute.run(cpu_work.process, time_limit_s=LONG)
    with pytest.raises(ComputeOutOfMemory):
        await compute.run(cpu_work.need_memory, 2000, time_limit_s=LONG)
    await until(lambda: not alive(before))
    assert await compute.run(cpu_work.need_memory, 10, time_limit_s=LONG) == 10 * 2**20


@pytest.mark.gen_test(timeout=120)
async def test_a_cancelled_callers_work_is_killed(tmp_path: Path, compute: ComputeDoor) -> None:
    callers = [asyncio.create_task(compute.run(cpu_work.spin_with_mark, str(tmp_path / f"{n}"), time_limit_s=LONG)) for n in range(3)]
    await until(lambda: pid_in(tmp_path / "0")() and pid_in(tmp_path / "1")())
    callers[2].cancel()  # it still waits
    await until(lambda: compute.state().waiting == 0)
    assert compute.state().busy == 2
    for caller in callers:
        caller.cancel()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert compute.state() == ComputeState(slots=2, busy=0, waiting=0)
    for n in range(2):
        pid = pid_in(tmp_path / f"{n}")()
        await until(partial(dead, pid))
    assert not (tmp_path / "2").exists()
    # Cancelled while its worker still starts.
    early = asyncio.create_task(compute.run(cpu_work.add, 1, 1, time_limit_s=LONG))
    await asyncio.sleep(0.01)
    early.cancel()
    await asyncio.gather(early, return_exceptions=True)
    assert await asyncio.gather(*(compute.run(cpu_work.add, 1, 1, time_limit_s=LONG) for _ in range(4))) == [2] * 4


@pytest.mark.gen_test(timeout=120)
async def test_close_kills_promptly(tmp_path: Path) -> None:
    compute = open_compute(Settings(ws=1, compute_memory_mb=0))
    callers = [asyncio.create_task(compute.run(cpu_work.spin_with_mark, str(tmp_path / "mark"), time_limit_s=LONG)) for _ in range(3)]
    await until(pid_in(tmp_path / "mark"))
    begun = time.monotonic()
    await compute.close()
    assert time.monotonic() - begun < 10
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EngineAway] * 3
    pid = pid_in(tmp_path / "mark")()
    await until(lambda: not alive(pid))
    with pytest.raises(EngineAway):
        await compute.run(cpu_work.add, 1, 1, time_limit_s=LONG)
    with pytest.raises(EngineAway):
        await compute.ping()
    await compute.close()


def test_a_cluster_is_refused_rather_than_ignored() -> None:
    with pytest.raises(SettingsError, match="COMPUTE_URL"):
        open_compute(Settings(compute_url="tcp://127.0.0.1:8786"))


PARENT = """
import asyncio, sys
from server.config import Settings, SettingsError
from server.engines.compute import open_compute
from tests.contract import cpu_work

async def hold():
    compute = open_compute(Settings(ws=1))
    await compute.run(cpu_work.spin_with_mark, sys.argv[1], time_limit_s=3600)

if __name__ == "__main__":
    asyncio.run(hold())
"""


@pytest.mark.gen_test(timeout=120)
async def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "mark")], cwd=ROOT) as parent:
        await until(pid_in(tmp_path / "mark"), timeout_s=60)
        pid = pid_in(tmp_path / "mark")()
        assert alive(pid)
        parent.kill()
        await until(lambda: not alive(pid))
