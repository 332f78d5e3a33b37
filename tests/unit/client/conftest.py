"""Fixtures for the module SDK: a small server of the same protocol, and modules that are stopped at the end of a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

ROOT = Path(__file__).resolve().parents[3]
for folder in (ROOT / "client", ROOT / "client" / "examples", Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from fake_module_server import FakeServer  # noqa: E402
from module_serving import Serving  # noqa: E402


@pytest.fixture
def server(io_loop: IOLoop) -> Iterator[FakeServer]:
    """A listening server; `server.url` is its address."""
    fake = FakeServer()
    io_loop.run_sync(fake.start)
    yield fake
    io_loop.run_sync(fake.stop)


@pytest.fixture
def serve(server: FakeServer, io_loop: IOLoop) -> Iterator[Serving]:
    """`serve(handler, **options)` starts a module against `server`."""
    serving = Serving(server.url)
    yield serving
    io_loop.run_sync(serving.stop_all)
