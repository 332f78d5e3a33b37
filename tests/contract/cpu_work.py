"""What the compute suite has worker processes do; imports nothing of the server."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def add(a: int, b: int) -> int:
    return a + b


def process() -> int:
    return os.getpid()


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def spin_with_mark(path: str) -> None:
    """Write our process id there, then never end."""
    Path(path).write_text(str(os.getpid()))
    while True:
        pass


def append(path: str, text: str) -> None:
    with Path(path).open("a") as handle:
        handle.write(text)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    raise SystemExit(3)


def interrupt_self() -> str:
    os.kill(os.getpid(), signal.SIGINT)
    return "still here"


def need_memory(mebibytes: int) -> int:
    return len(bytearray(mebibytes * 2**20))


class PlainError(Exception):
    pass


class AwkwardError(Exception):
    """Can be pickled, but not be rebuilt from what was pickled."""

    def __init__(self, *, page: int) -> None:
        super().__init__(f"page {page}")


def fail_plainly() -> None:
    raise PlainError("page 7", 7)


def fail_awkwardly() -> None:
    raise AwkwardError(page=7)


def fail_late() -> None:
    raise TimeoutError("the work's own")


def give_lambda() -> object:
    return lambda: None
