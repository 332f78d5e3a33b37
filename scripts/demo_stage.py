"""What every demo stands on: a server in a folder of its own, child processes that end with it, and waiting that gives up."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from scripts.api import Api, Refused
from scripts.readiness import is_ready
from server.config import ALIASES, Settings

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 60
STOP_WITHIN_S = 40
T = TypeVar("T")


class Failed(Exception):
    """The demo cannot go on; the message says why."""


class Stopped(Exception):
    """Somebody asked the demo to end."""


def say(line: str = "") -> None:
    print(line, flush=True)


def free_port(wanted: int) -> int:
    """`wanted` when nobody listens there, else a port that is free."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Failed("no port is free on 127.0.0.1")


def own_environment(**settings: str) -> dict[str, str]:
    """The environment without any setting of a server that may live here, and with those of the demo."""
    foreign = {name.upper() for name in Settings.__struct_fields__} | set(ALIASES)
    return {**{name: value for name, value in os.environ.items() if name not in foreign}, **settings}


class Children:
    """The processes that the demo started; all are ended with it."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], *, cwd: Path, environment: dict[str, str]) -> None:
        with open(self._logs / f"{name}.log", "wb") as output:
            # in its own session: Ctrl-C reaches the demo alone, which ends the others in order
            self._running[name] = subprocess.Popen(
                command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def check(self) -> None:
        """Raises Failed with the last words of a process that has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                words = (self._logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
                raise Failed("\n".join([f"{name} ended by itself (exit status {process.returncode}):", *words]))

    def stop(self) -> None:
        """SIGTERM in the opposite order of their start, wait, then SIGKILL."""
        for process in reversed(self._running.values()):
            process.terminate()
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()


class Stage:
    """The demo's folder, its clock and its processes."""

    def __init__(self, data: Path) -> None:
        self.data = data.absolute()
        self.logs = self.data / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        self.children = Children(self.logs)

    def start_server(self) -> tuple[str, Api]:
        """The address of a server that is ready, and its administrator's API. Raises Failed."""
        wanted = Settings().server_port
        port = free_port(wanted)
        if port != wanted:
            say(f"port {wanted} is taken: using {port}")
        changes = {"data_dir": str(self.data), "server_host": "127.0.0.1", "debug": True}
        settings = Settings(**changes, server_port=port)  # type: ignore[arg-type]  # each value fits its field
        environment = own_environment(
            DATA_DIR=str(self.data),
            SERVER_HOST="127.0.0.1",
            SERVER_PORT=str(port),
            DEBUG="True",
            STATIC_ROOT=str(ROOT / "static" / "dist"),
            PYTHONPATH=str(ROOT),
        )
        # started in its data folder: a .env beside manage.sh belongs to another server
        self.children.start("console", [sys.executable, "-m", "server"], cwd=self.data, environment=environment)
        say(f"starting a server in {self.data}")
        self.wait("the server to be ready", lambda: is_ready(settings) or None)
        url = f"http://127.0.0.1:{port}"
        say(f"UI {url}/   API {url}/api/")
        say(f"sign in as admin; the password is in {self.data / 'secrets.json'} (admin_password)")
        self.secrets: dict[str, str] = json.loads((self.data / "secrets.json").read_text(encoding="utf-8"))
        return url, Api(url, "admin", self.secrets["admin_password"])

    def wait(self, what: str, find: Callable[[], T | None], within_s: float = READY_WITHIN_S) -> T:
        until = time.monotonic() + within_s - self._began
        while (found := find()) is None:
            self.pause(what, until)
        return found

    def pause(self, what: str, until_s: float | None) -> None:
        """A short sleep; Failed when a process has ended, or `until_s` seconds have passed since the demo began."""
        self.children.check()
        if until_s is not None and time.monotonic() - self._began > until_s:
            raise Failed(f"gave up waiting for {what}; logs are in {self.logs}")
        time.sleep(0.2)


def play(stage: Stage, show: Callable[[], None]) -> int:
    """Show a demo until it ends or somebody ends it; the exit status. Whatever it started is stopped."""

    def stop(_number: int, _frame: object) -> NoReturn:
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        show()
        status = 0
    except (Stopped, BrokenPipeError):  # the reader of our output may be gone: that ends the demo too
        status = 0
    except (Failed, Refused, OSError) as problem:
        sys.stderr.write(f"demo: {problem}\n")
        status = 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the end is bounded; a second Ctrl-C must not leave processes behind
        stage.children.stop()
    try:
        say("the demo has ended; everything that it started is stopped")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status
