"""One open socket to the server: sends text frames, counts what has not left yet, says when it closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from zhihui_module.address import Address
from zhihui_module.frames import MAX_FRAME_BYTES
from zhihui_module.http_door import CONNECT_TIMEOUT_S

if TYPE_CHECKING:
    from asyncio import Future

PING_INTERVAL_S = 30.0
PING_TIMEOUT_S = 20.0
# Beyond this many unsent characters log lines wait; results never do.
MAX_BACKLOG = 2 * 1024 * 1024


class Wire:
    """A socket from its opening to its close. `number` tells it from the sockets before and after it."""

    def __init__(self, number: int, received: Callable[[Wire, str], None]) -> None:
        self.number = number
        self.draining = False
        self.backlog = 0
        self.closed = asyncio.Event()
        self._received = received
        self._connection: WebSocketClientConnection | None = None
        self._last: Future[None] | None = None
        self._early: list[str] | None = []

    async def open(self, address: Address, module_hash: str, process: str) -> None:
        """Connect. Raises tornado's HTTPClientError (403: the hash is unknown), WebSocketError or OSError."""
        url = address.websocket(module_hash, process)
        request = HTTPRequest(url, headers=address.headers, connect_timeout=CONNECT_TIMEOUT_S, request_timeout=CONNECT_TIMEOUT_S * 2)
        opening = asyncio.ensure_future(
            websocket_connect(
                request,
                on_message_callback=self._on_message,
                ping_interval=PING_INTERVAL_S,
                ping_timeout=PING_TIMEOUT_S,
                max_message_size=MAX_FRAME_BYTES,
            )
        )
        try:
            self._connection = await asyncio.shield(opening)
            if self.closed.is_set():
                self._connection.close()  # it closed before it was known here
        except asyncio.CancelledError:
            # Tornado finishes the handshake all the same: close what then nobody holds.
            opening.add_done_callback(_close_late)
            raise

    def begin(self) -> None:
        """Hand over what is received from now on, and what came while the opening was still being told."""
        early, self._early = self._early or [], None
        for message in early:
            self._received(self, message)

    def send(self, frame: str) -> bool:
        """Write a frame, in order. False when the socket is closed."""
        if self._connection is None or self.closed.is_set():
            return False
        try:
            written = self._connection.write_message(frame)
        except WebSocketClosedError:
            return False
        size = len(frame)
        self.backlog += size

        def on_written(future: Future[None]) -> None:
            self.backlog -= size
            if not future.cancelled():
                future.exception()  # a close while writing is told by `closed`

        written.add_done_callback(on_written)
        self._last = written
        return True

    async def wait_written(self) -> None:
        """Until what was sent so far has left for the network, or the socket has closed."""
        if self._last is not None and not self._last.done():
            await asyncio.wait([self._last])

    def send_report(self, frame: str) -> bool:
        """Write a frame that may wait. False when the socket is closed or far behind."""
        return self.backlog < MAX_BACKLOG and self.send(frame)

    def close(self, reason: str = "") -> None:
        """Begin the closing handshake."""
        if self._connection is not None:
            self._connection.close(1000, reason or None)

    @property
    def close_code(self) -> int | None:
        return self._connection.close_code if self._connection is not None else None

    def _on_message(self, message: str | bytes | None) -> None:
        if message is None:
            self.closed.set()
            if self._connection is not None:
                self._connection.close()  # lets go of Tornado's own half
        elif self._early is not None:
            self._early.append(str(message))
        else:
            self._received(self, str(message))


def _close_late(opening: Future[WebSocketClientConnection]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
