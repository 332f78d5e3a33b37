"""Two server processes on one MariaDB and one Valkey, as operators run them for high availability."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis

from server import migrating
from server.config import Settings
from tests.contract.waiting import until
from tests.integration.api_client import Api
from tests.integration.house import PASSWORD
from tests.integration.module_socket import ModuleSocket
from tests.integration.running_server import RunningServer
from tests.peers.mariadb import MariaDb
from tests.peers.valkey import Valkey


class Instance:
    """One of them, with its interface."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.api = Api(server.url, PASSWORD)
        self._sockets: list[ModuleSocket] = []

    @property
    def url(self) -> str:
        return self.server.url

    async def leads(self) -> bool:
        """Whether it plans the schedules."""
        answer = await self.api.fetch("GET", "/metrics")
        return b"\nzhihui_leader 1.0\n" in answer.body

    async def connect(self, module: str, *, process: str = "p1") -> ModuleSocket:
        """A socket of a module on this instance, once it serves."""
        socket = await ModuleSocket.open(self.url, module, process=process)
        self._sockets.append(socket)

        async def serves() -> bool:
            shown = await self.api.get(f"/module/{module}")
            return bool(shown["online"] and any(one["state"] == "serving" for one in shown["connections"]))

        await until(serves)
        return socket

    async def end(self) -> None:
        for socket in self._sockets:
            if not socket.is_closed:
                await socket.close()
        self.api.close()
        await asyncio.to_thread(self.server.end)


@asynccontextmanager
async def two_instances(mariadb: MariaDb, valkey: Valkey, folder: Path) -> AsyncIterator[tuple[Instance, Instance]]:
    """Both ready. They share what operators have to share: database, bus, keys and files."""
    await asyncio.to_thread(forget_everything, valkey)
    kept = mariadb.database()
    database = await asyncio.to_thread(kept.__enter__)
    settings = {
        **database,
        "redis_url": valkey.url,
        "secret_key": "a-key-that-both-instances-share-in-this-test",
        "module_key": "zm_shared",
        "admin_password": PASSWORD,
        "files_dir": folder / "files",
        "rate_limit": "off",
    }
    pair: list[Instance] = []
    try:
        await asyncio.to_thread(migrating.migrate, Settings(data_dir=str(folder), **database))
        for name in ("a", "b"):
            pair.append(Instance(await asyncio.to_thread(RunningServer, folder / name, **settings)))
        await asyncio.gather(*(asyncio.to_thread(one.server.wait_ready) for one in pair))
        yield pair[0], pair[1]
    finally:
        await asyncio.gather(*(one.end() for one in pair))
        await asyncio.to_thread(kept.__exit__, None, None, None)


def forget_everything(valkey: Valkey) -> None:
    """Nothing of other tests is left on the bus."""
    client = redis.Redis.from_url(valkey.url)
    client.flushall()
    client.close()


async def find_leader(pair: tuple[Instance, Instance]) -> tuple[Instance, Instance]:
    """The one that leads, and the other."""
    found: list[Instance] = []

    async def one_leads() -> bool:
        found[:] = [one for one in pair if await one.leads()]
        return len(found) == 1

    await until(one_leads)
    return found[0], pair[1 - pair.index(found[0])]
