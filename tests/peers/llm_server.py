"""Chat endpoints for tests: llmock as a child process, and one on the test's own loop that misbehaves as it is told."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import msgspec

from tests.peers.process import Peer, free_port, require


class Llmock(Peer):
    """Its faults are set by `scenario`; `verdict` says what the client did wrong."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _call(self, path: str, body: Any = None) -> Any:
        data = None if body is None else msgspec.json.encode(body)
        request = Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"})
        with urlopen(request, timeout=10) as answer:
            return msgspec.json.decode(answer.read())

    def scenario(self, *behaviors: dict[str, Any]) -> None:
        """Queue behaviours; what was queued and seen before is forgotten."""
        self._call("/_llmock/reset", {})
        self._call("/_llmock/scenario", {"behaviors": list(behaviors)})

    def requests(self) -> Any:
        return self._call("/_llmock/requests")

    def verdict(self) -> Any:
        return self._call("/_llmock/verdict")


@contextmanager
def running_llmock(folder: Path) -> Iterator[Llmock]:
    command = shutil.which("llmock", path=str(Path(sys.executable).parent)) or shutil.which("llmock")
    require("llmock", command)
    port = free_port()
    peer = Llmock([str(command), "serve", "--host", "127.0.0.1", "--port", str(port), "--response-style", "static"], folder, port)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


class Asked(NamedTuple):
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: Any
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def gone(self) -> None:
        """Wait until the client closes the connection."""
        while await self.reader.read(65_536):
            pass

    def begin(self, status: str = "200 OK", content_type: str = "text/event-stream", **headers: str) -> None:
        """The head of an answer whose body ends with the connection."""
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{more}\r\n".encode())

    def whole(self, status: str, body: Any, **headers: str) -> None:
        """A complete answer of JSON."""
        encoded = msgspec.json.encode(body)
        self.begin(status, "application/json", Content_Length=str(len(encoded)), **headers)
        self.writer.write(encoded)

    async def send(self, *parts: bytes | str) -> None:
        """Bytes, each in a packet of its own as far as that can be had."""
        for part in parts:
            self.writer.write(part.encode() if isinstance(part, str) else part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def say(self, *texts: str, end: str | None = "stop") -> None:
        """A stream of these pieces; `end` None leaves the end out."""
        self.begin()
        for text in texts:
            await self.send(event(text))
        if end is not None:
            await self.send(event("", end), "data: [DONE]\n\n")


Behaviour = Callable[[Asked], Awaitable[None]]


def event(text: str, ended: str | None = None, **more: Any) -> str:
    """One event of a stream, as OpenAI sends it."""
    delta = {"content": text, **more} if text or more else {}
    chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": ended}]}
    return f"data: {msgspec.json.encode(chunk).decode()}\n\n"


def saying(*texts: str, end: str | None = "stop") -> Behaviour:
    async def behave(asked: Asked) -> None:
        await asked.say(*texts, end=end)

    return behave


class Misbehaving:
    """Takes one behaviour after the other, the last for ever; keeps the requests."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.behaviours: list[Behaviour] = [saying("hello")]
        self.asked: list[Asked] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            asked = Asked(head[0], headers, msgspec.json.decode(body) if body else None, reader, writer)
            self.asked.append(asked)
            behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
            await behaviour(asked)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running_misbehaving() -> AsyncIterator[Misbehaving]:
    peer = Misbehaving(0)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(peer.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    peer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield peer
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
