"""An HTTP server on the test's own loop, which keeps the requests and answers what the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler


class Answer(NamedTuple):
    status: int = 200
    body: Any = None  # bytes and text go out as they are, anything else as JSON
    headers: Mapping[str, str] = MappingProxyType({})


class HttpPeer:
    """`answer` decides from the request; it can be replaced at any time."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[HTTPServerRequest] = []
        self.answer: Callable[[HTTPServerRequest], Answer] = lambda _request: Answer()

    @property
    def bodies(self) -> list[Any]:
        """The requests' bodies, decoded from JSON."""
        return [msgspec.json.decode(request.body) for request in self.requests]


class _Handler(RequestHandler):
    def initialize(self, peer: HttpPeer) -> None:
        self.peer = peer

    def _any(self) -> None:
        self.peer.requests.append(self.request)
        answer = self.peer.answer(self.request)
        self.set_status(answer.status)
        for name, value in answer.headers.items():
            self.set_header(name, value)
        if isinstance(answer.body, str | bytes):
            self.finish(answer.body)
        elif answer.body is not None:
            self.set_header("Content-Type", "application/json")
            self.finish(msgspec.json.encode(answer.body))
        else:
            self.finish()

    def get(self) -> None:
        self._any()

    post = put = patch = delete = get


@asynccontextmanager
async def running_http() -> AsyncIterator[HttpPeer]:
    socket, port = bind_unused_port()
    peer = HttpPeer(port)
    server = HTTPServer(Application([(r".*", _Handler, {"peer": peer})], log_function=lambda _handler: None))
    server.add_socket(socket)
    try:
        yield peer
    finally:
        server.stop()
        await server.close_all_connections()
