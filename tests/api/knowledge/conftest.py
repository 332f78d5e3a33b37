"""A server with workers and a vector engine of its own, cheap embeddings, and what one does with documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from tornado.ioloop import IOLoop

from server.config import Settings
from tests.api.client import Answer, Api
from tests.documents.form import HEADERS, form
from tests.documents.pdf import pdf
from tests.embedded import settings_in
from tests.peers.embedding_server import EmbeddingPeer, running_embeddings

ENDED = ("ready", "failed", "no_text")
LONG_S = 90.0


@pytest.fixture
def embeddings(io_loop: IOLoop) -> Iterator[EmbeddingPeer]:
    """An embeddings endpoint whose vectors tell how many pairs of letters texts share."""
    stack = AsyncExitStack()
    yield io_loop.run_sync(lambda: stack.enter_async_context(running_embeddings()))
    io_loop.run_sync(stack.aclose)


@pytest.fixture
def more_settings() -> dict[str, Any]:
    """Settings that a test wants beside the usual ones."""
    return {}


@pytest.fixture
def settings(tmp_path: Path, embeddings: EmbeddingPeer, more_settings: dict[str, Any]) -> Settings:
    given = {"embedding_url": embeddings.url, "embedding_model": embeddings.model, "ws": 1, **more_settings}
    return settings_in(tmp_path / "data", **given)


@pytest.fixture
def loops() -> bool:
    return True


class Library:
    """What one caller does with documents."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def as_caller(self, api: Api) -> Library:
        return Library(api)

    async def post(self, files: Sequence[tuple[str, bytes]], fields: Mapping[str, str] | None = None, **more: Any) -> Answer:
        return await self.api.post("/api/documents", body=form(files, fields), headers={**HEADERS, **more.pop("headers", {})}, **more)

    async def upload(self, *pages: Sequence[str], name: str = "a.pdf", **fields: str) -> int:
        """Upload a PDF with these lines on its pages; the document's id."""
        answer = await self.post([(name, pdf(*pages))], fields)
        assert answer.status == 202
        return int(answer.result["document_id"])

    async def ended(self, document_id: int, *, timeout_s: float = LONG_S) -> dict[str, Any]:
        """The document, when it is ready or has failed."""

        def has_ended(document: dict[str, Any]) -> bool:
            return document["status"] in ENDED

        return await self.until(document_id, has_ended, timeout_s=timeout_s)

    async def until(self, document_id: int, holds: Callable[[dict[str, Any]], bool], *, timeout_s: float = LONG_S) -> dict[str, Any]:
        async with asyncio.timeout(timeout_s):
            while True:
                document: dict[str, Any] = (await self.api.get(f"/api/documents/{document_id}")).result
                if holds(document):
                    return document
                await asyncio.sleep(0.05)

    async def ready(self, *pages: Sequence[str], **more: str) -> int:
        """Upload a PDF and wait until it is ready."""
        document_id = await self.upload(*pages, **more)
        document = await self.ended(document_id)
        assert document["status"] == "ready", document["error"]
        return document_id

    async def search(self, question: str, **more: Any) -> dict[str, Any]:
        result: dict[str, Any] = (await self.api.get(f"/api/search?{urlencode({'q': question, **more}, quote_via=quote)}")).result
        return result

    async def found(self, question: str, **more: Any) -> list[int]:
        """The documents of the hits, in order."""
        return [hit["document_id"] for hit in (await self.search(question, **more))["hits"]]


@pytest.fixture
def library(api: Api) -> Library:
    """The documents, as `admin` sees them."""
    return Library(api)
