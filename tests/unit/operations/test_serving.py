"""Stopping politely: requests in flight are answered, sockets are told to come back, nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpclient import TCPClient
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

from server.config import Settings
from server.serving import SERVICE_RESTART, ReadyNote, Stopping, allow_many_sockets, serve


class Requests:
    in_flight = 0
    draining = False


class Connections(set[WebSocketHandler]):
    def close_all(self, code: int, reason: str) -> None:
        for connection in list(self):
            connection.close(code, reason)


class Slow(RequestHandler):
    async def get(self) -> None:
        requests = self.application.settings["requests"]
        requests.in_flight += 1
        try:
            self.application.settings["begun"].set()
            await self.application.settings["release"].wait()
            self.write("done")
            await self.finish()
        finally:
            requests.in_flight -= 1


class Socket(WebSocketHandler):
    def open(self, *args: str, **kwargs: str) -> None:
        self.application.settings["connections"].add(self)

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)

    def on_close(self) -> None:
        self.application.settings["connections"].discard(self)


class Quick(RequestHandler):
    def get(self) -> None:
        self.write("quick")


class StandIn:
    """Resources without engines; notes in which order it was asked what."""

    def __init__(self) -> None:
        self.app = Application(
            [("/slow", Slow), ("/quick", Quick), ("/socket", Socket)],
            requests=Requests(),
            connections=Connections(),
            begun=asyncio.Event(),
            release=asyncio.Event(),
            log_function=lambda _: None,
        )
        self.asked: list[str] = []
        self.never_closes = False
        self.cannot_drain = False

    async def drain(self) -> None:
        assert self.app.settings["requests"].draining
        self.asked.append("drain")
        if self.cannot_drain:
            raise RuntimeError("the bus is away")

    async def close(self) -> None:
        self.asked.append("close")
        if self.never_closes:
            await asyncio.Event().wait()


class Served:
    """A stand-in that is served, its address, and the wish to stop it."""

    def __init__(self, tmp_path: Path, **changes: Any) -> None:
        self.settings = Settings(data_dir=str(tmp_path), **changes)
        self.resources, self.stopping = StandIn(), Stopping()
        self.sockets = bind_sockets(0, "127.0.0.1")
        self.port = self.sockets[0].getsockname()[1]
        self.accepting = asyncio.Event()
        self.task = asyncio.create_task(
            serve(self.resources, self.sockets, settings=self.settings, stopping=self.stopping, ready=self.accepting.set)
        )

    @property
    def state(self) -> dict[str, Any]:
        return self.resources.app.settings

    @property
    def note(self) -> Path:
        return self.settings.data / "run" / "server.json"


@pytest.mark.gen_test
async def test_a_request_in_flight_is_answered_and_a_socket_gets_1012(tmp_path: Path) -> None:
    served = Served(tmp_path)
    await served.accepting.wait()
    slow = asyncio.ensure_future(AsyncHTTPClient().fetch(f"http://127.0.0.1:{served.port}/slow"))
    await served.state["begun"].wait()
    websocket = await websocket_connect(f"ws://127.0.0.1:{served.port}/socket")
    await websocket.write_message("hello")
    assert await websocket.read_message() == "hello"

    served.stopping.ask()
    assert await websocket.read_message() is None
    assert websocket.close_code == SERVICE_RESTART
    assert websocket.close_reason == "service restart"
    websocket.close()
    assert not slow.done()
    with pytest.raises(OSError):
        await AsyncHTTPClient().fetch(f"http://127.0.0.1:{served.port}/quick")
    assert "close" not in served.resources.asked  # the engines stay open for the request in flight

    served.state["release"].set()
    answer = await slow
    assert (answer.code, answer.body) == (200, b"done")
    await served.task
    assert served.resources.asked == ["drain", "close"]


@pytest.mark.gen_test
async def test_what_comes_on_an_open_connection_while_draining_is_answered_with_connection_close(tmp_path: Path) -> None:
    served = Served(tmp_path)
    await served.accepting.wait()
    slow = asyncio.ensure_future(AsyncHTTPClient().fetch(f"http://127.0.0.1:{served.port}/slow"))
    await served.state["begun"].wait()
    stream = await TCPClient().connect("127.0.0.1", served.port)
    request = b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n"
    await stream.write(request)
    first = await stream.read_until(b"quick")
    assert b"Connection: close" not in first

    served.stopping.ask()
    while not served.state["requests"].draining:
        await asyncio.sleep(0)
    await stream.write(request)
    assert b"Connection: close" in await stream.read_until(b"quick")
    with pytest.raises(StreamClosedError):
        await stream.read_bytes(1)
    served.state["release"].set()
    await slow
    await served.task


@pytest.mark.gen_test
async def test_an_error_while_draining_costs_no_request_its_time(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.resources.cannot_drain = True
    await served.accepting.wait()
    slow = asyncio.ensure_future(AsyncHTTPClient().fetch(f"http://127.0.0.1:{served.port}/slow"))
    await served.state["begun"].wait()
    served.stopping.ask()
    while "drain" not in served.resources.asked:
        await asyncio.sleep(0)
    served.state["release"].set()
    assert (await slow).body == b"done"
    await served.task


@pytest.mark.gen_test
async def test_idle_connections_do_not_keep_the_server(tmp_path: Path) -> None:
    served = Served(tmp_path)
    await served.accepting.wait()
    stream = await TCPClient().connect("127.0.0.1", served.port)
    served.stopping.ask()
    await served.task
    with pytest.raises(StreamClosedError):
        await stream.read_bytes(1)


@pytest.mark.gen_test
async def test_the_drain_is_bounded(tmp_path: Path) -> None:
    served = Served(tmp_path, drain_timeout_s=0)
    await served.accepting.wait()
    slow = asyncio.ensure_future(AsyncHTTPClient().fetch(f"http://127.0.0.1:{served.port}/slow"))
    await served.state["begun"].wait()
    served.stopping.ask()
    await served.task
    assert served.resources.asked[-1] == "close"
    with pytest.raises(HTTPClientError, match="closed"):
        await slow
    served.state["release"].set()


@pytest.mark.gen_test
async def test_asking_twice_stops_at_once(tmp_path: Path) -> None:
    served = Served(tmp_path, drain_timeout_s=3600)
    await served.accepting.wait()
    slow = asyncio.ensure_future(AsyncHTTPClient().fetch(f"http://127.0.0.1:{served.port}/slow"))
    await served.state["begun"].wait()
    served.stopping.ask()
    while "drain" not in served.resources.asked:
        await asyncio.sleep(0)
    assert not served.task.done()
    served.stopping.ask()
    await served.task
    with pytest.raises(HTTPClientError, match="closed"):
        await slow
    served.state["release"].set()


@pytest.mark.gen_test
async def test_insisting_bounds_engines_that_never_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.serving.CLOSE_AT_ONCE_S", 0.05)
    served = Served(tmp_path)
    served.resources.never_closes = True
    await served.accepting.wait()
    served.stopping.insist()
    await served.task
    assert served.resources.asked[-1] == "close"


@pytest.mark.gen_test
async def test_the_note_is_there_while_requests_are_accepted(tmp_path: Path) -> None:
    served = Served(tmp_path)
    assert not served.note.exists()
    await served.accepting.wait()
    facts = json.loads(served.note.read_text())
    assert (facts["pid"], facts["port"]) == (os.getpid(), served.port)
    assert facts["started_at"].endswith("+00:00")
    assert facts["version"]
    served.stopping.ask()
    await served.task
    assert not served.note.exists()


def test_a_worker_leaves_the_note_of_its_successor(tmp_path: Path) -> None:
    note = ReadyNote(Settings(data_dir=str(tmp_path)), port=1)
    note.write()
    note.path.write_text(json.dumps({"pid": os.getpid() + 1}))
    note.remove()
    assert note.path.exists()


@pytest.mark.gen_test
async def test_a_failure_while_starting_closes_the_engines(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder must be")
    served = Served(tmp_path)
    with pytest.raises(OSError):
        await served.task
    assert served.resources.asked == ["close"]
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", served.port), timeout=1)


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be(caplog: pytest.LogCaptureFixture) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert allow_many_sockets(1024) == 1024
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1024, before[1])
        assert "at most 1024 files" in caplog.text
        caplog.clear()
        assert allow_many_sockets(512) == 1024  # never lowered
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
