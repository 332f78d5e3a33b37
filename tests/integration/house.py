"""A whole server on the test's own loop: the real loops and sockets, with its insides open to the test."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from server.clock import Clock
from server.config import Settings
from server.context import Context
from server.dispatch.hub import Hub
from server.resources import Resources
from tests.contract.waiting import until
from tests.integration.api_client import Api
from tests.integration.module_socket import ModuleSocket

PASSWORD = "a-password-for-tests"
# A Wednesday, 12:00 in Shanghai: when tests that hold the clock begin.
NOON = datetime(2026, 3, 4, 4, 0, 0, tzinfo=UTC)


class House:
    """The running server, its interface, and the sockets of modules that the test opened on it."""

    def __init__(self, resources: Resources, url: str) -> None:
        self.resources = resources
        self.url = url
        self.api = Api(url, PASSWORD)
        self._sockets: list[ModuleSocket] = []

    @property
    def ctx(self) -> Context:
        return self.resources.ctx

    async def connect(self, hash: str, *, process: str = "p1", protocol: int = 2) -> ModuleSocket:
        """A socket of a module, once the server counts it as serving."""
        hub = self.ctx.services.get(Hub)
        before = hub.find(hash)
        socket = await ModuleSocket.open(self.url, hash, process=process, protocol=protocol)
        self._sockets.append(socket)
        await until(lambda: hub.find(hash) not in (None, before))

        async def is_online() -> bool:
            return hash in await self.api.online()

        await until(is_online)
        return socket

    async def module(self, name: str, *, inputs: Any = (), outputs: Any = (), process: str = "p1") -> tuple[str, ModuleSocket]:
        """A module that is registered and connected."""
        registered = await self.api.register(name, inputs=inputs, outputs=outputs)
        return registered, await self.connect(registered, process=process)

    async def rows(self, table: sa.Table, *where: Any) -> list[Any]:
        return await self.ctx.sql.read(lambda connection: list(connection.execute(sa.select(table).where(*where)).all()))

    async def write(self, statement: Any) -> None:
        await self.ctx.sql.write(lambda connection: connection.execute(statement) and None)

    async def close_sockets(self) -> None:
        for socket in self._sockets:
            if not socket.is_closed:
                await socket.close()


@asynccontextmanager
async def open_house(
    data: Path, *, port: int = 0, clock: Clock | None = None, loops: bool = True, ping_s: float | None = None, **settings: Any
) -> AsyncIterator[House]:
    """A server on DATA_DIR `data`; with `ping_s` it pings its sockets that often instead of every 30 s."""
    async with AsyncExitStack() as stack:
        if port:
            (socket,) = await asyncio.to_thread(_bound, port)
        else:
            socket, port = bind_unused_port()
        wanted = Settings(data_dir=str(data), server_port=port, admin_password=PASSWORD, rate_limit="off", **settings)
        resources = await Resources.open(wanted, clock=clock, loops=loops)
        stack.push_async_callback(resources.close)
        if ping_s is not None:
            resources.app.settings.update(websocket_ping_interval=ping_s, websocket_ping_timeout=ping_s)
        server = HTTPServer(resources.app)
        server.add_socket(socket)
        house = House(resources, f"http://127.0.0.1:{port}")
        try:
            yield house
        finally:
            server.stop()
            await resources.drain()
            resources.app.settings["connections"].close_all(1012, "service restart")
            await house.close_sockets()
            house.api.close()
            await until(lambda: len(resources.app.settings["connections"]) == 0)
            await server.close_all_connections()


def _bound(port: int) -> list[Any]:
    from tornado.netutil import bind_sockets

    return bind_sockets(port, "127.0.0.1")


def prepare(folder: Path, clock: Clock | None = None) -> Path:
    """A DATA_DIR with its tables made and its administrator set up, to be copied by many tests."""

    async def once() -> None:
        resources = await Resources.open(Settings(data_dir=str(folder), admin_password=PASSWORD), clock=clock, loops=False)
        await resources.close()

    asyncio.run(once())
    return folder


def copied(prepared: Path, to: Path) -> Path:
    shutil.copytree(prepared, to)
    return to
