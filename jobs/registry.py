"""Jobs: plain async functions with a name and a policy, gathered by `collect`."""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, get_type_hints

import msgspec

from server.context import Context
from server.platform.registered_jobs import JobKind, Parameter, RegisteredJobs
from server.platform.schedules.actions import SystemSchedule
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
    # People may make schedules of it; what the system itself schedules they may too.
    schedulable: bool = False
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


def register(jobs: Mapping[str, Job], schedules: Iterable[SystemSchedule], concurrency: Mapping[Queue, int]) -> RegisteredJobs:
    """What the rest of the server may know of the jobs: their policies and parameters, and which of them the system itself schedules."""
    schedules = list(schedules)
    scheduled = {schedule.job for schedule in schedules}
    kinds = [
        JobKind(
            kind=one.kind,
            queue=one.queue,
            summary=(inspect.getdoc(one.function) or "").partition("\n")[0],
            schedulable=one.schedulable or one.kind in scheduled,
            max_attempts=one.max_attempts,
            time_limit_s=one.time_limit_s,
            parameters=_parameters(one.function),
        )
        for one in jobs.values()
    ]
    return RegisteredJobs(kinds, built_in={schedule.name for schedule in schedules}, concurrency=concurrency)


def _parameters(function: JobFunction) -> tuple[Parameter, ...]:
    """Those that come from the task's payload."""
    hints = get_type_hints(function)
    signature = inspect.signature(function).parameters
    return tuple(
        Parameter(
            name,
            hints.get(name, Any),
            required=parameter.default is parameter.empty,
            default=None if parameter.default is parameter.empty else parameter.default,
        )
        for name, parameter in signature.items()
        if name not in ("ctx", "work") and parameter.kind is not parameter.VAR_KEYWORD
    )


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
