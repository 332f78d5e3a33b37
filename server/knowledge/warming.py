"""Starts what the first document or search needs before it is asked for: the vector engine, the query model, a worker that reads PDFs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from jobs.cpu.reading import load
from server.context import Context
from server.errors import DomainError

log = logging.getLogger(__name__)

LOAD_TIME_S = 60.0


class Warming:
    """Warms up once; whatever fails shows when it is needed."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._begun: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Begin in the background, if it was not begun yet."""
        if not self._begun:
            ctx = self._ctx
            steps = (ctx.vectors.warm(), ctx.embedding.warm(), ctx.compute.run(load, time_limit_s=LOAD_TIME_S))
            self._begun = [asyncio.create_task(self._try(step)) for step in steps]

    async def _try(self, step: Awaitable[None]) -> None:
        try:
            await step
        except DomainError as error:
            log.info("could not be warmed up: %s", error)

    async def close(self) -> None:
        for task in self._begun:
            task.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)
