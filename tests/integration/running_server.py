"""A server process of its own: started, asked, signalled and ended by a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from server.config import ALIASES, Settings
from tests.peers.process import free_port, spawn

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {"server": ["-m", "server"], "gunicorn": ["-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py")]}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def settings_environment(data: Path, port: int, **settings: Any) -> dict[str, str]:
    """The environment without settings of its own, with these."""
    foreign = {name.upper() for name in Settings.__struct_fields__} | set(ALIASES)
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    ours = {"data_dir": data, "server_port": port, "server_host": "127.0.0.1", "pythonpath": ROOT, **settings}
    return {**kept, **{name.upper(): str(value) for name, value in ours.items()}}


def wait_until(done: Callable[[], bool], what: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.05)


class RunningServer:
    """`python -m server` or gunicorn on a free port, with its own DATA_DIR."""

    def __init__(self, data: Path, kind: Literal["server", "gunicorn"] = "server", **settings: Any) -> None:
        self.data, self.kind = data, kind
        self.port = settings.pop("server_port", None) or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = settings_environment(data, self.port, **settings)
        self.output = data / "output.txt"
        data.mkdir(parents=True, exist_ok=True)
        with self.output.open("w") as output:
            self.process = spawn(
                [sys.executable, *COMMANDS[kind]], cwd=data, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def __enter__(self) -> RunningServer:
        try:
            self.wait_ready()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def wait_ready(self) -> None:
        wait_until(lambda: self.process.poll() is not None or self.is_ready(), "the server is ready")
        assert self.process.poll() is None, self.output.read_text()[-3000:]

    def is_ready(self) -> bool:
        return self.note.exists() and self.get("/health/ready")[0] == 200

    @property
    def note(self) -> Path:
        return self.data / "run" / "server.json"

    @property
    def worker(self) -> int:
        """The pid of the process that serves."""
        return int(json.loads(self.note.read_text())["pid"])

    def get(self, path: str) -> tuple[int, Any]:
        """Status and decoded body; status 0 when there was no answer."""
        try:
            with DIRECT.open(self.url + path, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError as error:
            return 0, repr(error)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_end(self, seconds: float = 60) -> int:
        return self.process.wait(seconds)

    def crash(self) -> None:
        """End it at once, with nothing said or written."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Stop it if it still runs, by force if it must be."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
