"""Real processes stop and reload without breaking a promise: nothing in flight is lost, sockets are told to come back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

import pytest
from tornado.iostream import IOStream
from tornado.tcpclient import TCPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

from server.config import Settings
from server.data_dir import find_holder
from tests.integration.running_server import RunningServer, settings_environment, wait_until

pytestmark = pytest.mark.integration
Kind = Literal["server", "gunicorn"]
BOTH = pytest.mark.parametrize("kind", ["server", "gunicorn"])
BODY = json.dumps({"username": "nobody", "password": "not-the-password"}).encode()


async def half_a_request(server: RunningServer) -> IOStream:
    """A sign-in whose body has begun: in flight until the rest is sent."""
    stream = await TCPClient().connect("127.0.0.1", server.port)
    head = f"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    await stream.write(head.encode() + BODY[:10])
    return stream


async def the_other_half(stream: IOStream) -> bytes:
    """The answer's status line."""
    await stream.write(BODY[10:])
    line = await stream.read_until(b"\r\n")
    stream.close()
    return line


async def module_socket(server: RunningServer, name: str = "waits") -> WebSocketClientConnection:
    status, answer = await asyncio.to_thread(
        server.get, f"/module/register?name={name}&description=d&input_data=[]&output_data=[]&modelHash=v1"
    )
    assert status == 200, answer
    return await websocket_connect(f"ws://127.0.0.1:{server.port}/websocket?hash={answer['result']['hash']}")


def log_of(server: RunningServer) -> str:
    return (server.data / "logs" / "server.log").read_text(encoding="utf-8")


@BOTH
@pytest.mark.gen_test(timeout=120)
async def test_sigterm_answers_what_is_in_flight_and_closes_sockets_with_1012(tmp_path: Path, kind: Kind) -> None:
    with RunningServer(tmp_path / "data", kind) as server:
        stream = await half_a_request(server)
        websocket = await module_socket(server)
        server.signal(signal.SIGTERM)
        assert await websocket.read_message() is None
        assert websocket.close_code == 1012
        websocket.close()
        await asyncio.to_thread(wait_until, lambda: "draining: 1 requests in flight" in log_of(server), "it drains")
        assert server.process.poll() is None
        assert (await the_other_half(stream)).startswith(b"HTTP/1.1 401 ")
        assert await asyncio.to_thread(server.wait_end) == 0
        assert not server.note.exists()
        assert find_holder(Settings(data_dir=str(server.data))) is None
        assert server.get("/health/live")[0] == 0


@BOTH
@pytest.mark.gen_test(timeout=120)
async def test_the_drain_has_an_end(tmp_path: Path, kind: Kind) -> None:
    with RunningServer(tmp_path / "data", kind, drain_timeout_s=1) as server:
        stream = await half_a_request(server)
        await asyncio.to_thread(server.get, "/health/live")
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait_end) == 0
        assert "giving up on 1 requests" in log_of(server)
        stream.close()


@pytest.mark.gen_test(timeout=120)
async def test_a_second_sigterm_stops_at_once(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", drain_timeout_s=3600) as server:
        stream = await half_a_request(server)
        await asyncio.to_thread(server.get, "/health/live")
        server.signal(signal.SIGTERM)
        await asyncio.to_thread(wait_until, lambda: "draining" in log_of(server), "it drains")
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait_end) == 0
        stream.close()


def test_hup_replaces_the_worker_and_fails_no_request(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", "gunicorn") as server:
        first = server.worker
        answers: list[tuple[int, Any]] = []

        def ask(count: int) -> None:
            for _ in range(count):
                answers.append(server.get("/health/live"))
                time.sleep(0.05)

        threads = [threading.Thread(target=ask, args=(30,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        server.signal(signal.SIGHUP)
        for thread in threads:
            thread.join()
        wait_until(lambda: server.is_ready() and server.worker != first, "the new worker serves")
        assert len(answers) == 90
        assert [answer for answer in answers if answer[0] != 200] == []
        wait_until(lambda: f"stopped, pid {first}" in log_of(server), "the old worker has ended")


@pytest.mark.gen_test(timeout=120)
async def test_hup_sends_modules_to_the_new_worker(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", "gunicorn") as server:
        first = server.worker
        websocket = await module_socket(server)
        server.signal(signal.SIGHUP)
        assert await websocket.read_message() is None
        assert websocket.close_code == 1012
        websocket.close()
        again = await module_socket(server)  # waits in the backlog until the new worker accepts
        assert server.worker != first
        again.close()


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", "gunicorn") as server:
        first = server.worker
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: server.worker != first and server.is_ready(), "another worker serves")


def test_a_worker_without_an_arbiter_stops(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", "gunicorn") as server:
        server.process.kill()
        server.wait_end()
        settings = Settings(data_dir=str(server.data))
        wait_until(lambda: not server.note.exists() and find_holder(settings) is None, "the folder is free")


@BOTH
def test_a_second_server_on_one_folder_is_refused_in_one_line(tmp_path: Path, kind: Kind) -> None:
    with RunningServer(tmp_path / "data") as server:
        second = subprocess.Popen(
            [sys.executable, "-m", *(("server",) if kind == "server" else ("gunicorn", "-c", "gunicorn.conf.py"))],
            env=settings_environment(server.data, server.port + 1),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said, _ = second.communicate(timeout=60)
        assert second.returncode == 2
        assert said == f"DATA_DIR {server.data} is in use by the server with pid {server.process.pid}.\n"
        assert server.is_ready()


@BOTH
def test_a_port_that_is_taken_is_one_line(tmp_path: Path, kind: Kind) -> None:
    with RunningServer(tmp_path / "first") as first:
        second = RunningServer(tmp_path / "second", kind, server_port=first.port)
        assert second.wait_end() == 2
        assert second.output.read_text() == f"SERVER_PORT: 127.0.0.1:{first.port} is taken by another program.\n"


@BOTH
@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"ws": "many"}, "WS: Expected `int`, got `str` (see .env.example)\n"),
        ({"trusted_proxies": "nginx"}, "TRUSTED_PROXIES: 'nginx' is not an IP address (see .env.example).\n"),
        (
            {"debug": False, "secret_key": "k" * 40, "allowed_hosts": "a", "notification_email": "a@example.org"},
            "DEBUG=False needs these settings: EMAIL_API_URL or EMAIL_HOST (see .env.example).\n",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(tmp_path: Path, kind: Kind, settings: dict[str, Any], line: str) -> None:
    server = RunningServer(tmp_path / "data", kind, **settings)
    assert server.wait_end() == 2
    assert server.output.read_text() == line


def test_the_log_holds_no_secret_and_no_line_twice(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", "gunicorn", secret_key="a-secret-key-that-is-long-enough-for-anything") as server:
        server.get("/module/register?name=a&key=zm_this-is-a-module-key")
        server.get("/health/live?token=this-is-a-token")
        secrets = json.loads((server.data / "secrets.json").read_text())
        server.signal(signal.SIGTERM)
        assert server.wait_end() == 0
        logged = log_of(server)
        for secret in ("a-secret-key", "this-is-a-module-key", "this-is-a-token", secrets["admin_password"], secrets["module_key"]):
            assert secret not in logged
            assert secret not in server.output.read_text()
        assert logged.count("GET /module/register?name=a&key=*** ") == 1
        assert logged.count("draining: ") == 1
        assert logged.count("Shutting down: Master") == 1
