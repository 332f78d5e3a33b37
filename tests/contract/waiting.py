"""Waiting for something to become true, however long a busy machine takes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any


async def until(holds: Callable[[], Any | Awaitable[Any]], *, timeout_s: float = 30) -> None:
    """Return once `holds()`, which may be async, is true; AssertionError after the timeout."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        outcome = holds()
        if inspect.isawaitable(outcome):
            outcome = await outcome
        if outcome:
            return
        assert asyncio.get_running_loop().time() < deadline, "it never came true"
        await asyncio.sleep(0.02)
