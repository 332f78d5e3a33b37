"""Events: each listener hears its own kind, and one that fails harms nobody."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from server.clock import HeldClock
from server.engines.bus_local import LocalBus
from server.errors import EngineAway
from server.events import TOPIC, Event, Events, Resync


class Rained(Event, frozen=True):
    millimetres: int


class Snowed(Event, frozen=True):
    depth: int


class SharedBus(LocalBus):
    """A bus in the process that says that others share it."""

    mode = "distributed"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, HeldClock())
        self.gaps: list[object] = []
        self.away = False

    def on_resync(self, callback: object) -> None:  # type: ignore[override]
        self.gaps.append(callback)

    async def publish(self, topic: str, message: bytes) -> int:
        if self.away:
            raise EngineAway("bus", "unplugged")
        return await super().publish(topic, message)


def events_on(bus: LocalBus, instance: str = "one") -> Events:
    return Events(bus, instance, [Rained, Snowed])


@pytest.mark.gen_test
async def test_a_listener_hears_its_kind(tmp_path: Path) -> None:
    events, heard = events_on(LocalBus(tmp_path, HeldClock())), []
    events.listen(Rained, heard.append)
    await events.publish(Snowed(3))
    await events.publish(Rained(5))
    assert heard == [Rained(5)]


@pytest.mark.gen_test
async def test_a_listener_that_fails_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    events, heard = events_on(LocalBus(tmp_path, HeldClock())), []

    def broken(_event: Rained) -> None:
        raise RuntimeError("leaky")

    events.listen(Rained, broken)
    events.listen(Rained, heard.append)
    with caplog.at_level(logging.ERROR):
        await events.publish(Rained(5))
    assert heard == [Rained(5)]
    assert "Rained" in caplog.text
    assert "leaky" in caplog.text


async def delivered() -> None:
    """Until what the bus has taken is delivered."""
    import asyncio

    await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.gen_test
async def test_other_instances_hear_once_and_the_sender_does_not_hear_twice(tmp_path: Path) -> None:
    bus = SharedBus(tmp_path)
    one, two, heard_one, heard_two = events_on(bus, "one"), events_on(bus, "two"), [], []
    one.listen(Rained, heard_one.append)
    two.listen(Rained, heard_two.append)
    await one.publish(Rained(5))
    await delivered()
    assert (heard_one, heard_two) == ([Rained(5)], [Rained(5)])


@pytest.mark.gen_test
async def test_what_another_version_says_is_passed_over(tmp_path: Path) -> None:
    bus = SharedBus(tmp_path)
    events, heard = events_on(bus), []
    events.listen(Rained, heard.append)
    for unknown in (b"", b"no json", b'["two",{"type":"Hailed"}]', b'["two",{"type":"Rained","millimetres":"much"}]', b"[]"):
        await bus.publish(TOPIC, unknown)
    await bus.publish(TOPIC, b'["two",{"type":"Rained","millimetres":7,"more":1}]')
    await delivered()
    assert heard == [Rained(7)]


@pytest.mark.gen_test
async def test_an_absent_bus_leaves_the_event_here(tmp_path: Path) -> None:
    bus = SharedBus(tmp_path)
    events, heard = events_on(bus), []
    events.listen(Rained, heard.append)
    bus.away = True
    await events.publish(Rained(5))
    assert heard == [Rained(5)]


@pytest.mark.gen_test
async def test_a_gap_is_told(tmp_path: Path) -> None:
    bus = SharedBus(tmp_path)
    events, heard = events_on(bus), []
    events.listen(Resync, heard.append)
    for gap in bus.gaps:
        gap()  # type: ignore[operator]
    assert heard == [Resync()]
