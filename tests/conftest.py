"""What every test stands on."""

from __future__ import annotations

import asyncio

from tests.embedded import clock, ctx, loops, prepared_database, resources, settings
from tests.loop_guard import loop_guard

__all__ = ["clock", "ctx", "loop_guard", "loops", "prepared_database", "resources", "settings"]


def pytest_configure() -> None:
    # pytest-tornado asks for the current loop before it makes its own; Python 3.11 would make one that nobody closes
    asyncio.set_event_loop(None)
