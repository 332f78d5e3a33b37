"""What dashboards show, kept for those with the same rights until something changes, and never longer than a few seconds."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from server.actor import Actor
from server.context import Context
from server.events import Resync
from server.projects.access import AUDIT, MANAGE, READ
from server.projects.events import DashboardStale, ProjectChanged
from server.projects.review_access import MANAGE_ROUNDS

KEPT_FOR_S = 5.0
MOST_KEPT = 500
TOLD_EVERY_S = 1.0
_SCOPES = (READ, MANAGE, AUDIT, MANAGE_ROUNDS)


def signature(actor: Actor) -> Hashable:
    """Callers with the same signature see the same figures: the same scopes in the same places, and the same person where that matters."""
    everything = actor.organizations(MANAGE) is None and actor.organizations(MANAGE_ROUNDS) == frozenset()
    return (None if everything else actor.user_id, *(actor.organizations(scope) for scope in _SCOPES))


class DashboardCache:
    """Answers by key; those who ask for one at the same moment wait for one reading."""

    def __init__(self, ctx: Context) -> None:
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._reading: dict[Hashable, asyncio.Task[Any]] = {}
        self._changes = 0
        for kind in (ProjectChanged, DashboardStale, Resync):
            ctx.events.listen(kind, lambda _event: self.drop())

    def drop(self) -> None:
        """Something has changed: what is kept, and what is being read, is not for those who ask from now on."""
        self._changes += 1
        self._kept.clear()
        self._reading.clear()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[Any]]) -> Any:
        """What is kept for the key, or else what `read` answers."""
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < KEPT_FOR_S:
            self._kept.move_to_end(key)
            return kept[1]
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.get_running_loop().create_task(self._read(key, read))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        # One who hangs up must not take it away from the others.
        return await asyncio.shield(task)

    async def _read(self, key: Hashable, read: Callable[[], Awaitable[Any]]) -> Any:
        changes, began = self._changes, time.monotonic()
        try:
            found = await read()
            if changes == self._changes:
                self._kept[key] = (began, found)
                while len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
            return found
        finally:
            if changes == self._changes:
                self._reading.pop(key, None)


def cache_of(ctx: Context) -> DashboardCache:
    """The cache of this process; made when it is first asked for."""
    try:
        return ctx.services.get(DashboardCache)
    except KeyError:
        return ctx.services.add(DashboardCache(ctx))


class StaleTelling:
    """Tells who follows the dashboard that it has changed: at once, then at most once a second, and never too little."""

    def __init__(self, ctx: Context, tell: Callable[[DashboardStale], None], is_followed: Callable[[], bool]) -> None:
        self._tell = tell
        self._is_followed = is_followed
        self._told_at = -TOLD_EVERY_S
        self._later: asyncio.TimerHandle | None = None
        cache_of(ctx)  # it hears of a change before those who follow do
        for kind in (ProjectChanged, DashboardStale):
            ctx.events.listen(kind, lambda _event: self._changed())

    def _changed(self) -> None:
        if self._later is not None or not self._is_followed():
            return
        loop = asyncio.get_running_loop()
        wait_s = self._told_at + TOLD_EVERY_S - loop.time()
        if wait_s <= 0:
            self._say()
        else:
            self._later = loop.call_later(wait_s, self._say)

    def _say(self) -> None:
        self._later = None
        self._told_at = asyncio.get_running_loop().time()
        self._tell(DashboardStale())


def may_follow_dashboard(actor: Actor) -> bool:
    """Whoever sees a dashboard may hear that it has changed; the event says nothing else."""
    return actor.may("dashboard:read")
