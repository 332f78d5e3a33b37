"""The bus inside the process; its leases hold between processes on one data directory."""

from __future__ import annotations

import asyncio
import fcntl
import heapq
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from server.clock import Clock
from server.engines.bus import Receive, check_lease, check_topic
from server.errors import EngineAway

log = logging.getLogger(__name__)


class LocalSubscription:
    def __init__(self, bus: LocalBus, topic: str, receive: Receive) -> None:
        self.topic = topic
        self._bus = bus
        self._receive = receive
        self._open = True

    async def ready(self) -> None:
        """At once."""

    def close(self) -> None:
        self._open = False
        self._bus.forget(self)

    def deliver(self, topic: str, message: bytes) -> None:
        if not self._open:
            return
        try:
            self._receive(topic, message)
        except Exception:
            log.exception("a receiver of %s failed", self.topic)


class _Held(NamedTuple):
    descriptor: int
    holder: str
    epoch: int
    until: float
    expiry: asyncio.TimerHandle


class _Value(NamedTuple):
    value: bytes
    until: float


class LocalBus:
    """Messages and keys are the process's own. A lease is an flock on `run/lease-<name>`, which any end of the process gives back."""

    mode: Literal["embedded", "distributed"] = "embedded"

    def __init__(self, run: Path, clock: Clock) -> None:
        self._run = run
        self._clock = clock
        self._subscriptions: dict[str, list[LocalSubscription]] = {}
        self._values: dict[str, _Value] = {}
        self._ends: list[tuple[float, str]] = []
        self._leases: dict[str, _Held] = {}
        self._leasing = asyncio.Lock()
        self._closed = False

    # Messages.

    async def publish(self, topic: str, message: bytes) -> int:
        self._check_open()
        check_topic(topic)
        loop = asyncio.get_running_loop()
        matching = [
            subscription
            for wanted, those in self._subscriptions.items()
            if wanted == topic or (wanted.endswith("*") and topic.startswith(wanted[:-1]))
            for subscription in those
        ]
        for subscription in matching:
            loop.call_soon(subscription.deliver, topic, message)
        return len(matching)

    def subscribe(self, topic: str, receive: Receive) -> LocalSubscription:
        check_topic(topic, may_be_prefix=True)
        subscription = LocalSubscription(self, topic, receive)
        self._subscriptions.setdefault(topic, []).append(subscription)
        return subscription

    def forget(self, subscription: LocalSubscription) -> None:
        those = self._subscriptions.get(subscription.topic, [])
        if subscription in those:
            those.remove(subscription)
        if not those:
            self._subscriptions.pop(subscription.topic, None)

    def on_resync(self, callback: Callable[[], None]) -> None:
        """Never calls back: nothing can be lost between a process and itself."""

    # Leases.

    async def acquire(self, lease: str, holder: str, ttl_s: float) -> int | None:
        self._check_open()
        check_lease(lease)
        # One at a time, and to its end even when the caller goes away: the lock must not be taken without being known here.
        return await asyncio.shield(self._acquire(lease, holder, ttl_s))

    async def _acquire(self, lease: str, holder: str, ttl_s: float) -> int | None:
        async with self._leasing:
            held = self._leases.get(lease)
            if held and held.until > self._clock.monotonic() and held.holder != holder:
                return None
            least = int(self._clock.now().timestamp() * 1000)
            try:
                descriptor = held.descriptor if held else await asyncio.to_thread(_lock, self._run / f"lease-{lease}")
                if descriptor is None:
                    return None
                try:
                    epoch = await asyncio.to_thread(_next_epoch, descriptor, least)
                except OSError:
                    if held is None:
                        os.close(descriptor)
                    raise
            except OSError as error:
                raise EngineAway("bus", str(error)) from error
            if self._closed:
                if held is None:
                    os.close(descriptor)
                raise EngineAway("bus", "closed")
            self._hold(lease, descriptor, holder, epoch, ttl_s)
            return epoch

    async def renew(self, lease: str, holder: str, epoch: int, ttl_s: float) -> bool:
        self._check_open()
        held = self._leases.get(lease)
        if held is None or (held.holder, held.epoch) != (holder, epoch) or held.until <= self._clock.monotonic():
            return False
        self._hold(lease, held.descriptor, holder, epoch, ttl_s)
        return True

    async def release(self, lease: str, holder: str, epoch: int) -> None:
        async with self._leasing:
            held = self._leases.get(lease)
            if held is not None and (held.holder, held.epoch) == (holder, epoch):
                self._let_go(lease)

    def _hold(self, lease: str, descriptor: int, holder: str, epoch: int, ttl_s: float) -> None:
        if before := self._leases.get(lease):
            before.expiry.cancel()
        expiry = asyncio.get_running_loop().call_later(ttl_s, self._expire, lease)
        self._leases[lease] = _Held(descriptor, holder, epoch, self._clock.monotonic() + ttl_s, expiry)

    def _expire(self, lease: str) -> None:
        """Unlock a lease that was not renewed, so that another process can have it."""
        held = self._leases[lease]
        left = held.until - self._clock.monotonic()
        if left > 0 or self._leasing.locked():
            again = asyncio.get_running_loop().call_later(max(left, 0.05), self._expire, lease)
            self._leases[lease] = held._replace(expiry=again)
        else:
            self._let_go(lease)

    def _let_go(self, lease: str) -> None:
        held = self._leases.pop(lease)
        held.expiry.cancel()
        os.close(held.descriptor)

    # Counters and keys.

    async def increment(self, key: str, *, ttl_s: float, by: int = 1) -> int:
        self._check_open()
        now = self._value(key)
        count = by + (int(now.value) if now else 0)
        self._store(key, str(count).encode(), now.until if now else self._clock.monotonic() + ttl_s)
        return count

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        self._check_open()
        self._store(key, value, self._clock.monotonic() + ttl_s)

    async def find(self, key: str) -> bytes | None:
        self._check_open()
        value = self._value(key)
        return value.value if value else None

    async def take(self, key: str) -> bytes | None:
        value = await self.find(key)
        self._values.pop(key, None)
        return value

    async def remove(self, key: str) -> None:
        self._check_open()
        self._values.pop(key, None)

    async def ttl(self, key: str) -> float:
        self._check_open()
        value = self._value(key)
        return value.until - self._clock.monotonic() if value else 0.0

    def _store(self, key: str, value: bytes, until: float) -> None:
        self._values[key] = _Value(value, until)
        heapq.heappush(self._ends, (until, key))

    def _value(self, key: str) -> _Value | None:
        now = self._clock.monotonic()
        while self._ends and self._ends[0][0] <= now:
            until, ended = heapq.heappop(self._ends)
            if ended in self._values and self._values[ended].until == until:
                del self._values[ended]
        return self._values.get(key)

    # The door.

    def _check_open(self) -> None:
        if self._closed:
            raise EngineAway("bus", "closed")

    async def ping(self) -> None:
        self._check_open()

    async def close(self) -> None:
        self._closed = True
        async with self._leasing:
            for lease in list(self._leases):
                self._let_go(lease)


def _lock(path: Path) -> int | None:
    """The descriptor of the locked file, or None when another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _next_epoch(descriptor: int, least: int) -> int:
    epoch = max(int(os.pread(descriptor, 20, 0) or b"0") + 1, least)
    # Always 20 digits in place: a crash can leave the old number or the new one, nothing between.
    os.pwrite(descriptor, b"%020d" % epoch, 0)
    os.fsync(descriptor)
    return epoch
