"""An OpenAI-compatible embeddings endpoint on the test's own loop: cheap vectors that always come out the same, and mischief on demand."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
from array import array
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import msgspec
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

DIM = 64

# What an answer is before it is sent: OpenAI's, to be changed or replaced.
Answer = dict[str, Any]
# What happens to one request in place of a good answer; the handler is finished by it, or else the answer is sent.
Mischief = Callable[[RequestHandler, Answer], Awaitable[None]]


def bigram_vector(text: str, dim: int = DIM) -> list[float]:
    """A vector of unit length that is near another the more pairs of letters the texts share."""
    plain = f" {' '.join(text.lower().split())} "
    counts = [0.0] * dim
    for left, right in pairwise(plain):
        digest = hashlib.blake2b((left + right).encode("utf-8", "replace"), digest_size=4).digest()
        counts[int.from_bytes(digest, "little") % dim] += 1
    length = math.hypot(*counts)
    return [count / length for count in counts]


class EmbeddingPeer:
    """`mischief` is taken from the left, one a request; with none left every answer is good. `key` empty takes any bearer."""

    def __init__(self, port: int, dim: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.dim = dim
        self.key = ""
        self.model = f"bigrams-{dim}"
        self.requests: list[dict[str, Any]] = []
        self.bearers: list[str] = []
        self.mischief: deque[Mischief] = deque()
        self.open_requests = 0
        self.most_at_once = 0

    @property
    def texts(self) -> list[str]:
        """All texts that it was asked for, in order."""
        return [text for request in self.requests for text in request["input"]]


class _Handler(RequestHandler):
    def initialize(self, peer: EmbeddingPeer) -> None:
        self.peer = peer

    async def post(self) -> None:
        peer = self.peer
        peer.open_requests += 1
        peer.most_at_once = max(peer.most_at_once, peer.open_requests)
        try:
            await self._answer()
        finally:
            peer.open_requests -= 1

    async def _answer(self) -> None:
        peer = self.peer
        request = msgspec.json.decode(self.request.body, type=dict[str, Any])
        peer.requests.append(request)
        peer.bearers.append(self.request.headers.get("Authorization", "").removeprefix("Bearer "))
        if peer.key and peer.bearers[-1] != peer.key:
            await refused(401, f"Incorrect API key provided: {peer.bearers[-1][:4]}")(self, {})
            return
        vectors = [bigram_vector(text, peer.dim) for text in request["input"]]
        data = [{"object": "embedding", "index": number, "embedding": vector} for number, vector in enumerate(vectors)]
        answer: Answer = {"object": "list", "model": request.get("model", peer.model), "data": data, "usage": {"total_tokens": 0}}
        if peer.mischief:
            await peer.mischief.popleft()(self, answer)
        if not self._finished and not self.request.connection.stream.closed():  # type: ignore[attr-defined]
            self.set_header("Content-Type", "application/json")
            await self.finish(msgspec.json.encode(answer))


def refused(status: int, message: str = "no", **headers: str) -> Mischief:
    """An error in OpenAI's form; `Retry_After="3"` becomes the header Retry-After."""

    async def apply(handler: RequestHandler, _answer: Answer) -> None:
        handler.set_status(status)
        for name, value in headers.items():
            handler.set_header(name.replace("_", "-"), value)
        handler.set_header("Content-Type", "application/json")
        await handler.finish(msgspec.json.encode({"error": {"message": message}}))

    return apply


def said(body: str) -> Mischief:
    """This body, with status 200."""

    async def apply(handler: RequestHandler, _answer: Answer) -> None:
        await handler.finish(body)

    return apply


def changed(change: Callable[[list[dict[str, Any]]], object]) -> Mischief:
    """A good answer whose data `change` has changed in place."""

    async def apply(_handler: RequestHandler, answer: Answer) -> None:
        change(answer["data"])

    return apply


def held(until: asyncio.Event) -> Mischief:
    """A good answer, once the event is set."""

    async def apply(_handler: RequestHandler, _answer: Answer) -> None:
        await until.wait()

    return apply


async def fine(_handler: RequestHandler, _answer: Answer) -> None:
    """No mischief this time."""


async def cut(handler: RequestHandler, _answer: Answer) -> None:
    """A connection that breaks in the middle of the answer."""
    handler.set_header("Content-Length", "10000")
    handler.write('{"data": [')
    await handler.flush()
    handler.request.connection.stream.close()  # type: ignore[union-attr]


def as_base64(data: list[dict[str, Any]]) -> None:
    """For `changed`: the vectors as base64, which is what encoding_format asks for at OpenAI."""
    for item in data:
        item["embedding"] = base64.b64encode(array("f", item["embedding"]).tobytes()).decode()


@asynccontextmanager
async def running_embeddings(dim: int = DIM) -> AsyncIterator[EmbeddingPeer]:
    socket, port = bind_unused_port()
    peer = EmbeddingPeer(port, dim)
    server = HTTPServer(Application([(r"/v1/embeddings", _Handler, {"peer": peer})], log_function=lambda _handler: None))
    server.add_socket(socket)
    try:
        yield peer
    finally:
        server.stop()
        await server.close_all_connections()
