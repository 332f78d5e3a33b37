"""Tells who follows the queues how they stand, at most once a second, and nobody when nobody does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from server.context import Context
from server.errors import EngineAway
from server.events import Event
from server.platform.inspecting import QueueFigure, figures
from server.platform.registered_jobs import RegisteredJobs

log = logging.getLogger(__name__)

TOLD_EVERY_S = 1.0


class QueueFigures(Event, frozen=True):
    """How the queues stand; made where it is followed, and never sent between instances."""

    queues: tuple[QueueFigure, ...]


class QueueTelling:
    """Reads the figures while somebody follows them; what has not changed is not told again."""

    def __init__(self, ctx: Context, tell: Callable[[QueueFigures], None], is_followed: Callable[[], bool]) -> None:
        self._ctx = ctx
        self._tell = tell
        self._is_followed = is_followed
        self._task: asyncio.Task[None] | None = None
        self._told: QueueFigures | None = None

    def begin(self) -> None:
        """Somebody follows from now on; what was told last is told to them too."""
        self._told = None
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve(), name="queue-telling")

    async def _serve(self) -> None:
        while self._is_followed():
            try:
                event = await self._read()
                if event != self._told:
                    self._told = event
                    self._tell(event)
            except EngineAway as away:
                log.info("the figures of the queues cannot be read: %s", away)
            await asyncio.sleep(TOLD_EVERY_S)

    async def _read(self) -> QueueFigures:
        now, registered = self._ctx.clock.now(), self._ctx.services.get(RegisteredJobs)
        return QueueFigures(tuple(await self._ctx.sql.read(lambda connection: figures(connection, registered, now))))
