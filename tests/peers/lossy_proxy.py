"""A proxy before a peer that loses things: a request before it arrives, or the answer after the work was done."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

Loss = Literal["none", "request", "answer", "busy"]
# What belongs to one hop is not handed on.
HOP = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "content-encoding"}


class LossyProxy:
    """`losses` are taken from the left, one a request; with none left everything arrives."""

    def __init__(self, origin: str, port: int) -> None:
        self.origin = origin
        self.url = f"http://127.0.0.1:{port}"
        self.losses: deque[Loss] = deque()


class _Handler(RequestHandler):
    def initialize(self, proxy: LossyProxy) -> None:
        self.proxy = proxy

    async def _any(self) -> None:
        loss = self.proxy.losses.popleft() if self.proxy.losses else "none"
        if loss == "request":
            self.request.connection.stream.close()  # type: ignore[attr-defined]
            return
        if loss == "busy":
            self.set_status(429)
            self.set_header("Retry-After", "1")
            return
        headers = {name: value for name, value in self.request.headers.get_all() if name.lower() not in HOP}
        method = self.request.method or "GET"
        request = HTTPRequest(
            self.proxy.origin + self.request.uri,  # type: ignore[operator]
            method=method,
            headers=headers,
            body=self.request.body if method in ("POST", "PUT", "PATCH") else None,
            follow_redirects=False,
        )
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        if loss == "answer":
            self.request.connection.stream.close()  # type: ignore[attr-defined]
            return
        self.set_status(answer.code, answer.reason)
        for name, value in answer.headers.get_all():
            if name.lower() not in HOP:
                self.set_header(name, value)
        if answer.body:
            self.write(answer.body)

    get = post = put = patch = delete = _any


@asynccontextmanager
async def running_proxy(origin: str) -> AsyncIterator[LossyProxy]:
    socket, port = bind_unused_port()
    proxy = LossyProxy(origin, port)
    server = HTTPServer(Application([(r".*", _Handler, {"proxy": proxy})], log_function=lambda _handler: None))
    server.add_socket(socket)
    try:
        yield proxy
    finally:
        server.stop()
        await server.close_all_connections()
