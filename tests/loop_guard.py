"""The slow-callback guard: a test fails when something held the event loop for over 20 ms of CPU time, twice in two runs of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.loop_lag import LoopGuard

TESTS = Path(__file__).resolve().parent
UNGUARDED = (TESTS / "unit" / "client",)  # a module's loop serves nobody else


@pytest.fixture(autouse=True)
def loop_guard(request: pytest.FixtureRequest) -> Iterator[LoopGuard | None]:
    """Watches every loop of the test; `@pytest.mark.holds_loop` on a test says that it does so itself."""
    if request.node.get_closest_marker("holds_loop") or any(folder in request.path.parents for folder in UNGUARDED):
        yield None
        return
    with LoopGuard() as guard:
        yield guard
    guard.check()
