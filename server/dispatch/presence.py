"""Modules come and go: a socket opens, takes over from another, drains, closes. Nobody is online until connected."""

from __future__ import annotations

import asyncio
import logging

import sqlalchemy as sa

from server.context import Context
from server.dispatch import frames
from server.dispatch.committing import commit
from server.dispatch.effects import Effects
from server.dispatch.events import CancelWanted, ModuleChanged, StepsReady
from server.dispatch.hub import Connection, Hub
from server.dispatch.reconnecting import forget_instance, let_wait, pull, take_up
from server.dispatch.tables import modules
from server.errors import EngineAway
from server.events import Resync

log = logging.getLogger(__name__)

RESTARTING = (1012, "service restart")
ALIVE_TTL_S = 15.0


async def connected(ctx: Context, socket: Connection) -> None:
    """A module's socket is open: it takes all new work; the one before it drains. What waits for the module goes out."""
    hub = ctx.services.get(Hub)
    old = hub.attach(socket)
    if old is not None:
        drain(ctx, old)

    def transaction(connection: sa.Connection, effects: Effects) -> dict[str, int]:
        present = {"instance": ctx.instance, "connected_at": effects.now, "last_seen": effects.now, "address": socket.address[:64]}
        connection.execute(modules.update().where(modules.c.hash == socket.hash).values(**present))
        flights = take_up(connection, effects, socket)
        pull(connection, effects, socket.hash)
        return flights

    flights = await commit(ctx, transaction)
    for step_id, fence in flights.items():
        socket.flights.setdefault(step_id, fence)
    await ctx.events.publish(ModuleChanged(socket.hash, online=True))


def drain(ctx: Context, socket: Connection) -> None:
    """No new work on this socket; it is closed when its steps have ended, or after the grace."""
    socket.draining = True
    socket.send(frames.encode(frames.Drain()))
    closing = asyncio.get_running_loop().call_later(ctx.settings.hot_swap_grace_s, _close, socket)
    if not socket.flights:
        closing.cancel()
        # After the frame is out: the module should hear `drain` before the close.
        asyncio.get_running_loop().call_later(0.05, _close, socket)


def close_if_drained(socket: Connection) -> None:
    """Close a draining socket whose last step has ended."""
    if socket.draining and not socket.flights:
        _close(socket)


def _close(socket: Connection) -> None:
    if not socket.closed:
        socket.close(*RESTARTING)


async def disconnected(ctx: Context, socket: Connection) -> None:
    """A socket has closed: its module is offline unless another socket serves it, and its steps wait for it to come back."""
    hub = ctx.services.get(Hub)
    was_serving = hub.detach(socket)
    flights = dict(socket.flights)
    socket.flights.clear()

    def transaction(connection: sa.Connection, effects: Effects) -> bool:
        gone = False
        if hub.find(socket.hash) is None and not hub.of_module(socket.hash):
            mine = modules.update().where(modules.c.hash == socket.hash, modules.c.instance == ctx.instance)
            gone = connection.execute(mine.values(instance=None, last_seen=effects.now)).rowcount == 1
        let_wait(connection, effects, flights, socket.hash, socket.process)
        return gone

    wait_s = 0.2
    while True:
        try:
            gone = await commit(ctx, transaction)
            break
        except EngineAway:
            if hub.closing:
                return  # the next start forgets this instance
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, 5.0)
    if gone or was_serving:
        await ctx.events.publish(ModuleChanged(socket.hash, online=hub.find(socket.hash) is not None))


class Presence:
    """Listens for what concerns the sockets of this instance."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._hub = ctx.services.get(Hub)
        self._pulls: set[asyncio.Task[None]] = set()
        ctx.events.listen(StepsReady, lambda event: self._pull(event.hash))
        ctx.events.listen(CancelWanted, self._cancel)
        ctx.events.listen(Resync, self._resync)
        ctx.events.listen(ModuleChanged, self._changed)

    def _resync(self, _event: Resync) -> None:
        for socket in self._hub:
            self._pull(socket.hash)

    def _pull(self, hash: str) -> None:
        if self._hub.find(hash) is None:
            return
        task = asyncio.get_running_loop().create_task(self._pull_now(hash))
        self._pulls.add(task)
        task.add_done_callback(self._pulls.discard)

    async def _pull_now(self, hash: str) -> None:
        try:
            await commit(self._ctx, lambda connection, effects: pull(connection, effects, hash))
        except EngineAway as away:
            log.warning("steps wait for %s", away.engine)  # they are looked at again when their grace is over
        except Exception:
            log.exception("steps of module %s could not be sent", hash[:8])

    def _cancel(self, event: CancelWanted) -> None:
        socket = self._hub.find_flight(event.hash, event.step_id)
        if socket is not None and socket.flights.get(event.step_id) == event.fence:
            socket.send(frames.encode(frames.Cancel(event.run_id, event.step_id, event.fence)))

    def _changed(self, event: ModuleChanged) -> None:
        if event.removed:
            for socket in self._hub.of_module(event.hash):
                socket.close(1008, "module removed")

    async def keep_alive(self) -> None:
        """Tell the other instances that this one lives. Called every few seconds."""
        await self._ctx.bus.put(f"instance:{self._ctx.instance}", b"1", ttl_s=ALIVE_TTL_S)


async def forget_dead_instances(ctx: Context) -> int:
    """Modules on instances that no longer tell that they live are offline; how many."""
    held = sa.select(modules.c.instance).where(modules.c.instance.is_not(None)).distinct()
    named = await ctx.sql.read(lambda connection: list(connection.execute(held).scalars()))
    dead = [name for name in named if name != ctx.instance and await ctx.bus.find(f"instance:{name}") is None]
    if not dead:
        return 0
    log.info("instances %s are gone", ", ".join(dead))
    return await commit(ctx, lambda connection, effects: forget_instance(connection, effects, dead))


async def expire_modules(ctx: Context) -> int:
    """Set every module offline, as at the start of the only instance; how many were online."""
    return await commit(ctx, lambda connection, effects: forget_instance(connection, effects, None))
