"""Modules that serve in the background of a test, and are stopped at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from zhihui_module import Module


class Serving:
    """Builds modules that serve in the background, and stops them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.running: list[tuple[Module, asyncio.Task[None]]] = []

    def __call__(self, handler: Callable[[Any], Any], **options: Any) -> Module:
        """A module of this handler that has begun to serve; outputs are not declared unless told."""
        module = Module(options.pop("name", "prices"), url=options.pop("url", self.url), environ={}, **options)
        module.handler(handler)
        self.running.append((module, asyncio.ensure_future(module.serve())))
        return module

    def task_of(self, module: Module) -> asyncio.Task[None]:
        return next(task for known, task in self.running if known is module)

    async def stop_all(self) -> None:
        for module, task in self.running:
            await module.stop(0)
            await asyncio.wait([task], timeout=10)
            assert task.done()
