"""A page of HR's rows, and how pages that are read in a thread come to the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

# Rows in one page of what we cut into pages ourselves; a thread holds the interpreter for about so many at a time.
PAGE_ROWS = 500
MOST_ROWS = 1_000_000

RawRow = dict[str, Any]


class Page(NamedTuple):
    """Rows as HR has them. `total`: how many there are in all, when the source says so."""

    rows: list[RawRow]
    total: int | None = None


async def in_threads(open_pages: Callable[[], Generator[T, None, None]]) -> AsyncGenerator[T, None]:
    """The pages of a blocking generator; each step is taken in a thread, and the generator is closed whatever happens."""
    pages = open_pages()
    try:
        while (page := await _uncut(asyncio.to_thread(next, pages, None))) is not None:
            yield page
    finally:
        await asyncio.to_thread(pages.close)


async def _uncut(step: Any) -> Any:
    """The step's result. A thread cannot be stopped, so that a cancelled caller waits until it has come to the end of its step."""
    running = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # nobody else will ask for it
        raise
