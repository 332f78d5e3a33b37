"""How many sockets somebody holds open: every instance counts its own and says so on the bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from server.engines.bus import BusDoor
from server.errors import EngineAway
from server.ids import new_id

log = logging.getLogger(__name__)

TOPIC = "open-sockets"
WAIT_S = 3.0
KEPT_S = 60.0


class _Asked(msgspec.Struct, frozen=True):
    user_id: int
    key: str


class OpenSockets:
    """Counts the sockets of a user in this instance, for itself and for the others."""

    def __init__(self, bus: BusDoor, count: Callable[[int], int]) -> None:
        self._bus = bus
        self._count = count
        self._answering: set[asyncio.Task[None]] = set()
        self.listening = bus.subscribe(TOPIC, self._heard)

    def _heard(self, _topic: str, message: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(msgspec.json.decode(message, type=_Asked)))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, asked: _Asked) -> None:
        try:
            if count := self._count(asked.user_id):
                await self._bus.increment(f"{asked.key}-open", ttl_s=KEPT_S, by=count)
            await self._bus.increment(f"{asked.key}-answers", ttl_s=KEPT_S)
        except EngineAway as away:
            log.warning("open sockets could not be told: %s", away.cause)

    async def of(self, user_id: int) -> int | None:
        """How many sockets the user has open in all instances; None when not every instance has answered in time. Raises EngineAway."""
        key = f"open-sockets-{new_id()}"
        instances = await self._bus.publish(TOPIC, msgspec.json.encode(_Asked(user_id, key)))
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while await self._bus.increment(f"{key}-answers", ttl_s=KEPT_S, by=0) < instances:
            if asyncio.get_running_loop().time() > deadline:
                return None
            await asyncio.sleep(0.01)
        return await self._bus.increment(f"{key}-open", ttl_s=KEPT_S, by=0)
