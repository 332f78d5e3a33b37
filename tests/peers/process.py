"""A server that a test starts as a child process, on a free port, in a folder of its own; it dies with the test process."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest

START_TIMEOUT_S = 60.0
PR_SET_PDEATHSIG = 1
# The kernel ends a peer with the thread that started it, so that must be one that lasts as long as the tests do.
_starter = ThreadPoolExecutor(1, thread_name_prefix="peer-starter")


def unavailable(reason: str) -> NoReturn:
    """Skip because a peer can't be had; in CI, where it must be, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def require(name: str, found: object) -> None:
    """Skip, or fail in CI, unless the peer was found on this machine."""
    if not found:
        unavailable(f"{name} is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def spawn(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """A child process that dies with the test process."""

    def popen() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, preexec_fn=_die_with_parent, **options)

    return _starter.submit(popen).result()


class Peer:
    """One server process, which can be stopped and started again on the same port and data."""

    def __init__(self, command: list[str], folder: Path, port: int, *, is_ready: Callable[[], bool] | None = None) -> None:
        self.port = port
        self.folder = folder
        self._command = command
        self._is_ready = is_ready or (lambda: accepts(port))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.folder / "peer.log"
        with log.open("ab") as output:
            self._process = spawn(self._command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"{self._command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hold its connections but answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
