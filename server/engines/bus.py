"""The door to the bus: messages between instances, leases, counters and short-lived keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, Protocol

from server.clock import Clock
from server.config import Settings

Receive = Callable[[str, bytes], None]

_TOPIC = re.compile(r"[A-Za-z0-9_.:@/-]{1,200}")
_LEASE = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class Subscription(Protocol):
    """A standing wish for messages."""

    async def ready(self) -> None:
        """Wait until messages that are published from now on will come; while the bus is away that waits too."""

    def close(self) -> None:
        """Nothing is received from now on. May be called again."""


class BusDoor(Protocol):
    """What instances tell each other. Keys and messages may be lost with the bus; nothing that must last belongs here.

    Topics, leases and keys are plain ASCII names; times to live are in seconds. Every async method raises EngineAway when the bus does
    not answer.
    """

    mode: Literal["embedded", "distributed"]

    async def publish(self, topic: str, message: bytes) -> int:
        """Send to all who receive the topic; about how many those are. 0 means nobody got it."""

    def subscribe(self, topic: str, receive: Receive) -> Subscription:
        """Call `receive(topic, message)` on the loop for each message; a topic that ends in * takes all that begin so.

        What `receive` raises is logged and harms nobody else.
        """

    def on_resync(self, callback: Callable[[], None]) -> None:
        """Call back after each gap in which messages may have been lost."""

    async def acquire(self, lease: str, holder: str, ttl_s: float) -> int | None:
        """Take the lease: its epoch, or None when somebody else holds it.

        The epoch is greater than that of every acquisition before (it begins at the time in milliseconds, so that it stays so when the
        bus has lost its memory): storage that refuses a smaller one than it has seen is safe from a holder that has been overtaken. A
        holder that already has the lease gets it anew, with a new epoch.
        """

    async def renew(self, lease: str, holder: str, epoch: int, ttl_s: float) -> bool:
        """Hold on for `ttl_s` from now; False when the lease is no longer held so."""

    async def release(self, lease: str, holder: str, epoch: int) -> None:
        """Give the lease back, if it is still held so."""

    async def increment(self, key: str, *, ttl_s: float, by: int = 1) -> int:
        """Count; the first count decides when the counter ends."""

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None: ...

    async def find(self, key: str) -> bytes | None: ...

    async def take(self, key: str) -> bytes | None:
        """Get and remove at once: of several who ask, one gets it."""

    async def remove(self, key: str) -> None: ...

    async def ttl(self, key: str) -> float:
        """Seconds that the key has left; 0 when it is not there."""

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


def open_bus(settings: Settings, clock: Clock) -> BusDoor:
    """The door that the settings ask for."""
    if settings.redis_url:
        from server.engines.bus_redis import RedisBus

        return RedisBus(settings.redis_url)
    from server.engines.bus_local import LocalBus

    return LocalBus(settings.data / "run", clock)


def check_topic(topic: str, *, may_be_prefix: bool = False) -> None:
    """ValueError for a name that the two sides would not treat alike."""
    if not _TOPIC.fullmatch(topic.removesuffix("*") if may_be_prefix and topic != "*" else topic):
        raise ValueError(f"{topic!r} cannot be a topic")


def check_lease(lease: str) -> None:
    if not _LEASE.fullmatch(lease):
        raise ValueError(f"{lease!r} cannot be the name of a lease")
