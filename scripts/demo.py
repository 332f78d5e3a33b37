"""`./manage.sh demo`: a server, two modules and a workflow that runs every five seconds, in a folder of their own."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from scripts.api import Api, Refused
from scripts.readiness import is_ready
from server.config import ALIASES, Settings

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "client" / "examples"
WORKFLOW = "demo-indicators"
EVERY_FIVE_SECONDS = "* * * * * */5"
MODULES = {"prices": "prices_module.py", "indicators": "indicators_module.py"}
ENOUGH_RUNS = 3
ONCE_WITHIN_S = 120
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


class Demo:
    def __init__(self, data: Path, *, once: bool) -> None:
        self._data, self._once = data.absolute(), once
        self._logs = self._data / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        self.children = Children(self._logs)

    def show(self) -> None:
        """Start everything, then print the runs as they end. Raises Failed."""
        settings = self._start_server()
        secrets = json.loads((self._data / "secrets.json").read_text(encoding="utf-8"))
        url = f"http://127.0.0.1:{settings.server_port}"
        say(f"UI {url}/   API {url}/api/")
        say(f"sign in as admin; the password is in {self._data / 'secrets.json'} (admin_password)")
        self._start_modules(url, secrets["module_key"])
        api = Api(url, "admin", secrets["admin_password"])
        hashes = self._wait("the modules to come online", lambda: self._find_online(api))
        workflow = self._workflow(api, hashes)
        say(f"workflow {WORKFLOW}: prices → indicators, every five seconds" + ("" if self._once else "; Ctrl-C ends the demo"))
        self._follow(api, workflow)

    def _start_server(self) -> Settings:
        wanted = Settings().server_port
        port = free_port(wanted)
        if port != wanted:
            say(f"port {wanted} is taken: using {port}")
        changes = {"data_dir": str(self._data), "server_host": "127.0.0.1", "debug": True}
        settings = Settings(**changes, server_port=port)  # type: ignore[arg-type]  # each value fits its field
        environment = own_environment(
            DATA_DIR=str(self._data),
            SERVER_HOST="127.0.0.1",
            SERVER_PORT=str(port),
            DEBUG="True",
            STATIC_ROOT=str(ROOT / "static" / "dist"),
            PYTHONPATH=str(ROOT),
        )
        # started in its data folder: a .env beside manage.sh belongs to another server
        self.children.start("console", [sys.executable, "-m", "server"], cwd=self._data, environment=environment)
        say(f"starting a server in {self._data}")
        self._wait("the server to be ready", lambda: is_ready(settings) or None, READY_WITHIN_S)
        return settings

    def _start_modules(self, url: str, key: str) -> None:
        environment = own_environment(ZHIHUI_URL=url, ZHIHUI_MODULE_KEY=key, PYTHONPATH=str(ROOT / "client"))
        for name, file in MODULES.items():
            self.children.start(name, [sys.executable, str(EXAMPLES / file)], cwd=self._data, environment=environment)

    def _find_online(self, api: Api) -> dict[str, str] | None:
        """The modules' hashes by name once all are online."""
        online = {module["name"]: module["hash"] for module in api.get("/module/online")}
        return online if set(MODULES) <= set(online) else None

    def _workflow(self, api: Api, hashes: dict[str, str]) -> str:
        """The id of the demo's workflow, made anew or brought up to date."""
        body = {
            "name": WORKFLOW,
            "description": "Prices of the last days, and what follows from them",
            "enable": True,
            "execute_cron_list": [EVERY_FIVE_SECONDS],
            "execute_modules": [{"module_hash": hashes[name], "name": name} for name in MODULES],
            "overlap": "skip",
            "misfire": "skip",
        }
        there = [workflow for workflow in api.get("/workflow/list") if workflow["name"] == WORKFLOW]
        if there:
            api.put(f"/workflow/{there[0]['id']}", body)
            return str(there[0]["id"])
        return str(api.post("/workflow/create", body)["id"])

    def _follow(self, api: Api, workflow: str) -> None:
        """Print each run as it ends, oldest first; with `once`, until enough have succeeded."""
        path = f"/workflow/{workflow}/runs?page_size=20"
        seen = {run["id"] for run in self._runs(api, path) if run.get("ended_at")}
        succeeded = 0
        while True:
            ended = [run for run in self._runs(api, path) if run.get("ended_at") and run["id"] not in seen]
            for run in sorted(ended, key=lambda run: str(run["ended_at"])):
                seen.add(run["id"])
                succeeded += run["state"] == "succeeded"
                say(line_of(api.get(f"/run/{run['id']}")))
                if self._once and succeeded == ENOUGH_RUNS:
                    say(f"{ENOUGH_RUNS} runs succeeded")
                    return
            self._pause(f"{ENOUGH_RUNS} succeeded runs", ONCE_WITHIN_S if self._once else None)

    def _runs(self, api: Api, path: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = api.get(path)["items"]
        return runs

    def _wait(self, what: str, find: Callable[[], T | None], within_s: float = READY_WITHIN_S) -> T:
        until = time.monotonic() + within_s - self._began
        while (found := find()) is None:
            self._pause(what, until)
        return found

    def _pause(self, what: str, until_s: float | None) -> None:
        """A short sleep; Failed when a process has ended, or `until_s` seconds have passed since the demo began."""
        self.children.check()
        if until_s is not None and time.monotonic() - self._began > until_s:
            raise Failed(f"gave up waiting for {what}; logs are in {self._logs}")
        time.sleep(0.2)


def line_of(run: dict[str, Any]) -> str:
    """A run in a line: when, what became of it, how long it took, and a few figures of its output."""
    begun, ended = (datetime.fromisoformat(run[name]) for name in ("created_at", "ended_at"))
    parts = [ended.astimezone().strftime("%H:%M:%S"), f"{run['state']:<9}", f"{1000 * (ended - begun).total_seconds():5.0f} ms"]
    for step in run.get("steps", ()):
        if step.get("error"):
            parts.append(f"{step.get('name')}: {step['error']}")
        rows = (step.get("output") or {}).get("indicators")
        if isinstance(rows, list):
            parts += [f"{row['symbol']} {row['name']} RSI {row['rsi']}" for row in rows[:3]]
    return "  ".join(parts)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help=f"end after {ENOUGH_RUNS} succeeded runs, within {ONCE_WITHIN_S} s")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "demo", help="the demo's own DATA_DIR (default: data/demo)")
    options = parser.parse_args(arguments)

    def stop(_number: int, _frame: object) -> NoReturn:
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    demo = Demo(options.data, once=options.once)
    try:
        demo.show()
        status = 0
    except (Stopped, BrokenPipeError):  # the reader of our output may be gone: that ends the demo too
        status = 0
    except (Failed, Refused, OSError) as problem:
        sys.stderr.write(f"demo: {problem}\n")
        status = 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the end is bounded; a second Ctrl-C must not leave processes behind
        demo.children.stop()
    try:
        say("the demo has ended; everything that it started is stopped")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
