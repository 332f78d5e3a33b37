"""What stands in for retrieval and for a language model in tests of the assistant."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tornado.httpclient import HTTPRequest

from server.context import Context
from server.engines.llm import Message, NoLlm
from server.knowledge import search
from server.knowledge.search_schemas import FoundPassage, SearchScope
from server.knowledge.tables import documents, messages
from tests.api.client import Api

LEAVE = "请假三天以内由辅导员审批，超过七天须报教务处备案。病假须附诊断证明。"
QUESTION = "请假超过七天要报哪里备案？"


class Search:
    """Stands in for retrieval: gives what it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, SearchScope]] = []
        self.passages: list[FoundPassage] = []
        self.error: Exception | None = None

    async def __call__(self, _ctx: Context, _actor: Any, question: str, scope: SearchScope, limit: int) -> list[FoundPassage]:
        self.asked.append((question, scope))
        if self.error is not None:
            raise self.error
        return self.passages[:limit]


class Llm(NoLlm):
    """A model that says what the test says."""

    available = True

    def __init__(self, say: Callable[[Sequence[Message]], AsyncGenerator[str]]) -> None:
        self._say = say
        self.asked: list[Sequence[Message]] = []
        self.closed = 0

    async def stream(self, messages: Sequence[Message], *, temperature: float = 0.2, max_tokens: int = 1500) -> AsyncGenerator[str]:
        self.asked.append(messages)
        try:
            async for piece in self._say(messages):
                yield piece
        finally:
            self.closed += 1


def saying(*pieces: str, error: Exception | None = None) -> Callable[[Sequence[Message]], AsyncGenerator[str]]:
    async def say(_messages: Sequence[Message]) -> AsyncGenerator[str]:
        for piece in pieces:
            yield piece
        if error is not None:
            raise error

    return say


def use(ctx: Context, llm: Any) -> Any:
    object.__setattr__(ctx, "llm", llm)
    return llm


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, document: int) -> Search:
    stand_in = Search()
    stand_in.passages = [passage(document)]
    monkeypatch.setattr(search, "find_passages", stand_in)
    return stand_in


def passage(document_id: int, text: str = LEAVE, **more: Any) -> FoundPassage:
    values: dict[str, Any] = {"title": "学生手册", "page": 12, "path": ["请假"], "language": "zh", "score": 0.9, "similarity": 0.5, **more}
    return FoundPassage(chunk_id="c" * 32, document_id=document_id, text=text, boxes=[], **values)


@pytest.fixture
def document(ctx: Context, io_loop: Any) -> int:
    """A document that everybody may read."""
    now = ctx.clock.now()
    row: dict[str, Any] = {"organization_id": 1, "visibility": "public", "title": "学生手册", "created_at": now, "updated_at": now}
    for column in documents.c:  # what matters nothing here
        if not column.nullable and not column.primary_key:
            row.setdefault(column.name, "" if column.type.python_type is str else 0)

    def insert(connection: sa.Connection) -> int:
        made = connection.execute(documents.insert().values(row)).inserted_primary_key
        assert made
        return int(made[0])

    async def put() -> int:
        return await ctx.sql.write(insert)

    made: int = io_loop.run_sync(put)
    return made


async def events_of(api: Api, body: dict[str, Any], accept: str = "text/event-stream") -> tuple[Any, list[tuple[str, Any]]]:
    """The response of a stream, and its events by name."""
    request = HTTPRequest(
        f"{api.base_url}/api/assistant/ask",
        method="POST",
        body=msgspec.json.encode(body),
        headers={"Authorization": f"Bearer {api.token}", "Content-Type": "application/json", "Accept": accept},
    )
    response = await api.client.fetch(request, raise_error=False)
    events = []
    for block in response.body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":") and ": " in line)
        if "event" in lines:
            events.append((lines["event"], msgspec.json.decode(lines["data"])))
    return response, events


async def newest_answer(ctx: Context) -> Any:
    newest = sa.select(messages).where(messages.c.role == "assistant").order_by(messages.c.id.desc()).limit(1)
    return await ctx.sql.read(lambda connection: connection.execute(newest).one())
