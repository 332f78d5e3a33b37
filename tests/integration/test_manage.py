"""manage.sh as people use it: start, look, reload, stop, on a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running_server import ROOT, RunningServer, settings_environment, wait_until
from tests.peers.process import free_port

pytestmark = pytest.mark.integration


class Door:
    """manage.sh with a DATA_DIR and a port of its own."""

    def __init__(self, data: Path) -> None:
        self.data, self.port = data, free_port()
        self.environment = settings_environment(data, self.port)

    def __call__(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "manage.sh", *arguments],
            cwd="/",
            env={**self.environment, **changes},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def manage(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path / "data")
    yield door
    door("stop")


def test_a_day_in_the_life(manage: Door) -> None:
    assert manage("status").returncode == 3
    assert manage("stop").stdout == "not running\n"
    assert manage("reload").stderr.startswith("not running")

    started = manage("start")
    assert started.returncode == 0, started.stderr
    assert f"ready: UI http://127.0.0.1:{manage.port}/  API http://127.0.0.1:{manage.port}/api/" in started.stdout
    secrets = json.loads((manage.data / "secrets.json").read_text())
    assert started.stdout.count(str(manage.data / "secrets.json")) == 1
    assert secrets["admin_password"] not in started.stdout

    again = manage("start")
    assert again.returncode == 1
    assert again.stderr.startswith("already running (pid ")
    assert len(again.stderr.splitlines()) == 1

    status = manage("status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert "running: pid " in status.stdout
    assert " processes, " in status.stdout
    assert " MiB" in status.stdout
    for engine in ("sql", "documents", "bus", "files", "mail"):
        assert f"  {engine} " in status.stdout, status.stdout
    assert "embedded" in status.stdout

    reloaded = manage("reload")
    assert reloaded.stdout.startswith("reloaded (worker "), reloaded.stderr
    refused = manage("reload", WS="many")
    assert refused.returncode == 2
    assert "WS: Expected `int`" in refused.stderr
    assert manage("status").returncode == 0

    lines = manage("logs", "3")
    assert len(lines.stdout.splitlines()) == 3
    assert manage("logs", "x").stderr == "logs: 'x' is not a number of lines\n"

    assert manage("restart").returncode == 0
    stopped = manage("stop")
    assert stopped.returncode == 0
    assert stopped.stdout.endswith("stopped\n")
    assert manage("status").returncode == 3

    assert "secrets.json" not in manage("start").stdout  # where the password is, is told once


def test_deploy_starts_and_then_reloads(manage: Door) -> None:
    first = manage("deploy")
    assert "ready: UI" in first.stdout, first.stderr
    second = manage("deploy")
    assert "reloaded (worker " in second.stdout or "packages have changed: restarting" in second.stdout, second.stderr
    assert second.returncode == 0


def test_a_stale_pid_misleads_nobody(manage: Door) -> None:
    """The lock file of a server that was killed names a pid that another process may have by now."""
    (manage.data / "run").mkdir(parents=True)
    (manage.data / "run" / "server.lock").write_text(f"{os.getpid()}\ngunicorn\n")
    assert manage("stop").stdout == "not running\n"
    assert manage("start").returncode == 0


def test_a_server_that_cannot_start_says_why(manage: Door) -> None:
    manage.data.mkdir()
    (manage.data / "secrets.json").write_text('{"secret_key": 7}')
    failed = manage("start")
    assert failed.returncode == 1
    assert failed.stderr.startswith("the server did not start (exit status 3):\n")
    assert "Expected `str`, got `int` - at `$.secret_key`" in failed.stderr
    assert manage("status").returncode == 3


def test_a_server_in_the_foreground_is_seen_and_stopped(manage: Door) -> None:
    with RunningServer(manage.data, server_port=manage.port) as server:
        assert "(in the foreground)" in manage("status").stdout
        assert "cannot be reloaded" in manage("reload").stderr
        assert manage("start").returncode == 1
        assert manage("stop").stdout.endswith("stopped\n")
        assert server.wait_end() == 0


def test_logs_follow_ends_with_its_reader(manage: Door) -> None:
    (manage.data / "logs").mkdir(parents=True)
    (manage.data / "logs" / "server.log").write_text("first\n")
    follower = subprocess.Popen([ROOT / "manage.sh", "logs-follow"], env=manage.environment, stdout=subprocess.PIPE, text=True)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "first\n"
    with (manage.data / "logs" / "server.log").open("a") as log:
        log.write("second\n")
    assert follower.stdout.readline() == "second\n"
    follower.terminate()
    follower.wait(10)
    follower.stdout.close()


def test_the_demo_shows_three_runs_and_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = subprocess.run(
        [ROOT / "manage.sh", "demo", "--once", "--data", tmp_path / "demo"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stdout.count("succeeded  ") == 3
    assert "RSI" in demo.stdout
    assert f"the password is in {tmp_path / 'demo' / 'secrets.json'}" in demo.stdout
    assert left_behind(tmp_path) == []


def test_ctrl_c_ends_the_demo_and_all_that_it_started(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "scripts.demo", "--data", str(tmp_path / "demo")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    assert demo.stderr is not None
    for line in demo.stdout:
        if "Ctrl-C ends the demo" in line:
            break
    assert len(left_behind(tmp_path)) >= 3
    demo.send_signal(signal.SIGINT)
    rest, errors = demo.communicate(timeout=90)
    assert demo.returncode == 0, errors
    assert rest.endswith("the demo has ended; everything that it started is stopped\n")
    wait_until(lambda: left_behind(tmp_path) == [], "everything is stopped", 10)


def left_behind(folder: Path) -> list[int]:
    """Processes that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                working = os.readlink(entry / "cwd")
            except OSError:
                continue
            if working.startswith(str(folder)):
                found.append(int(entry.name))
    return found
