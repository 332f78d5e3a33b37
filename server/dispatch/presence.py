"""Modules come and go: a socket opens, takes over from another, drains, closes. Nobody is online until connected."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.dispatch import frames
from server.dispatch.committing import commit
from server.dispatch.effects import Effects
from server.dispatch.events import CancelWanted, ModuleChanged, ModuleTaken, StepsReady
from server.dispatch.hub import Connection, Hub
from server.dispatch.reconnecting import forget_instance, let_wait, pull, redirect, take_up
from server.dispatch.tables import modules
from server.errors import EngineAway
from server.events import Resync

log = logging.getLogger(__name__)

RESTARTING = (1012, "service restart")
ALIVE_TTL_S = 10.0
# An instance is gone when its sign of life was missing so often in a row: a bus that has lost its memory is no proof.
MISSED_LOOKS = 3
AT_ONCE = 500


async def connected(ctx: Context, socket: Connection) -> None:
    """A module's socket is open: it takes all new work; the one before it drains. What waits for the module goes out.

    May be called again for the same socket, such as when the database was away.
    """
    hub = ctx.services.get(Hub)
    old = hub.attach(socket)
    if old is not None:
        drain(ctx, old)
    if hub.find(socket.hash) is not socket:
        return  # replaced or closed while it waited

    def transaction(connection: sa.Connection, effects: Effects) -> None:
        told = {"instance": ctx.instance, "connected_at": socket.connected_at, "last_seen": effects.now, "address": socket.address[:64]}
        connection.execute(modules.update().where(modules.c.hash == socket.hash).values(**told))
        take_up(connection, effects, socket)
        pull(connection, effects, socket.hash)

    await commit(ctx, transaction)
    socket.present = True
    if socket.closed:
        await disconnected(ctx, socket)  # its end may have been written down before its beginning
        return
    await ctx.events.publish(ModuleTaken(socket.hash, ctx.instance, socket.process))
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
    """Close a draining socket whose last step has ended; a module that leaves by itself closes it itself."""
    if socket.draining and not socket.flights and not socket.leaving:
        _close(socket)


async def leaves(ctx: Context, socket: Connection) -> None:
    """The module says that it takes no new work on this socket: unless another one serves it, it is offline from now on."""
    hub = ctx.services.get(Hub)
    socket.leaving = True
    if not hub.retire(socket):
        return

    def transaction(connection: sa.Connection, _effects: Effects) -> None:
        if hub.find(socket.hash) is None:
            mine = modules.update().where(modules.c.hash == socket.hash, modules.c.instance == ctx.instance)
            connection.execute(mine.values(instance=None, last_seen=socket.last_seen))

    await commit(ctx, transaction)
    await ctx.events.publish(ModuleChanged(socket.hash, online=hub.find(socket.hash) is not None))


async def refused(ctx: Context, socket: Connection, step_id: str, fence: int) -> bool:
    """The module did not take a step, as it is stopping: the step goes to whoever serves next. False when it had moved on."""
    await leaves(ctx, socket)
    moved = await commit(ctx, lambda connection, effects: redirect(connection, effects, step_id, fence))
    if socket.flights.get(step_id) == fence:
        del socket.flights[step_id]
    return moved


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
        self._tasks: set[asyncio.Task[None]] = set()
        self._missed: Counter[str] = Counter()
        ctx.events.listen(StepsReady, lambda event: self._pull(event.hash))
        ctx.events.listen(CancelWanted, self._cancel)
        ctx.events.listen(Resync, self._resync)
        ctx.events.listen(ModuleChanged, self._changed)
        ctx.events.listen(ModuleTaken, self._taken)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _resync(self, _event: Resync) -> None:
        for socket in self._hub.serving:
            self._pull(socket.hash)
        self._do(self._look())

    def _pull(self, hash: str) -> None:
        if self._hub.find(hash) is not None:
            self._do(self._pull_now(hash))

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

    def _taken(self, event: ModuleTaken) -> None:
        if event.instance == self._ctx.instance:
            return
        for socket in self._hub.of_module(event.hash):
            if socket.process is not None and socket.process == event.process:
                socket.flights.clear()  # taken up there
        if self._hub.find(event.hash) is not None:
            self._do(self._look())

    async def _look(self) -> None:
        try:
            await self.check_sockets()
        except EngineAway as away:
            log.warning("the sockets could not be checked: %s is away", away.engine)  # the next round does it
        except Exception:
            log.exception("the sockets could not be checked")

    async def keep_alive(self) -> None:
        """Tell the other instances that this one lives. Called every few seconds."""
        await self._ctx.bus.put(f"instance:{self._ctx.instance}", b"1", ttl_s=ALIVE_TTL_S)

    async def check_sockets(self) -> None:
        """Hold the sockets here against the modules' rows: a module is served where its last connection is.

        One that another instance serves drains here. One that counts as offline, because this instance was taken for dead, is served again.
        """
        here = {socket.hash: socket for socket in self._hub.serving if socket.present}
        hashes = list(here)
        for start in range(0, len(hashes), AT_ONCE):
            some = sa.select(modules.c.hash, modules.c.instance).where(modules.c.hash.in_(hashes[start : start + AT_ONCE]))
            found = await self._ctx.sql.read(lambda connection, some=some: list(connection.execute(some).all()))  # type: ignore[misc]
            for row in found:
                if row.instance != self._ctx.instance:
                    await self._check(here[row.hash], row.instance)

    async def _check(self, socket: Connection, instance: str | None) -> None:
        elsewhere = instance is not None and await self._ctx.bus.find(f"instance:{instance}") is not None
        if self._hub.find(socket.hash) is not socket:
            return
        if not elsewhere:
            await connected(self._ctx, socket)
        elif self._hub.retire(socket):
            log.info("module %s is served by %s now", socket.hash[:8], instance)
            drain(self._ctx, socket)

    async def forget_dead(self) -> None:
        """Modules on instances that have not told that they live for some time are offline. Called every few seconds."""
        missing = await _missing_instances(self._ctx)
        self._missed = Counter({name: self._missed[name] + 1 for name in missing})
        dead = [name for name, looks in self._missed.items() if looks >= MISSED_LOOKS]
        if dead:
            await _forget(self._ctx, dead)


async def forget_dead_instances(ctx: Context) -> int:
    """Modules on instances that do not tell that they live are offline, as at the start of an instance; how many."""
    dead = await _missing_instances(ctx)
    return await _forget(ctx, dead) if dead else 0


async def _missing_instances(ctx: Context) -> list[str]:
    held = sa.select(modules.c.instance).where(modules.c.instance.is_not(None)).distinct()
    named = await ctx.sql.read(lambda connection: list(connection.execute(held).scalars()))
    return [name for name in named if name != ctx.instance and await ctx.bus.find(f"instance:{name}") is None]


async def _forget(ctx: Context, dead: list[str]) -> int:
    log.info("instances %s are gone", ", ".join(dead))
    return await commit(ctx, lambda connection, effects: forget_instance(connection, effects, dead))


async def expire_modules(ctx: Context) -> int:
    """Set every module offline, as at the start of the only instance; how many were online."""
    return await commit(ctx, lambda connection, effects: forget_instance(connection, effects, None))
