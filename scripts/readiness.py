"""Asks a server on this machine whether it is ready and how its engines are."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple

from server.config import Settings

ASK_WITHIN_S = 5.0


class Note(NamedTuple):
    """DATA_DIR/run/server.json: who serves now."""

    pid: int
    port: int
    started_at: str
    version: str


class Health(NamedTuple):
    """The answer of /health/: its status (0 when there was none), each engine's own words, and what went wrong."""

    status: int
    engines: dict[str, dict[str, Any]]
    trouble: str = ""


def find_note(settings: Settings) -> Note | None:
    try:
        facts = json.loads((settings.data / "run" / "server.json").read_text(encoding="utf-8"))
        return Note(facts["pid"], facts["port"], facts["started_at"], facts["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def ask(settings: Settings, path: str, timeout_s: float = ASK_WITHIN_S) -> tuple[int, bytes]:
    """GET from the server of these settings, under a host name that it serves. Raises OSError or http.client.HTTPException."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.server_port, timeout=timeout_s)
    try:
        served_as = min(settings.hosts, default=f"{host}:{settings.server_port}")
        connection.request("GET", path, headers={"Host": served_as, "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def is_ready(settings: Settings) -> bool:
    """Whether a server has noted that it accepts requests, and says that it is ready."""
    if find_note(settings) is None:
        return False
    try:
        return ask(settings, "/health/ready")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def ask_health(settings: Settings) -> Health:
    try:
        status, body = ask(settings, "/health/")
        result = json.loads(body).get("result") or {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Health(0, {}, f"no answer: {error}")
    engines = result.get("engines", result)
    return Health(status, {name: engine for name, engine in engines.items() if isinstance(engine, dict)})
