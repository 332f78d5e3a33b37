"""Embedding at an OpenAI-compatible HTTP endpoint."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPResponse
from tornado.httputil import HTTPHeaders

from server.engines.embedding import EmbeddingDoor, EmbeddingModel, EmbeddingRefused, Passage, Vector
from server.engines.embedding_answer import read_vectors
from server.engines.embedding_batches import batches, side_by_side
from server.engines.reachable import check_reachable
from server.errors import EngineAway

if TYPE_CHECKING:
    from server.engines.embedding_family import EmbeddingFamily

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
TEXTS_A_BATCH = 64
CHARS_A_BATCH = 100_000
# Requests in flight: of one call, and of all passages together. Queries have places of their own.
AT_ONCE_A_CALL = 2
AT_ONCE = 4
QUERIES_AT_ONCE = 8
QUERY_CHARS = 2_000
QUERIES_KEPT = 512
REASON_CHARS = 200
# Client errors that may well succeed later: timeout, too early, too many.
TRANSIENT = frozenset({408, 425, 429})


class Patience(msgspec.Struct, frozen=True):
    """How often a request is sent, how long each may take, and how long is waited in between, in seconds."""

    attempts: int
    request_s: float
    first_wait_s: float
    longest_wait_s: float

    def wait_s(self, failures: int, retry_after_s: float | None) -> float:
        """Before the next attempt: what the endpoint asks for, or else twice as long each time; half of it by chance."""
        if retry_after_s is not None:
            return min(retry_after_s, self.longest_wait_s)
        longest = min(self.first_wait_s * (1 << (failures - 1)), self.longest_wait_s)
        return longest * (0.5 + random.random() / 2)


# A person waits for a query; passages are embedded by a task that would otherwise begin anew.
FOR_QUERIES = Patience(attempts=2, request_s=10, first_wait_s=0.5, longest_wait_s=2)
FOR_PASSAGES = Patience(attempts=5, request_s=60, first_wait_s=1, longest_wait_s=30)


def endpoint(url: str) -> str:
    """The address that takes the requests: /embeddings is appended to the path unless it ends in it."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/embeddings")
    return urlunsplit(parts._replace(path=f"{path}/embeddings", fragment=""))


class _Failed(Exception):
    """An attempt that may be repeated; `retry_after_s` is what the endpoint asked for."""

    def __init__(self, cause: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(cause)


class HttpEmbedding:
    """Passages go as `heading\\nbody`; what such a model makes of them is only scaled to length 1."""

    mode: Literal["embedded", "distributed"] = "distributed"

    def __init__(
        self,
        url: str,
        name: str,
        dim: int,
        *,
        key: str,
        family: EmbeddingFamily,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url, self._name, self._dim = url, name, dim
        self._key = key
        self._family = family
        self._pause = pause
        self._client = AsyncHTTPClient(force_instance=True, max_clients=AT_ONCE + QUERIES_AT_ONCE)
        self._for_passages = asyncio.Semaphore(AT_ONCE)
        self._for_queries = asyncio.Semaphore(QUERIES_AT_ONCE)
        self._asking: asyncio.Task[EmbeddingModel] | None = None
        self._model: EmbeddingModel | None = None
        self._kept: OrderedDict[str, Vector] = OrderedDict()
        self._closed = False

    async def model(self) -> EmbeddingModel:
        """One question for all who want to know at the same time; after a failure the next asks anew."""
        if self._model is None:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_for_model(), name="embedding-model")
            self._model = await asyncio.shield(self._asking)
        return self._model

    async def _ask_for_model(self) -> EmbeddingModel:
        (vector,) = await self._ask(["dimension"], self._dim, self._for_queries, FOR_QUERIES)
        return EmbeddingModel(self._name, len(vector) // 4, self._url)

    async def passages(self, passages: Sequence[Passage], *, urgent: bool = False) -> list[Vector]:
        dim = (await self.model()).dim
        texts = [f"{passage.heading}\n{passage.text}" if passage.heading else passage.text for passage in passages]
        cut = batches(texts, most=TEXTS_A_BATCH, most_chars=CHARS_A_BATCH, chars=len)
        # Nobody waits here for long, so `urgent` changes nothing.
        return await side_by_side(lambda batch: self._ask(batch, dim, self._for_passages, FOR_PASSAGES), cut, AT_ONCE_A_CALL)

    async def query(self, text: str, language: str) -> Vector:
        asked = text[:QUERY_CHARS]
        found = self._kept.get(asked)
        if found is None:
            dim = (await self.model()).dim
            (found,) = await self._ask([asked], dim, self._for_queries, FOR_QUERIES)
            self._kept[asked] = found
            if len(self._kept) > QUERIES_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(asked)
        return found

    def other(self, model: EmbeddingModel) -> EmbeddingDoor:
        own = (model.name, model.url) == (self._name, self._url)
        known = self._model.dim if self._model is not None else self._dim
        return self if own and known in (0, model.dim) else self._family.other(model)

    async def prepare(self) -> None:
        """The endpoint has its model."""

    async def warm(self) -> None:
        await self.model()

    async def ping(self) -> None:
        """Whether the endpoint's host takes connections: to ask for a vector costs money at some."""
        self._check_open()
        await check_reachable("embedding", self._url)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._asking is not None:
                self._asking.cancel()
                await asyncio.gather(self._asking, return_exceptions=True)
            await self._family.close()
            self._client.close()

    def _check_open(self) -> None:
        if self._closed:
            raise EngineAway("embedding", "closed")

    async def _ask(self, texts: list[str], dim: int, places: asyncio.Semaphore, patience: Patience) -> list[Vector]:
        """The vectors of one batch. Raises EmbeddingRefused, EmbeddingMisfit; EngineAway once all attempts have failed."""
        # An empty text is an error at most endpoints, and nothing that anyone searches for.
        request = {"input": [text if text.strip() else "-" for text in texts], "encoding_format": "float"}
        body = msgspec.json.encode({**request, "model": self._name} if self._name else request)
        for attempt in range(1, patience.attempts + 1):
            try:
                async with places:
                    answer = await self._post(body, patience.request_s)
                # In a thread, as a batch of large vectors takes longer than the loop may be held.
                return await asyncio.to_thread(read_vectors, answer, len(texts), dim)
            except _Failed as failed:
                if attempt == patience.attempts:
                    raise EngineAway("embedding", str(failed)) from failed
                wait_s = patience.wait_s(attempt, failed.retry_after_s)
                log.warning("the embedding endpoint failed (%s); it is asked again in %.1f s", failed, wait_s)
                await self._pause(wait_s)
        raise AssertionError("the last attempt returns or raises")

    async def _post(self, body: bytes, request_timeout_s: float) -> bytes:
        self._check_open()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            answer = await self._client.fetch(
                self._url,
                method="POST",
                body=body,
                headers=headers,
                connect_timeout=CONNECT_TIMEOUT_S,
                request_timeout=request_timeout_s,
                follow_redirects=False,  # the key would go along
                raise_error=False,
            )
        except (HTTPError, OSError) as error:
            raise _Failed(str(error) or type(error).__name__) from error
        if 200 <= answer.code < 300:
            return bytes(answer.body)
        if answer.code == 599:  # Tornado's own: no answer came, or not all of it
            raise _Failed(str(answer.error or "no answer"))
        if answer.code >= 500 or answer.code in TRANSIENT:
            raise _Failed(f"HTTP {answer.code}", _retry_after_s(answer.headers))
        raise EmbeddingRefused(status=answer.code, reason=self._reason(answer))

    def _reason(self, answer: HTTPResponse) -> str:
        """What the endpoint says is wrong, unless it is about the key, of which some repeat a part."""
        if answer.code in (401, 403):
            return "ARK_API_KEY"
        try:
            said = msgspec.json.decode(answer.body or b"")
            message = said["error"]["message"] if isinstance(said["error"], dict) else said["error"]
        except (msgspec.DecodeError, KeyError, TypeError):
            return str(answer.reason)
        short = str(message)[:REASON_CHARS]
        return short.replace(self._key, "…") if self._key else short


def _retry_after_s(headers: HTTPHeaders) -> float | None:
    """Retry-After in seconds; its other form, a date, is rare and counts as none."""
    given = headers.get("Retry-After", "")
    return float(given) if given.isascii() and given.isdigit() else None
