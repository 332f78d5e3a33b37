"""The threads that sync handlers run in, so that the socket stays alive while they work.

They are daemon threads: a handler that never returns cannot keep the process from ending after its grace, as the threads of
concurrent.futures would, which the interpreter joins at exit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Outcome = tuple[Any, BaseException | None]
Call = tuple[Callable[[Any], Any], Any, asyncio.AbstractEventLoop, "asyncio.Future[Outcome]"]


class WorkerThreads:
    """Up to `count` threads, started when first needed; each takes one call after the other."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        self._started = 0
        self._busy = 0
        self._calls: SimpleQueue[Call | None] = SimpleQueue()

    async def call(self, function: Callable[[Any], Any], argument: Any) -> Any:
        """What `function(argument)` returns; raises what it raises. Cancelling the wait leaves the thread at work."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._busy += 1
        if self._busy > self._started and self._started < self._count:
            self._start()
        self._calls.put((function, argument, loop, future))
        value, error = await future
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """Let every thread end after the call it is in."""
        for _ in range(self._started):
            self._calls.put(None)

    def _start(self) -> None:
        self._started += 1
        threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, argument, loop, future = call
            outcome: Outcome
            try:
                outcome = function(argument), None
            except BaseException as error:  # handed over to whoever waits, SystemExit included
                outcome = None, error
            try:
                loop.call_soon_threadsafe(self._deliver, future, outcome)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def _deliver(self, future: asyncio.Future[Outcome], outcome: Outcome) -> None:
        self._busy -= 1
        if not future.done():
            future.set_result(outcome)
