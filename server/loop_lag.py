"""Loop lag: how long the event loop keeps its work waiting, and, in tests, which callback held it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import time
from asyncio import events
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

EVERY_S = 0.25
REMEMBERED = 240  # samples: the last minute
WORTH_A_LINE_S = 0.5
QUIET_FOR_S = 30.0
TRACED = 5  # a tracer (coverage, a debugger) makes Python code so many times slower


class LoopLag:
    """Sleeps 0.25 s again and again and measures how much later than asked it woke up, in seconds."""

    def __init__(self, on_sample: Callable[[float], None] | None = None) -> None:
        self._on_sample = on_sample
        self._samples: deque[float] = deque(maxlen=REMEMBERED)
        self._task: asyncio.Task[None] | None = None
        self._told = -QUIET_FOR_S
        self.worst = 0.0

    @property
    def p99(self) -> float:
        """The 99th percentile of the last minute (nearest rank); 0 before the first sample."""
        ordered = sorted(self._samples)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] if ordered else 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._measure(), name="loop-lag")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def add(self, lag: float, now: float) -> None:
        """Take one sample; `now` in monotonic seconds."""
        self._samples.append(lag)
        self.worst = max(self.worst, lag)
        if self._on_sample is not None:
            self._on_sample(lag)
        if lag >= WORTH_A_LINE_S and now - self._told >= QUIET_FOR_S:
            self._told = now
            log.warning("the event loop was held for %.0f ms", 1000 * lag)

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self.add(max(0.0, loop.time() - asked), loop.time())


class SlowCallback(NamedTuple):
    """A callback that held the loop: its name and the CPU time of its thread, in seconds."""

    name: str
    seconds: float


class LoopGuard:
    """Notes each callback of any loop that burns more than `threshold_s` of its thread's CPU time, while entered. For tests.

    CPU time, not wall time: a busy machine must not fail a test. Garbage collection is taken off: it strikes whoever comes by.
    """

    def __init__(self, threshold_s: float = 0.02) -> None:
        self.threshold_s = threshold_s * (TRACED if sys.gettrace() or _monitored() else 1)
        self._collecting = 0.0
        self._collection_began = 0.0
        self._original: Callable[[Any], Any] | None = None
        self.slow: list[SlowCallback] = []

    def __enter__(self) -> LoopGuard:
        original = self._original = events.Handle._run
        guard = self

        def measured(handle: Any) -> Any:
            before, collected = time.thread_time(), guard._collecting
            try:
                return original(handle)
            finally:
                spent = time.thread_time() - before - (guard._collecting - collected)
                if spent > guard.threshold_s:
                    guard.slow.append(SlowCallback(callback_name(handle), spent))

        patched: Any = events.Handle
        patched._run = measured
        gc.callbacks.append(self._on_collection)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        gc.callbacks.remove(self._on_collection)
        if self._original is not None:
            patched: Any = events.Handle
            patched._run = self._original

    def check(self) -> None:
        """Raises AssertionError naming the callbacks that were too slow.

        One that was over the threshold a single time, and by less than as much again, passes: first use fills caches, and on a
        shared core the same work costs more CPU time now and then.
        """
        times = Counter(slow.name for slow in self.slow)
        told = [
            f"{slow.name} took {1000 * slow.seconds:.0f} ms"
            for slow in self.slow
            if slow.seconds > 2 * self.threshold_s or times[slow.name] > 1
        ]
        if told:
            raise AssertionError(f"the event loop was held for more than {1000 * self.threshold_s:.0f} ms: {'; '.join(told)}")

    def _on_collection(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._collection_began = time.thread_time()
        else:
            self._collecting += time.thread_time() - self._collection_began


def callback_name(handle: Any) -> str:
    """What a handle runs: the coroutine of a task, else the function, with its file and line where known."""
    callback = handle._callback
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        coro: Any = task.get_coro()
        code = getattr(coro, "cr_code", None)
        where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
        return f"task {getattr(coro, '__qualname__', repr(coro))}{where}"
    while hasattr(callback, "func"):  # functools.partial
        callback = callback.func
    code = getattr(callback, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"{getattr(callback, '__qualname__', repr(callback))}{where}"


def _monitored() -> bool:
    """Whether coverage or a debugger watches by sys.monitoring (Python 3.12 and later)."""
    monitoring = getattr(sys, "monitoring", None)
    return monitoring is not None and any(monitoring.get_tool(tool) for tool in range(6))
