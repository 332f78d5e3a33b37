"""The waking loop: looks twice a second for steps whose time has come, and keeps this instance known to be alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from server.context import Context
from server.dispatch.presence import Presence
from server.dispatch.waking import AT_ONCE, give_time, wake_due
from server.errors import EngineAway

log = logging.getLogger(__name__)

ROUND_S = 0.5
ALIVE_EVERY_S = 3.0


class WakingLoop:
    """Two rounds that go on until stopped."""

    def __init__(self, ctx: Context, presence: Presence) -> None:
        self._ctx = ctx
        self._presence = presence
        self._tasks: list[asyncio.Task[None]] = []
        self._blind = True  # nobody here has looked since the start, or since the database went away

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._rounds("waking", ROUND_S, self._wake), name="waking-loop"),
            asyncio.create_task(self._rounds("presence", ALIVE_EVERY_S, self._alive), name="presence-loop"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wake(self) -> None:
        try:
            if self._blind:
                await give_time(self._ctx)
                self._blind = False
            looked_at = AT_ONCE
            while looked_at == AT_ONCE:
                looked_at = await wake_due(self._ctx)
        except EngineAway:
            self._blind = True
            raise

    async def _alive(self) -> None:
        await self._presence.keep_alive()
        if self._ctx.bus.mode == "distributed":
            await self._presence.forget_dead()
            await self._presence.check_sockets()

    @staticmethod
    async def _rounds(name: str, every_s: float, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await look()
            except EngineAway as away:
                log.warning("the %s round waits for %s", name, away.engine)
            except Exception:
                log.exception("the %s round failed", name)
            await asyncio.sleep(every_s)
