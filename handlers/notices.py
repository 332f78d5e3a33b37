"""Pushes notifications to the sockets of those whom they are for, each in the language of its page."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from server.actor import Actor
from server.context import Context
from server.errors import EngineAway
from server.platform.notifications.reading import Pushed, pushed, shown
from server.platform.notifications.telling import NotificationsChanged

log = logging.getLogger(__name__)

NOTICES = "notifications"  # the topic
AT_ONCE = 50


class Reader(Protocol):
    """A socket that follows its own notifications."""

    @property
    def actor(self) -> Actor: ...

    def tell(self, topic: str, event: str, data: Any) -> None: ...


def may_read_notices(actor: Actor) -> bool:
    """A person's own session; a key is not told what its owner is told."""
    return actor.user_id is not None and actor.session_id is not None


class Notices:
    """Reads what is new once for all sockets that it concerns, one event after the other."""

    def __init__(self, ctx: Context, readers: Callable[[], Iterable[Reader]]) -> None:
        self._ctx = ctx
        self._readers = readers
        self._waiting: deque[NotificationsChanged] = deque()
        self._telling: asyncio.Task[None] | None = None
        ctx.events.listen(NotificationsChanged, self._changed)

    def _of(self, event: NotificationsChanged) -> list[Reader]:
        meant = frozenset(event.user_ids)
        return [reader for reader in self._readers() if reader.actor.user_id in meant]

    def _changed(self, event: NotificationsChanged) -> None:
        if self._of(event):
            self._waiting.append(event)
            if self._telling is None or self._telling.done():
                self._telling = asyncio.get_running_loop().create_task(self._tell_all())

    async def _tell_all(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            try:
                await self._tell(event)
            except EngineAway as away:
                log.warning("sockets are not told of a notification: %s", away)
                for reader in self._of(event):
                    reader.tell(NOTICES, "resync", None)
            except Exception:
                log.exception("sockets could not be told of a notification")

    async def _tell(self, event: NotificationsChanged) -> None:
        user_ids = {reader.actor.user_id for reader in self._of(event)} - {None}
        found = await self._ctx.sql.read(lambda connection: pushed(connection, user_ids, event.event_key))  # type: ignore[arg-type]
        for number, reader in enumerate(self._of(event)):  # those that still follow
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)  # a thousand frames must not keep the loop
            row, unread = found.get(reader.actor.user_id or 0, (None, 0))
            if reader.actor.user_id in found:
                told = Pushed(shown(row, reader.actor.locale) if row is not None else None, unread)
                reader.tell(NOTICES, type(event).__name__, msgspec.to_builtins(told))
