"""A listening server and its callers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import Application

from server.config import Settings
from server.resources import Resources
from server.serving import make_server
from tests.api.client import Api
from tests.api.module import FakeModule
from tests.embedded import ADMIN_PASSWORD

PRICE = {"name": "price", "type": "number"}
Register = Callable[..., Awaitable[FakeModule]]


@pytest.fixture
def app(resources: Resources) -> Application:
    return resources.app


@pytest.fixture
def http_server(io_loop: IOLoop, app: Application, settings: Settings, _unused_port: Any) -> Iterator[HTTPServer]:
    """The server as it is run: with the limits of bodies and the trust in proxies."""
    server = make_server(app, settings)
    server.add_socket(_unused_port[0])
    yield server
    server.stop()
    io_loop.run_sync(server.close_all_connections, timeout=10)


@pytest.fixture
def http_client(http_server: HTTPServer) -> Iterator[AsyncHTTPClient]:
    client = AsyncHTTPClient(force_instance=True, max_clients=50, defaults={"connect_timeout": 10})
    yield client
    client.close()


@pytest.fixture
def anonymous(http_client: AsyncHTTPClient, http_port: int) -> Api:
    """A caller who has not signed in."""
    return Api(http_client, f"http://127.0.0.1:{http_port}")


@pytest.fixture
def api(anonymous: Api, io_loop: IOLoop) -> Api:
    """`admin`, signed in."""

    async def sign_in() -> Api:
        answer = await anonymous.post("/api/auth/login", {"username": "admin", "password": ADMIN_PASSWORD})
        return anonymous.as_caller(answer.result["access_token"])

    return io_loop.run_sync(sign_in)


@pytest.fixture
def register(api: Api, io_loop: IOLoop) -> Iterator[Register]:
    """Registers a module with the given requirements; what it connects is closed after the test."""
    made: list[FakeModule] = []

    async def make(name: str = "prices", **more: Any) -> FakeModule:
        registered = (await api.post("/module/register", {"name": name, "modelHash": "1", **more})).result
        made.append(FakeModule(api, registered["hash"], registered["module_id"], name))
        return made[-1]

    async def disconnect() -> None:
        for module in made:
            await module.disconnect()

    yield make
    io_loop.run_sync(disconnect)


@pytest.fixture
def module(io_loop: IOLoop, register: Register) -> FakeModule:
    """A module that gives a price, connected."""

    async def connected() -> FakeModule:
        return await (await register("prices", output_data=[PRICE])).connect()

    return io_loop.run_sync(connected)


@pytest.fixture
def workflow(io_loop: IOLoop, api: Api, module: FakeModule) -> dict[str, Any]:
    """A workflow of one step, on that module, that no cron starts."""

    async def create() -> dict[str, Any]:
        made: dict[str, Any] = (await api.post("/workflow/create", {"name": "daily", "execute_modules": [module.step]})).result
        return made

    return io_loop.run_sync(create)
