"""Starts what the first document or search needs before it is asked for: the vector engine, the query model, a worker that reads PDFs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from jobs.cpu.reading import load
from server.context import Context
from server.engines.embedding import Passage
from server.errors import DomainError

log = logging.getLogger(__name__)

LOAD_TIME_S = 60.0
# Servers that are tried for a moment need no model.
SETTLED_S = 20.0
WORD = Passage(text="word", heading="", language="en")


class Warming:
    """Each once; whatever fails shows when it is needed."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._begun: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Have built, once for an installation and when the server has settled, what the first document would wait for."""
        self._preparing = asyncio.create_task(self._prepare(), name="preparing")

    async def _prepare(self) -> None:
        await asyncio.sleep(SETTLED_S)
        await self._try(self._ctx.embedding.prepare())

    def begin(self) -> None:
        """Begin in the background, if it was not begun yet."""
        if self._begun is None:
            self._begun = asyncio.create_task(self._warm(), name="warming")

    async def _warm(self) -> None:
        ctx = self._ctx
        reading = self._try(ctx.compute.run(load, time_limit_s=LOAD_TIME_S))
        # On another slot, while the first one loads what reads; an endpoint needs no warming.
        embedding = [self._try(ctx.embedding.passages([WORD]))] if ctx.embedding.mode == "embedded" else []
        await asyncio.gather(self._try(ctx.vectors.warm()), reading, *embedding)
        await self._try(ctx.embedding.warm())  # for questions, which come after documents

    async def _try(self, step: Awaitable[object]) -> None:
        try:
            await step
        except DomainError as error:
            log.info("could not be warmed up: %s", error)

    async def close(self) -> None:
        tasks = [task for task in (self._begun, self._preparing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
