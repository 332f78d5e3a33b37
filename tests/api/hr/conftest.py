"""An HR system, and sources that read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from tornado.ioloop import IOLoop

from tests.peers.hr_server import HrPeer, person, running_hr


@pytest.fixture
def hr(io_loop: IOLoop) -> Iterator[HrPeer]:
    """An HR system with twelve persons in three departments."""
    stack = AsyncExitStack()
    peer = io_loop.run_sync(lambda: stack.enter_async_context(running_hr(0, 3)))
    peer.persons = [person(number, department_code=f"D{number % 3:03}") for number in range(12)]
    yield peer
    io_loop.run_sync(stack.aclose)
