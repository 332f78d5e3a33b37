"""Jobs: plain async functions with a name and a policy, gathered by `collect`."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from types import ModuleType
from typing import Any

import msgspec

from server.context import Context
from server.platform.tasks import Queue

JobFunction = Callable[..., Awaitable[Any]]
Progress = Callable[[int, str], Awaitable[None]]


class Giveup(Exception):
    """A job's way to say that trying again is of no use: the task becomes a dead letter at once."""


class Job(msgspec.Struct, frozen=True):
    """One kind of task. Times in seconds; `backoff_s` doubles with each try, jittered, up to `backoff_most_s`."""

    kind: str
    queue: Queue
    function: JobFunction
    max_attempts: int = 5
    time_limit_s: float = 600
    backoff_s: float = 5
    backoff_most_s: float = 3600
    # It goes on where it was broken off: a server that stops need not wait for it.
    resumable: bool = False
    gives_up_on: tuple[type[BaseException], ...] = ()

    def retry_after(self, attempt: int) -> float:
        """Seconds to wait after a failed attempt: full jitter over the upper half of an exponential."""
        most = min(self.backoff_s * 2 ** (attempt - 1), self.backoff_most_s)
        return random.uniform(most / 2, most)


def job(kind: str, *, queue: str, **policy: Any) -> Callable[[JobFunction], JobFunction]:
    """Declare a function `(ctx, **payload)` as the job for tasks of `kind`. A misspelt queue or option fails at import."""

    def declare(function: JobFunction) -> JobFunction:
        function.job = Job(kind=kind, queue=Queue(queue), function=function, **policy)  # type: ignore[attr-defined]
        return function

    return declare


def collect(files: Iterable[ModuleType]) -> dict[str, Job]:
    """All jobs declared in the given files, by kind; a kind declared twice is an error."""
    found: dict[str, Job] = {}
    for file in files:
        for value in vars(file).values():
            declared = getattr(value, "job", None)
            if isinstance(declared, Job) and getattr(value, "__module__", "") == file.__name__:
                if declared.kind in found:
                    raise ValueError(f"two jobs are called {declared.kind!r}")
                found[declared.kind] = declared
    return found


class Work(msgspec.Struct, frozen=True):
    """What a job may ask for by a parameter named `work`: a way to tell its progress, and which try this is, from 1."""

    ctx: Context
    progress: Progress
    attempt: int
    max_attempts: int

    @property
    def last_try(self) -> bool:
        """Whether a failure is final."""
        return self.attempt >= self.max_attempts
