"""An embedded server for one test: all of it real, on a database that was set up once for the whole test run."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from tornado.ioloop import IOLoop

from server.clock import Clock
from server.config import Settings
from server.context import Context
from server.people.passwords import Passwords
from server.people.setup import create_admin
from server.resources import Resources
from server.scopes import system_actor

ADMIN_PASSWORD = "correct horse battery"
MODULE_KEY = "zm_the-module-key-of-the-tests"
SECRET_KEY = "the-secret-key-of-the-tests-" + 12 * "x"


def cheap_passwords() -> Passwords:
    """Passwords with a hash that costs next to nothing."""
    passwords = Passwords()
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return passwords


def settings_in(folder: Path, **more: object) -> Settings:
    given = {"data_dir": str(folder), "admin_password": ADMIN_PASSWORD, "module_key": MODULE_KEY, "secret_key": SECRET_KEY, **more}
    return Settings(**given)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def prepared_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a migrated database that has the root organization, the roles, the system's schedules and `admin`."""
    folder = tmp_path_factory.mktemp("prepared")

    async def prepare() -> None:
        resources = await Resources.open(settings_in(folder), loops=False)
        resources.ctx.services.add(cheap_passwords())
        await create_admin(resources.ctx, system_actor("test"), "admin", ADMIN_PASSWORD)
        await resources.close()

    asyncio.run(prepare())
    asyncio.set_event_loop(None)
    return folder


@pytest.fixture
def clock() -> Clock:
    """The real time; a test that needs to hold it has its own fixture of this name."""
    return Clock()


@pytest.fixture
def loops() -> bool:
    """Whether the schedule loop, the queue workers and the waking loop run."""
    return False


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "data")


@pytest.fixture
def resources(io_loop: IOLoop, settings: Settings, prepared_database: Path, clock: Clock, loops: bool) -> Iterator[Resources]:
    """An open server that does not listen."""
    settings.data.mkdir(parents=True)
    for file in prepared_database.glob("zhihui.db*"):
        shutil.copy(file, settings.data / file.name)
    opened: Resources = io_loop.run_sync(lambda: Resources.open(settings, clock=clock, loops=loops))
    opened.ctx.services.add(cheap_passwords())
    yield opened
    io_loop.run_sync(opened.close)


@pytest.fixture
def ctx(resources: Resources) -> Context:
    return resources.ctx
