"""One HTTP request whose answer is read as it comes, and whose connection can be closed at any moment."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.iostream import IOStream, StreamClosedError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient
from tornado.tcpclient import TCPClient

# Chunks that wait to be read; beyond them the endpoint has to wait.
MOST_WAITING = 16
# The waits of a caller are its own; this one only makes sure that no request lives on for ever.
LONGEST_S = 3600.0
# How long a request whose connection was closed may take to notice.
END_TIMEOUT_S = 1.0


class AnswerBroken(Exception):
    """The connection failed. `early`: before the answer had begun, so that nothing can have come of it."""

    def __init__(self, cause: str, *, early: bool) -> None:
        self.cause = cause
        self.early = early
        super().__init__(cause)


class Head(msgspec.Struct, frozen=True):
    """How an answer begins. `retry_after_s` is None when the header is missing or a date."""

    status: int
    content_type: str
    retry_after_s: float | None


class _OneStream(TCPClient):
    """Remembers the stream that it opens: Tornado's client has no way to give up a request that is under way."""

    def __init__(self) -> None:
        super().__init__()
        self._stream: IOStream | None = None
        self._given_up = False

    async def connect(self, *args: Any, **named: Any) -> IOStream:
        stream = await super().connect(*args, **named)
        if self._given_up:
            stream.close()
            raise StreamClosedError()
        self._stream = stream
        return stream

    @property
    def opened(self) -> bool:
        return self._stream is not None

    def give_up(self) -> None:
        self._given_up = True
        if self._stream is not None:
            self._stream.close()


class Exchange:
    """POST when there is a body, else GET. `largest` is the most bytes of an answer. Errors name no header."""

    def __init__(self, url: str, body: bytes | None, headers: dict[str, str], *, connect_s: float, largest: int) -> None:
        self._connections = _OneStream()
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=largest)
        self._client.tcp_client.close()
        self._client.tcp_client = self._connections
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)
        self._lines: list[str] = []
        self._head: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self._failed: AnswerBroken | None = None
        self._ended = False
        request = HTTPRequest(
            url,
            method="GET" if body is None else "POST",
            body=body,
            headers=dict(headers),
            connect_timeout=connect_s,
            request_timeout=LONGEST_S,
            follow_redirects=False,
            decompress_response=True,
            header_callback=self._header,
            streaming_callback=self._chunks.put,  # Tornado waits for what it returns before it reads on
        )
        self._task = asyncio.ensure_future(self._run(request))

    async def _run(self, request: HTTPRequest) -> None:
        try:
            answer = await self._client.fetch(request, raise_error=False)
            if answer.code == 599:  # Tornado's own: the connection failed, before or after the answer had begun
                self._failed = AnswerBroken(_named(answer.error), early=not self._head.done())
        except (OSError, ValueError, HTTPClientError, StreamClosedError) as error:
            self._failed = AnswerBroken(_named(error), early=not self._head.done())
        finally:
            if not self._head.done():
                self._head.set_exception(self._failed or AnswerBroken("no answer", early=True))
                self._head.exception()  # nobody may be waiting for it any more
            await self._chunks.put(None)

    def _header(self, line: str) -> None:
        if line.strip():
            self._lines.append(line)
            return
        status = self._lines[0].split(" ")[1]
        named = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in self._lines[1:])}
        after = named.get("retry-after", "")
        if not self._head.done():
            wait_s = float(after) if after.isascii() and after.isdigit() and len(after) < 9 else None
            self._head.set_result(Head(int(status), named.get("content-type", "").lower(), wait_s))

    async def head(self, timeout_s: float) -> Head:
        """How the answer begins. Raises AnswerBroken, TimeoutError."""
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(self._head)

    async def chunk(self, timeout_s: float) -> bytes | None:
        """The next bytes of the body, None at its end. Raises AnswerBroken when it was cut, TimeoutError."""
        if not self._ended:
            async with asyncio.timeout(timeout_s):
                chunk = await self._chunks.get()
            if chunk is not None:
                return chunk
            self._ended = True
        if self._failed is not None:
            raise self._failed
        return None

    async def close(self) -> None:
        """Give it up: the connection closes at once, or as soon as it opens, and the request ends by that."""
        self._connections.give_up()
        while not self._chunks.empty():
            self._chunks.get_nowait()  # whoever waits to put something in may go on, to find the connection closed
        if self._connections.opened:
            await asyncio.wait([self._task], timeout=END_TIMEOUT_S)
        with contextlib.suppress(RuntimeError):
            self._client.close()


def _named(error: BaseException | None) -> str:
    """What went wrong, without the addresses and headers that an error's text may hold."""
    if isinstance(error, HTTPTimeoutError):
        return "timeout"
    if isinstance(error, HTTPStreamClosedError | StreamClosedError):
        return "connection closed"
    return type(error).__name__ if error is not None else "no answer"
