"""Batches of work that run side by side, a bounded number of one call at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def batches(items: Sequence[T], *, most: int, most_chars: int, chars: Callable[[T], int]) -> list[list[T]]:
    """The items in order, cut into runs of at most `most` and `most_chars`; one that is longer by itself is alone."""
    found: list[list[T]] = []
    room = 0
    for item in items:
        size = chars(item)
        if not found or len(found[-1]) == most or size > room:
            found.append([])
            room = most_chars
        found[-1].append(item)
        room -= size
    return found


async def side_by_side(work: Callable[[T], Awaitable[list[R]]], items: Sequence[T], at_once: int) -> list[R]:
    """What `work` gives for each item, joined in order. When one fails the others are cancelled, and its error is raised."""
    waiting = enumerate(items)
    outcomes: dict[int, list[R]] = {}

    async def take() -> None:
        for number, item in waiting:
            outcomes[number] = await work(item)

    tasks = [asyncio.ensure_future(take()) for _ in range(min(at_once, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [result for number in range(len(items)) for result in outcomes[number]]
