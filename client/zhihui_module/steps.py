"""The steps that this module holds: what waits, what runs, and that each delivery runs once.

A step is known by its step id and fence. Only `Steps` changes a step's state, each time on condition of the state before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from zhihui_module.reporting import Reporter
from zhihui_module.task import BaseTask
from zhihui_module.task_meta import TaskMeta

Key = tuple[str, int | None]


class StepState(Enum):
    QUEUED = "queued"  # accepted, waits for a free place
    RUNNING = "running"  # its inputs are fetched, its handler runs, or its outputs are sent
    CANCELLING = "cancelling"  # asked to stop, not stopped yet
    DONE = "done"  # its last frame is decided


@dataclass(slots=True, eq=False)
class Step:
    """One execution that the server handed over. `ids` are the JSON members that every frame about it carries."""

    key: Key
    meta: TaskMeta
    args: Any
    has_files: bool
    ids: str
    reporter: Reporter
    state: StepState = StepState.QUEUED
    task: BaseTask | None = None
    work: asyncio.Task[None] | None = None
    has_begun: bool = False
    ack_timer: asyncio.TimerHandle | None = None
    told_waiting: bool = False
    # Whether the work may be interrupted by cancelling it: not while a sync handler's thread is at it.
    interruptible: bool = True


class Steps:
    """At most `concurrency` steps run; the others wait in the order in which they came."""

    def __init__(self, concurrency: int, start: Callable[[Step], None]) -> None:
        self._concurrency = concurrency
        self._start = start
        self._held: dict[Key, Step] = {}
        self._queue: deque[Step] = deque()
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def held(self) -> list[Step]:
        """Every step that is not done, in order of arrival."""
        return list(self._held.values())

    @property
    def is_idle(self) -> bool:
        return not self._held

    def find(self, key: Key) -> Step | None:
        return self._held.get(key)

    def take(self, step: Step) -> None:
        """Hold a new step, and start it when there is room."""
        if not self._held:
            self._idle.clear()
        self._held[step.key] = step
        if self._running < self._concurrency:
            self._run(step)
        else:
            self._queue.append(step)

    def request_cancel(self, step: Step) -> bool:
        """RUNNING → CANCELLING. False when the step is in another state."""
        if step.state is not StepState.RUNNING:
            return False
        step.state = StepState.CANCELLING
        return True

    def end(self, step: Step) -> bool:
        """Any state but DONE → DONE, and the next one starts. False when the step was done already."""
        if step.state is StepState.DONE:
            return False
        was_queued = step.state is StepState.QUEUED
        step.state = StepState.DONE
        del self._held[step.key]
        if was_queued:
            self._queue.remove(step)
        else:
            self._running -= 1
            if self._queue:
                self._run(self._queue.popleft())
        if not self._held:
            self._idle.set()
        return True

    async def wait_idle(self) -> None:
        """Until nothing is held."""
        await self._idle.wait()

    def _run(self, step: Step) -> None:
        step.state = StepState.RUNNING
        self._running += 1
        self._start(step)
