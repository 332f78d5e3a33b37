"""The door to CPU work: pure functions in worker processes, each bounded in time and memory."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple, ParamSpec, Protocol, TypeVar

import msgspec

from server.config import Settings, SettingsError
from server.errors import DomainError, EngineAway

P = ParamSpec("P")
T = TypeVar("T")

# Generous: a new interpreter on a machine that is busy.
START_TIMEOUT_S = 60.0
PR_SET_PDEATHSIG = 1
# Long work gives way to the loop, the vector engine and whoever searches when the machine is full.
NICE = 5


class ComputeCrashed(DomainError):
    """The worker process died under the work."""

    type = "compute_crashed"


class ComputeTimedOut(DomainError):
    """The work ran past its time and was killed."""

    type = "compute_timed_out"


class ComputeOutOfMemory(DomainError):
    """The work wanted more memory than a worker may have."""

    type = "compute_out_of_memory"


class ComputeState(msgspec.Struct, frozen=True):
    """How many may run, do run, and wait."""

    slots: int
    busy: int
    waiting: int


class ComputeDoor(Protocol):
    mode: Literal["embedded", "distributed"]

    async def run(self, fn: Callable[..., T], *args: Any, time_limit_s: float, urgent: bool = False) -> T:
        """What `fn(*args)` returns or raises, run in another process; the time limit begins with the work.

        Those who wait are served in order, the urgent ones (a person looks on) before the others.

        `fn` must be importable by name, arguments and result picklable. An exception that cannot be pickled arrives as a RuntimeError with
        its name and text. Raises ComputeCrashed, ComputeTimedOut, ComputeOutOfMemory; EngineAway when nothing can run. Work whose caller is
        cancelled is killed.
        """

    def state(self) -> ComputeState: ...

    async def ping(self) -> None: ...

    async def close(self) -> None:
        """Kill what runs; callers that wait get EngineAway."""


def open_compute(settings: Settings) -> ComputeDoor:
    """Local worker processes; they start with the first work. Raises SettingsError for a cluster, of which this release knows none."""
    if settings.compute_url:
        raise SettingsError("COMPUTE_URL: work on a cluster is not supported; leave it empty and set WS (see .env.example)")
    return LocalCompute(settings.ws, memory_mb=settings.compute_memory_mb, nice=NICE)


class _Worker(NamedTuple):
    executor: ProcessPoolExecutor
    process: BaseProcess


class _Slot:
    """A place for one worker, which is replaced when it has died or had to."""

    def __init__(self, memory_mb: int, nice: int, starter: ThreadPoolExecutor) -> None:
        self._memory_mb = memory_mb
        self._nice = nice
        self._starter = starter
        self._starting: asyncio.Future[_Worker] | None = None

    async def call(self, fn: Callable[..., Any], args: tuple[Any, ...], time_limit_s: float) -> Any:
        worker = await self._worker()
        try:
            future = asyncio.wrap_future(worker.executor.submit(_call, fn, args))
        except BrokenExecutor as error:  # died while idle
            self.replace()
            raise ComputeCrashed() from error
        future.add_done_callback(_retrieve)
        try:
            done, _ = await asyncio.wait([future], timeout=time_limit_s)
        except asyncio.CancelledError:
            self.replace()
            raise
        if not done:
            self.replace()
            raise ComputeTimedOut(limit_s=time_limit_s)
        raised = future.exception()
        if raised is None:
            return future.result()
        if isinstance(raised, MemoryError):
            self.replace()
            raise ComputeOutOfMemory() from raised
        if isinstance(raised, BrokenExecutor) or not isinstance(raised, Exception):
            self.replace()
            raise ComputeCrashed() from raised
        raise raised

    async def _worker(self) -> _Worker:
        if self._starting is not None and self._starting.done() and self._starting.exception() is None:
            worker = self._starting.result()
            if worker.process.is_alive():
                return worker
            self.replace()  # killed from outside while it was idle: nobody's work was lost
        if self._starting is None:
            self._starting = asyncio.get_running_loop().run_in_executor(self._starter, _start, self._memory_mb, self._nice)
        try:
            # Shielded: a caller that goes away leaves the starting worker to the next.
            return await asyncio.shield(self._starting)
        except (BrokenExecutor, OSError, TimeoutError) as error:
            self._starting = None
            raise EngineAway("compute", f"no worker process could be started: {error}") from error

    def replace(self) -> None:
        """Kill the worker; the next call starts another."""
        if self._starting is not None and self._starting.done() and self._starting.exception() is None:
            _kill(self._starting.result())
        self._starting = None

    async def close(self) -> None:
        if self._starting is not None:
            await asyncio.wait([self._starting])
            self.replace()


class LocalCompute:
    """One executor of a single process a slot, so that a death takes nobody else along."""

    mode: Literal["embedded", "distributed"] = "embedded"

    def __init__(self, slots: int, *, memory_mb: int, nice: int = 0) -> None:
        # The kernel ends a worker when the *thread* that started it ends, so that thread must be ours and last.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="compute-starter")
        self._slots = [_Slot(memory_mb, nice, self._starter) for _ in range(slots)]
        # The slot that was used last is given first: its worker runs already.
        self._free = list(reversed(self._slots))
        self._urgent: deque[asyncio.Future[_Slot]] = deque()
        self._patient: deque[asyncio.Future[_Slot]] = deque()
        self._closed = False

    async def run(self, fn: Callable[..., T], *args: Any, time_limit_s: float, urgent: bool = False) -> T:
        self._check_open()
        slot = await self._take(urgent)
        try:
            self._check_open()
            result: T = await slot.call(fn, args, time_limit_s)
            return result
        except ComputeCrashed:
            self._check_open()
            raise
        finally:
            self._give(slot)

    async def _take(self, urgent: bool) -> _Slot:
        if self._free:
            return self._free.pop()
        turn: asyncio.Future[_Slot] = asyncio.get_running_loop().create_future()
        line = self._urgent if urgent else self._patient
        line.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came at the same moment
                self._give(turn.result())
            elif turn in line:
                line.remove(turn)
            raise

    def _give(self, slot: _Slot) -> None:
        """Hand a slot to who waits longest."""
        for line in (self._urgent, self._patient):
            while line:
                turn = line.popleft()
                if not turn.done():
                    turn.set_result(slot)
                    return
        self._free.append(slot)

    def state(self) -> ComputeState:
        return ComputeState(len(self._slots), len(self._slots) - len(self._free), len(self._urgent) + len(self._patient))

    async def ping(self) -> None:
        self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise EngineAway("compute", "closed")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(slot.close() for slot in self._slots))
        await asyncio.to_thread(self._starter.shutdown)


def _start(memory_mb: int, nice: int) -> _Worker:
    """A worker that has answered once. Blocking."""
    executor = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_prepare, initargs=(os.getpid(), memory_mb, nice))
    first = executor.submit(os.getpid)
    process = next(iter(executor._processes.values()))
    worker = _Worker(executor, process)
    try:
        first.result(timeout=START_TIMEOUT_S)
    except BaseException:
        _kill(worker)
        raise
    return worker


def _kill(worker: _Worker) -> None:
    worker.process.kill()
    worker.executor.shutdown(wait=False, cancel_futures=True)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Look at the outcome of work that nobody waits for any more, so that it is not reported as forgotten."""
    if not future.cancelled():
        future.exception()


# In the worker process.


def _prepare(parent: int, memory_mb: int, nice: int) -> None:
    os.nice(nice)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends us
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(1)
    if memory_mb:
        limit = memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _call(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return fn(*args)
    except MemoryError:
        raise MemoryError from None
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301, our own a moment ago
        except Exception:
            # One that cannot be rebuilt on the other side would take the whole executor down.
            raise RuntimeError(f"{type(error).__name__}: {error}") from None
        raise
