"""A language model behind an OpenAI-compatible chat endpoint, by HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

from server.engines.llm import MOST_TOKENS, LlmBroken, Message
from server.engines.llm_chunks import Delta, ErrorSent, EventLines, NotUnderstood, error_in, read_answer, read_event
from server.engines.llm_exchange import AnswerBroken, Exchange, Head
from server.errors import EngineAway

log = logging.getLogger(__name__)

ENDPOINT = "/chat/completions"
# Streams that one process holds open at a time; further questions wait their turn.
MOST_STREAMS = 64
LARGEST_ANSWER = 4 << 20
# What may well succeed a moment later.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
# Ends that are as they should be; anything else cut the answer short.
GOOD_ENDS = frozenset({"stop", "done", "eos", "end_turn", "tool_calls", "function_call"})


class Patience(msgspec.Struct, frozen=True):
    """How long the door waits, in seconds. Reasoning and keep-alives count as signs of life, but not against `total`."""

    connect: float = 5.0
    first: float = 60.0
    between: float = 30.0
    total: float = 300.0
    retries: int = 2
    backoff: float = 0.5
    longest_retry_after: float = 10.0


class _Again(Exception):
    """Nothing came, and the same request may succeed after `wait_s` (None: the usual backoff)."""

    def __init__(self, cause: str, wait_s: float | None = None) -> None:
        self.cause = cause
        self.wait_s = wait_s
        super().__init__(cause)


class HttpLlm:
    mode: Literal["embedded", "distributed"] = "distributed"
    available = True

    def __init__(self, url: str, model: str, key: str, patience: Patience | None = None) -> None:
        self._url = endpoint(url)
        self._model = model
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._patience = patience or Patience()
        self._turns = asyncio.Semaphore(MOST_STREAMS)
        self._open: set[Exchange] = set()

    async def stream(self, messages: Sequence[Message], *, temperature: float = 0.2, max_tokens: int = MOST_TOKENS) -> AsyncGenerator[str]:
        asked = {"model": self._model, "messages": messages, "temperature": temperature, "max_tokens": max_tokens, "stream": True}
        body = msgspec.json.encode(asked)
        deadline = self._now() + self._patience.total
        try:
            async with asyncio.timeout_at(deadline):
                await self._turns.acquire()
        except TimeoutError:
            raise EngineAway("llm", "too many questions at once") from None
        try:
            async with contextlib.aclosing(self._tried(body, deadline)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._turns.release()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _tried(self, body: bytes, deadline: float) -> AsyncGenerator[str]:
        """The pieces of the first attempt that yields any."""
        attempt = 0
        while True:
            try:
                async with contextlib.aclosing(self._once(body, deadline)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except _Again as again:
                wait_s = again.wait_s
                if wait_s is None:
                    wait_s = self._patience.backoff * 2**attempt * random.uniform(0.5, 1.5)
                wait_is_vain = wait_s > self._patience.longest_retry_after or self._now() + wait_s > deadline
                if attempt >= self._patience.retries or wait_is_vain:
                    raise EngineAway("llm", again.cause) from None
                attempt += 1
                log.info("the language model is asked again in %.1f s: %s", wait_s, again.cause)
                await asyncio.sleep(wait_s)

    async def _once(self, body: bytes, deadline: float) -> AsyncGenerator[str]:
        """The pieces of one attempt. Raises _Again, EngineAway or LlmBroken."""
        exchange = Exchange(self._url, body, self._headers, connect_s=self._patience.connect, largest=LARGEST_ANSWER)
        self._open.add(exchange)
        came = False
        try:
            head = await exchange.head(min(self._patience.first + self._patience.connect, deadline - self._now()))
            if head.status != 200:
                raise await self._refusal(exchange, head)
            ended = ""
            async with contextlib.aclosing(self._deltas(exchange, head, deadline)) as deltas:
                async for delta in deltas:
                    if delta.text:
                        came = True
                        yield delta.text
                    if delta.ended:
                        ended = delta.ended
                        break
            _check_end(ended, came)
        except AnswerBroken as broken:
            if not came and broken.early:
                raise _Again(broken.cause) from None
            raise _away(broken.cause, came) from None
        except NotUnderstood as error:
            raise _away(f"not understood: {error}", came) from None
        except ErrorSent as error:
            raise _away(f"error sent: {error}", came) from None
        except TimeoutError:
            raise _away("no text in time", came) from None
        finally:
            self._open.discard(exchange)
            await exchange.close()

    async def _deltas(self, exchange: Exchange, head: Head, deadline: float) -> AsyncGenerator[Delta]:
        pieces = self._in_time(exchange, deadline)
        if "json" in head.content_type and "event-stream" not in head.content_type:
            yield read_answer(b"".join([chunk async for chunk in pieces]))
            return
        lines = EventLines()
        async for chunk in pieces:
            for data in lines.feed(chunk):
                yield read_event(data)
        for data in lines.end():
            yield read_event(data)

    async def _in_time(self, exchange: Exchange, deadline: float) -> AsyncIterator[bytes]:
        patience = self._patience.first
        while (chunk := await exchange.chunk(min(patience, deadline - self._now()))) is not None:
            yield chunk
            patience = self._patience.between

    async def _refusal(self, exchange: Exchange, head: Head) -> Exception:
        """The error for an answer that is not 200."""
        body = b""
        with contextlib.suppress(AnswerBroken, TimeoutError):
            while len(body) < 65_536 and (chunk := await exchange.chunk(self._patience.connect)) is not None:
                body += chunk
        cause = f"HTTP {head.status} {error_in(body)}".strip()
        return _Again(cause, head.retry_after_s) if head.status in TRANSIENT else EngineAway("llm", cause)

    async def ping(self) -> None:
        """Any answer of the endpoint's list of models is a sign of life; it need not have such a list."""
        exchange = Exchange(
            self._url.replace(ENDPOINT, "/models", 1), None, self._headers, connect_s=self._patience.connect, largest=LARGEST_ANSWER
        )
        try:
            await exchange.head(self._patience.connect)
        except (AnswerBroken, TimeoutError) as error:
            raise EngineAway("llm", str(error) or "no answer") from None
        finally:
            await exchange.close()

    async def close(self) -> None:
        for exchange in list(self._open):
            await exchange.close()


def endpoint(url: str) -> str:
    """The address of the chat endpoint: as it is when it ends so, else below the given one; a query stays at the end."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith(ENDPOINT) else path + ENDPOINT))


def _check_end(ended: str, came: bool) -> None:
    if not ended:
        raise _away("the answer broke off", came)
    if ended not in GOOD_ENDS:
        raise _away(ended[:32], came)
    if not came:
        raise EngineAway("llm", "an empty answer")


def _away(cause: str, came: bool) -> EngineAway:
    return LlmBroken(cause) if came else EngineAway("llm", cause)
