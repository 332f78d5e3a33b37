"""Counting somebody's open sockets: in one process, and over several by the bus."""

from __future__ import annotations

import pytest

from server.clock import Clock
from server.config import Settings
from server.engines.bus import BusDoor, open_bus
from server.people import open_sockets
from server.people.open_sockets import OpenSockets
from tests.peers.valkey import Valkey

HELD = {7: 2, 8: 1}


@pytest.mark.gen_test(timeout=60)
async def test_an_instance_counts_its_own(bus: BusDoor) -> None:
    counted = OpenSockets(bus, lambda user_id: HELD.get(user_id, 0))
    await counted.listening.ready()
    assert await counted.of(7) == 2
    assert await counted.of(9) == 0


@pytest.mark.gen_test(timeout=60)
async def test_all_instances_are_counted_and_one_that_is_silent_makes_it_unknown(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(redis_url=valkey.url)
    first, second = open_bus(settings, Clock()), open_bus(settings, Clock())
    try:
        here = OpenSockets(first, lambda user_id: HELD.get(user_id, 0))
        there = OpenSockets(second, lambda user_id: HELD.get(user_id, 0))
        await here.listening.ready()
        await there.listening.ready()
        assert await here.of(7) == 4
        assert await there.of(9) == 0
        monkeypatch.setattr(open_sockets, "WAIT_S", 0.2)
        monkeypatch.setattr(there, "_answer", _silent)
        assert await here.of(7) is None
    finally:
        await first.close()
        await second.close()


async def _silent(_asked: object) -> None:
    """An instance that hangs."""
