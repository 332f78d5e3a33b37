"""The bus on Redis."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server.engines.bus import Receive, check_lease, check_topic
from server.errors import EngineAway

log = logging.getLogger(__name__)

T = TypeVar("T")

PREFIX = "zhihui:"
TOPIC = f"{PREFIX}topic:"
SOCKET_TIMEOUT_S = 5.0
MOST_CONNECTIONS = 20
HEARTBEAT_S = 5.0
# A connection that has brought nothing for so long, not even our own heartbeats, is dead whatever TCP says.
SILENCE_S = 15.0
LONGEST_PAUSE_S = 5.0

# KEYS: lease, epoch; ARGV: holder, ttl in ms. The epoch begins at the time, so that it rises on even when Redis has lost it.
ACQUIRE = """
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%d+:(.*)$') ~= ARGV[1] then return false end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = math.max((tonumber(redis.call('GET', KEYS[2])) or 0) + 1, now)
local text = string.format('%.0f', epoch)
redis.call('SET', KEYS[2], text)
redis.call('SET', KEYS[1], text .. ':' .. ARGV[1], 'PX', ARGV[2])
return epoch
"""
# KEYS: lease; ARGV: what it must hold, ttl in ms.
RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
# KEYS: counter; ARGV: by, ttl in ms.
INCREMENT = """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return count
"""


class RedisSubscription:
    def __init__(self, bus: RedisBus, topic: str, receive: Receive) -> None:
        self.topic = topic
        self._bus = bus
        self._receive = receive
        self._open = True

    async def ready(self) -> None:
        await self._bus.known(self.topic)

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


class RedisBus:
    """One pool for commands and one connection that listens, which is rebuilt when it breaks or falls silent."""

    mode: Literal["embedded", "distributed"] = "distributed"

    def __init__(self, url: str, *, heartbeat_s: float = HEARTBEAT_S, silence_s: float = SILENCE_S) -> None:
        pool: Any = BlockingConnectionPool.from_url(
            url,
            max_connections=MOST_CONNECTIONS,
            timeout=SOCKET_TIMEOUT_S,
            protocol=2,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            # No retries: a count that was made but not heard of must not be made twice.
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._heartbeat_s = heartbeat_s
        self._silence_s = silence_s
        self._heartbeat = f"{PREFIX}heartbeat:{uuid.uuid4().hex}"
        self._subscriptions: dict[str, list[RedisSubscription]] = {}
        self._known: set[str] = set()
        self._changed = asyncio.Event()
        self._learned = asyncio.Condition()
        self._gap = False
        self._callbacks: list[Callable[[], None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def _asked(self, answer: Awaitable[T]) -> T:
        if self._closed:
            if asyncio.iscoroutine(answer):
                answer.close()
            raise EngineAway("bus", "closed")
        try:
            # Shielded: a caller that goes away must not leave half an exchange on a pooled connection.
            return await asyncio.shield(answer)
        except (RedisError, OSError, TimeoutError) as error:
            raise EngineAway("bus", str(error)) from error

    # Messages.

    async def publish(self, topic: str, message: bytes) -> int:
        check_topic(topic)
        received: int = await self._asked(self._redis.publish(TOPIC + topic, message))
        return received

    def subscribe(self, topic: str, receive: Receive) -> RedisSubscription:
        check_topic(topic, may_be_prefix=True)
        subscription = RedisSubscription(self, topic, receive)
        self._subscriptions.setdefault(topic, []).append(subscription)
        self._changed.set()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen(), name="bus-listen"), asyncio.create_task(self._beat(), name="bus-beat")]
        return subscription

    def forget(self, subscription: RedisSubscription) -> None:
        those = self._subscriptions.get(subscription.topic, [])
        if subscription in those:
            those.remove(subscription)
        if not those:
            self._subscriptions.pop(subscription.topic, None)
            self._changed.set()

    async def known(self, topic: str) -> None:
        async with self._learned:
            await self._learned.wait_for(lambda: topic in self._known)

    def on_resync(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            with suppress(EngineAway):  # the listener notices by itself
                await self._asked(self._redis.publish(self._heartbeat, b""))

    async def _listen(self) -> None:
        pause = 0.1
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._heartbeat)
                    keeper = asyncio.create_task(self._keep_subscribed(pubsub), name="bus-keep-subscribed")
                    try:
                        pause = 0.1
                        await self._read(pubsub, keeper)
                    finally:
                        keeper.cancel()
                        await asyncio.gather(keeper, return_exceptions=True)
            except (RedisError, OSError, TimeoutError) as error:
                if not self._gap:
                    log.warning("the bus is away: %s", error)
            except Exception:
                log.exception("listening to the bus failed")
            self._known.clear()
            self._gap = True
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _keep_subscribed(self, pubsub: PubSub) -> None:
        """Tell Redis each change of what is wanted."""
        told: set[str] = set()
        while True:
            self._changed.clear()
            wanted = set(self._subscriptions)
            for topic in wanted - told:
                await (pubsub.psubscribe if topic.endswith("*") else pubsub.subscribe)(TOPIC + topic)
            for topic in told - wanted:
                await (pubsub.punsubscribe if topic.endswith("*") else pubsub.unsubscribe)(TOPIC + topic)
            told = wanted
            await self._changed.wait()

    async def _read(self, pubsub: PubSub, keeper: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            message: dict[str, Any] | None = await pubsub.get_message(timeout=min(1.0, self._silence_s / 3))
            if keeper.done():
                keeper.result()
            if message is not None:
                heard = loop.time()
                await self._handle(message)
            elif loop.time() - heard > self._silence_s:
                raise TimeoutError(f"silent for {self._silence_s} s")

    async def _handle(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode()
        kind = message["type"]
        if not channel.startswith(TOPIC):
            return
        topic = channel.removeprefix(TOPIC)
        if kind in ("message", "pmessage"):
            wanted = topic if kind == "message" else message["pattern"].decode().removeprefix(TOPIC)
            for subscription in list(self._subscriptions.get(wanted, [])):
                subscription.deliver(topic, message["data"])
            return
        async with self._learned:
            if kind in ("subscribe", "psubscribe"):
                self._known.add(topic)
            else:
                self._known.discard(topic)
            self._learned.notify_all()
        if self._gap and self._known >= self._subscriptions.keys():
            self._gap = False
            log.info("the bus is back")
            self._resync()

    def _resync(self) -> None:
        for callback in self._callbacks:
            try:
                callback()
            except Exception:
                log.exception("a resync callback failed")

    # Leases.

    async def acquire(self, lease: str, holder: str, ttl_s: float) -> int | None:
        check_lease(lease)
        epoch = await self._eval(ACQUIRE, [_lease(lease), f"{PREFIX}epoch:{lease}"], [holder, _ms(ttl_s)])
        return None if epoch is None else int(epoch)

    async def renew(self, lease: str, holder: str, epoch: int, ttl_s: float) -> bool:
        return bool(await self._eval(RENEW, [_lease(lease)], [f"{epoch}:{holder}", _ms(ttl_s)]))

    async def release(self, lease: str, holder: str, epoch: int) -> None:
        await self._eval(RELEASE, [_lease(lease)], [f"{epoch}:{holder}"])

    # Counters and keys.

    async def increment(self, key: str, *, ttl_s: float, by: int = 1) -> int:
        return int(await self._eval(INCREMENT, [_key(key)], [by, _ms(ttl_s)]))

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        await self._asked(self._redis.set(_key(key), value, px=_ms(ttl_s)))

    async def find(self, key: str) -> bytes | None:
        found: Any = await self._asked(self._redis.get(_key(key)))
        return None if found is None else bytes(found)

    async def take(self, key: str) -> bytes | None:
        found: Any = await self._asked(self._redis.getdel(_key(key)))
        return None if found is None else bytes(found)

    async def remove(self, key: str) -> None:
        await self._asked(self._redis.delete(_key(key)))

    async def ttl(self, key: str) -> float:
        left: int = await self._asked(self._redis.pttl(_key(key)))
        return max(left, 0) / 1000

    async def _eval(self, script: str, keys: list[str], arguments: list[str | int]) -> Any:
        return await self._asked(self._redis.eval(script, len(keys), *keys, *arguments))

    # The door.

    async def ping(self) -> None:
        await self._asked(self._redis.ping())

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()


def _lease(name: str) -> str:
    return f"{PREFIX}lease:{name}"


def _key(name: str) -> str:
    return f"{PREFIX}key:{name}"


def _ms(ttl_s: float) -> int:
    return max(1, round(ttl_s * 1000))
