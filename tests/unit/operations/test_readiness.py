"""A server is asked the way a stranger would ask it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from scripts.readiness import ask_health, find_note, is_ready
from server.config import Settings
from tests.peers.process import free_port

ENGINES = {"sql": {"state": "up", "mode": "embedded", "latency_ms": 0.2, "cause": ""}}
NOTE = {"pid": 7, "port": 1, "started_at": "2026-01-01T00:00:00+00:00", "version": "1"}


class Answers(BaseHTTPRequestHandler):
    hosts: ClassVar[list[str]] = []
    status = 200

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        body = json.dumps({"code": "2000", "message": "", "result": {"engines": ENGINES}}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Not onto the console."""


@pytest.fixture
def answers() -> Iterator[tuple[type[Answers], int]]:
    kind = type("Answers", (Answers,), {"hosts": [], "status": 200})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield kind, server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def settings_for(tmp_path: Path, port: int, **more: Any) -> Settings:
    return Settings(data_dir=str(tmp_path), server_port=port, server_host="0.0.0.0", **more)


def write_note(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "server.json").write_text(text)


def test_ready_needs_the_note_and_the_answer(tmp_path: Path, answers: tuple[type[Answers], int]) -> None:
    kind, port = answers
    settings = settings_for(tmp_path, port)
    assert not is_ready(settings)
    write_note(tmp_path, json.dumps(NOTE))
    assert is_ready(settings)
    kind.status = 503
    assert not is_ready(settings)
    assert not is_ready(settings_for(tmp_path, free_port()))


def test_it_is_asked_by_a_name_that_it_serves(tmp_path: Path, answers: tuple[type[Answers], int]) -> None:
    kind, port = answers
    ask_health(settings_for(tmp_path, port, allowed_hosts="zhihui.example.org"))
    ask_health(settings_for(tmp_path, port))
    assert kind.hosts == ["zhihui.example.org", f"127.0.0.1:{port}"]


def test_health_has_each_engine_or_the_trouble(tmp_path: Path, answers: tuple[type[Answers], int]) -> None:
    kind, port = answers
    kind.status = 503
    health = ask_health(settings_for(tmp_path, port))
    assert (health.status, health.engines) == (503, ENGINES)
    away = ask_health(settings_for(tmp_path, free_port()))
    assert away.status == 0
    assert away.trouble.startswith("no answer: ")


@pytest.mark.parametrize("text", ["", "{", '{"pid": 7}', "[]"])
def test_a_broken_note_is_no_note(tmp_path: Path, text: str) -> None:
    write_note(tmp_path, text)
    assert find_note(Settings(data_dir=str(tmp_path))) is None
