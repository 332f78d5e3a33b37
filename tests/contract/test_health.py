"""The health of engines, with doors that are up, away, stuck and broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal

import pytest

from server.clock import Clock
from server.config import Settings
from server.engines.bus import open_bus
from server.engines.files import open_files
from server.engines.health import Door, check
from server.errors import EngineAway


class Stand:
    """A door with a ping of the test's."""

    mode: Literal["embedded", "distributed"] = "distributed"

    def __init__(self, ping: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.ping = ping


async def fine() -> None: ...


async def stuck() -> None:
    await asyncio.sleep(3600)


async def away() -> None:
    raise EngineAway("bus", "no answer from redis://user:secret@10.0.0.1:6379")


async def silent() -> None:
    raise EngineAway("bus")


async def broken() -> None:
    raise RuntimeError("with a secret")


@pytest.mark.gen_test(timeout=30)
async def test_each_is_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    doors: dict[str, Door] = {name.__name__: Stand(name) for name in (fine, stuck, away, silent, broken)}
    found = await check(doors, timeout_s=0.2)
    assert list(found) == list(doors)
    assert {name: one.state for name, one in found.items()} == {
        "fine": "up",
        "stuck": "away",
        "away": "away",
        "silent": "away",
        "broken": "away",
    }
    assert found["stuck"].cause == "no answer in 0.2 s"
    assert found["stuck"].latency_ms >= 200
    assert found["away"].cause == "no answer from redis://***@10.0.0.1:6379"
    assert found["silent"].cause == "away"
    assert found["broken"].cause == "RuntimeError"
    assert found["fine"].cause == ""
    assert "the ping of broken failed" in caplog.text


@pytest.mark.gen_test(timeout=30)
async def test_they_are_asked_at_once() -> None:
    asked = 0
    everyone = asyncio.Event()

    async def together() -> None:
        nonlocal asked
        asked += 1
        if asked == 5:
            everyone.set()
        await everyone.wait()

    found = await check({f"{n}": Stand(together) for n in range(5)}, timeout_s=20)
    assert {one.state for one in found.values()} == {"up"}


@pytest.mark.gen_test(timeout=30)
async def test_real_doors(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    bus = open_bus(settings, Clock())
    await bus.close()
    found = await check({"bus": bus, "files": open_files(settings)})
    assert (found["bus"].state, found["bus"].mode, found["bus"].cause) == ("away", "embedded", "closed")
    assert (found["files"].state, found["files"].mode) == ("up", "embedded")
