"""Reverse proxies: whose word about the client's address is believed."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.netutil import is_valid_ip

MIB = 1 << 20
SLOWEST_UPLOAD = 256 << 10  # bytes a second: who is slower than this is cut off


def client_address(forwarded_for: str, proxies: frozenset[str]) -> str | None:
    """The address furthest right in X-Forwarded-For that is no proxy of ours, or the first one when all are; None when it is no address."""
    addresses = [part.strip() for part in forwarded_for.split(",")]
    address = next((address for address in reversed(addresses) if address not in proxies), addresses[0])
    return address if is_valid_ip(address) else None


class ProxiedServer(HTTPServer):
    """Tornado's server, believing forwarding headers only from our own proxies, with a body limit for each kind of handler.

    Tornado's own `xheaders` believes X-Forwarded-For and X-Real-IP from whoever connects: anybody could call himself 127.0.0.1. Here
    the other end of the socket must be a trusted proxy, and X-Real-IP, which proxies pass on as they get it, is not read.

    A handler class that takes uploads (`streams = True`, or Tornado's stream_request_body) may take `max_upload` bytes, in time for
    SLOWEST_UPLOAD; any other is cut off at `max_body`, before the body has filled the memory.
    """

    proxies: frozenset[str] = frozenset()
    max_body: int = 32 * MIB
    max_upload: int = 200 * MIB

    def start_request(self, server_conn: object, request_conn: httputil.HTTPConnection) -> httputil.HTTPMessageDelegate:
        return _Request(super().start_request(server_conn, request_conn), request_conn, self)


class _Request(httputil.HTTPMessageDelegate):
    def __init__(self, inner: httputil.HTTPMessageDelegate, connection: Any, server: ProxiedServer) -> None:
        self._inner, self._connection, self._server = inner, connection, server
        self._direct = (connection.context.remote_ip, connection.context.protocol)

    def headers_received(
        self, start_line: httputil.RequestStartLine | httputil.ResponseStartLine, headers: httputil.HTTPHeaders
    ) -> Awaitable[None] | None:
        context = self._connection.context
        if context.remote_ip in self._server.proxies:
            if "X-Forwarded-For" in headers:
                context.remote_ip = client_address(headers["X-Forwarded-For"], self._server.proxies) or context.remote_ip
            scheme = headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip()
            context.protocol = scheme if scheme in ("http", "https") else context.protocol
        answer = self._inner.headers_received(start_line, headers)
        found = getattr(self._inner, "delegate", None)
        takes_uploads = getattr(getattr(found, "handler_class", None), "streams", getattr(found, "stream_request_body", False))
        if takes_uploads:
            self._connection.set_body_timeout(60 + self._server.max_upload / SLOWEST_UPLOAD)
            # The handler answers 413; far over its limit, the connection is cut.
            self._connection.set_max_body_size(4 * self._server.max_upload)
        else:
            self._connection.set_max_body_size(self._server.max_body)
        return answer

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()
        self._restore()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()
        self._restore()

    def _restore(self) -> None:
        """The next request on this connection may be another client's."""
        self._connection.context.remote_ip, self._connection.context.protocol = self._direct


def listed_addresses(names: Iterable[str]) -> frozenset[str]:
    """Trusted proxies as a set, refusing what is no address.

    Raises ValueError naming the entry.
    """
    found = frozenset(names)
    for name in found:
        if not is_valid_ip(name):
            raise ValueError(f"TRUSTED_PROXIES: {name!r} is not an IP address")
    return found
