"""The assistant over HTTP: answers in one piece and as events, with a model and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import timedelta

import msgspec
import pytest
from tornado.httpclient import HTTPRequest

from handlers import event_stream
from server.context import Context
from server.engines.llm import LlmBroken, Message
from server.engines.llm_http import HttpLlm, Patience
from server.errors import EngineAway
from server.knowledge import assistant
from server.knowledge.conversation_messages import ABANDONED_AFTER
from server.knowledge.search_schemas import SearchScope
from server.knowledge.tables import messages
from tests.api.assistant_stand_ins import LEAVE, QUESTION, Llm, Search, document, events_of, found, newest_answer, passage, saying, use
from tests.api.client import Api
from tests.peers.llm_server import Llmock, running_llmock

__all__ = ["document", "found"]


# Without a model.


@pytest.mark.gen_test(timeout=60)
async def test_without_a_model_passages_are_quoted(api: Api, found: Search, document: int) -> None:
    answered = (await api.post("/api/assistant/ask", {"question": QUESTION, "scope": {"organization_id": 1, "tags": ["手册"]}})).result
    assert (answered["mode"], answered["known"], answered["state"], answered["note"]) == ("extractive", True, "complete", None)
    [citation] = answered["citations"]
    assert (citation["n"], citation["document_id"], citation["page"], citation["chunk_id"]) == (1, document, 12, "c" * 32)
    assert citation["quote"] in LEAVE
    assert f"{citation['quote']} [1]" in answered["answer"]
    assert found.asked == [(QUESTION, SearchScope(organization_id=1, tags=["手册"]))]


@pytest.mark.parametrize(("question", "word"), [("食堂几点开门？", "没有"), ("When does the cafeteria open?", "no answer")])
@pytest.mark.gen_test(timeout=60)
async def test_what_is_not_known_is_said(api: Api, ctx: Context, found: Search, document: int, question: str, word: str) -> None:
    llm = use(ctx, Llm(saying("made up")))
    for passages in ([], [passage(document, similarity=0.1)]):
        found.passages = passages
        answered = (await api.post("/api/assistant/ask", {"question": question})).result
        assert (answered["known"], answered["mode"], answered["citations"]) == (False, "extractive", [])
        assert word in answered["answer"]
    assert llm.asked == []


# With a model.


@pytest.mark.gen_test(timeout=60)
async def test_a_model_answers_and_its_references_are_checked(api: Api, ctx: Context, found: Search, document: int) -> None:
    llm = use(ctx, Llm(saying("超过七天须报教务处", "备案 [", "1]。", "超过九天须报校长 [1]。", "病假须附诊断证明 [2]。")))
    answered = (await api.post("/api/assistant/ask", {"question": QUESTION})).result
    assert answered["answer"] == "超过七天须报教务处备案 [1]。超过九天须报校长。病假须附诊断证明。"
    assert (answered["mode"], answered["known"]) == ("llm", True)
    assert [citation["quote"] for citation in answered["citations"]] == ["请假三天以内由辅导员审批，超过七天须报教务处备案。"]
    [asked] = llm.asked
    assert LEAVE in asked[-1].content
    assert QUESTION in asked[-1].content
    conversation = (await api.get(f"/api/conversations/{answered['conversation_id']}")).result
    assert [(one["role"], one["text"]) for one in conversation["messages"]] == [("person", QUESTION), ("assistant", answered["answer"])]
    assert conversation["messages"][1]["citations"] == answered["citations"]
    assert conversation["title"] == QUESTION


@pytest.mark.gen_test(timeout=60)
async def test_events(api: Api, ctx: Context, found: Search, document: int) -> None:
    use(ctx, Llm(saying("超过七天", "须报教务处备案 [1]。", " 完。")))
    response, events = await events_of(api, {"question": QUESTION}, accept="application/json;q=0.5, text/event-stream")
    assert response.code == 200
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert [name for name, _ in events] == ["started", "delta", "delta", "citation", "delta", "delta", "done"]
    done = events[-1][1]
    assert "".join(data["text"] for name, data in events if name == "delta") == done["answer"] == "超过七天须报教务处备案 [1]。 完。"
    assert [data for name, data in events if name == "citation"] == done["citations"]
    assert events[0][1]["message_id"] == done["message_id"]
    stored = (await api.get(f"/api/conversations/{done['conversation_id']}")).result["messages"][1]
    assert (stored["text"], stored["state"], stored["mode"], stored["known"]) == (done["answer"], "complete", "llm", True)


@pytest.mark.gen_test(timeout=60)
async def test_a_model_that_breaks_off(api: Api, ctx: Context, found: Search) -> None:
    use(ctx, Llm(saying("超过七天须报教务处备案 [1]。然后", error=LlmBroken("connection closed"))))
    _, events = await events_of(api, {"question": QUESTION})
    done = events[-1][1]
    assert (done["state"], done["answer"]) == ("cut", "超过七天须报教务处备案 [1]。然后")
    assert "中断" in done["note"]
    stored = (await api.get(f"/api/conversations/{done['conversation_id']}")).result["messages"][1]
    assert (stored["text"], stored["state"]) == (done["answer"], "cut")


@pytest.mark.gen_test(timeout=60)
async def test_a_model_that_is_away_gives_way_to_quotations(api: Api, ctx: Context, found: Search) -> None:
    use(ctx, Llm(saying(error=EngineAway("llm", "HTTP 503"))))
    answered = (await api.post("/api/assistant/ask", {"question": QUESTION}, headers={"Accept-Language": "en"})).result
    assert (answered["mode"], answered["known"], answered["state"]) == ("extractive", True, "complete")
    assert "away" in answered["note"]


@pytest.mark.gen_test(timeout=60)
async def test_whoever_goes_away_ends_the_models_work(api: Api, ctx: Context, found: Search) -> None:
    never, began = asyncio.Event(), asyncio.Event()

    async def endless(_messages: Sequence[Message]) -> AsyncGenerator[str]:
        yield "超过七天须报教务处备案 [1]。第二"
        began.set()
        await never.wait()

    for accept in ("text/event-stream", "application/json"):
        llm = use(ctx, Llm(endless))
        began.clear()
        port = int(api.base_url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        body = msgspec.json.encode({"question": QUESTION})
        head = f"POST /api/assistant/ask HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {api.token}\r\nAccept: {accept}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await began.wait()
        writer.close()
        while not llm.closed:
            await asyncio.sleep(0.001)
        while (row := await newest_answer(ctx)).state == "streaming":
            await asyncio.sleep(0.001)
        assert (row.state, row.text) == ("left", "超过七天须报教务处备案 [1]。第二")


@pytest.mark.gen_test(timeout=60)
async def test_an_answer_that_is_coming_is_kept_now_and_then(
    api: Api, ctx: Context, found: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assistant, "CHECKPOINT_S", 0.0)
    go_on, waits = asyncio.Event(), asyncio.Event()

    async def slow(_messages: Sequence[Message]) -> AsyncGenerator[str]:
        yield "超过七天须报教务处备案 [1]。第二"
        waits.set()
        await go_on.wait()
        yield "句。"

    use(ctx, Llm(slow))
    asking = asyncio.ensure_future(api.post("/api/assistant/ask", {"question": QUESTION}))
    await waits.wait()
    [conversation] = (await api.get("/api/conversations")).result["items"]
    half = (await api.get(f"/api/conversations/{conversation['id']}")).result["messages"][1]
    assert (half["state"], half["text"], len(half["citations"])) == ("streaming", "超过七天须报教务处备案 [1]。第二", 1)
    go_on.set()
    assert (await asking).result["answer"] == "超过七天须报教务处备案 [1]。第二句。"


@pytest.mark.gen_test(timeout=60)
async def test_a_failure_in_the_middle_is_an_event(api: Api, ctx: Context, found: Search, caplog: pytest.LogCaptureFixture) -> None:
    use(ctx, Llm(saying("some words", error=RuntimeError("secret detail"))))
    response, events = await events_of(api, {"question": QUESTION})
    assert response.code == 200
    name, data = events[-1]
    assert (name, data["code"], data["error"]["type"]) == ("error", "5000", "internal")
    assert b"secret detail" not in response.body
    assert "secret detail" in caplog.text
    conversation = (await api.get(f"/api/conversations/{events[0][1]['conversation_id']}")).result
    assert conversation["messages"][1]["state"] == "cut"


@pytest.mark.gen_test(timeout=60)
async def test_a_question_that_leans_back(api: Api, ctx: Context, found: Search) -> None:
    first = (await api.post("/api/assistant/ask", {"question": QUESTION, "scope": {"document_ids": [7]}})).result
    asked = {"question": "那病假呢？", "conversation_id": first["conversation_id"]}
    await api.post("/api/assistant/ask", asked)
    assert found.asked[-1] == (f"{QUESTION} 那病假呢？", SearchScope(document_ids=[7]))

    async def answering(told: Sequence[Message]) -> AsyncGenerator[str]:
        yield "请病假需要什么证明？" if "Rewrite" in told[0].content else "病假须附诊断证明 [1]。"

    llm = use(ctx, Llm(answering))
    answered = (await api.post("/api/assistant/ask", asked)).result
    assert found.asked[-1][0] == "请病假需要什么证明？"
    assert answered["answer"] == "病假须附诊断证明 [1]。"
    assert [message.role for message in llm.asked[-1]] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert len((await api.get(f"/api/conversations/{first['conversation_id']}")).result["messages"]) == 6


@pytest.mark.gen_test(timeout=60)
async def test_a_model_too_slow_to_rephrase_is_not_waited_for(
    api: Api, ctx: Context, found: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await api.post("/api/assistant/ask", {"question": QUESTION})).result

    async def slow(told: Sequence[Message]) -> AsyncGenerator[str]:
        if "Rewrite" in told[0].content:
            await asyncio.Event().wait()
        yield "病假须附诊断证明 [1]。"

    monkeypatch.setattr(assistant, "STANDALONE_TIMEOUT_S", 0.02)
    llm = use(ctx, Llm(slow))
    await api.post("/api/assistant/ask", {"question": "那病假呢？", "conversation_id": first["conversation_id"]})
    assert found.asked[-1][0] == f"{QUESTION} 那病假呢？"
    assert llm.closed == 2


@pytest.mark.gen_test(timeout=60)
async def test_a_silent_stream_says_that_it_lives(api: Api, ctx: Context, found: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    beaten = asyncio.Event()

    async def waits(_messages: Sequence[Message]) -> AsyncGenerator[str]:
        yield "一、"
        await beaten.wait()
        yield "二"

    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.001)
    use(ctx, Llm(waits))
    came: list[bytes] = []

    def receive(chunk: bytes) -> None:
        came.append(chunk)
        if b": still here" in chunk:
            beaten.set()

    request = HTTPRequest(
        f"{api.base_url}/api/assistant/ask",
        method="POST",
        body=msgspec.json.encode({"question": QUESTION}),
        headers={"Authorization": f"Bearer {api.token}", "Accept": "text/event-stream"},
        streaming_callback=receive,
    )
    await api.client.fetch(request)
    assert b"event: done" in b"".join(came)


@pytest.fixture(scope="module")
def llmock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llmock]:
    with running_llmock(tmp_path_factory.mktemp("llmock")) as peer:
        yield peer


@pytest.mark.integration
@pytest.mark.gen_test(timeout=60)
async def test_with_a_real_chat_endpoint(api: Api, ctx: Context, found: Search, llmock: Llmock) -> None:
    use(ctx, HttpLlm(llmock.url, "gpt-4o", "key", Patience(backoff=0.01)))
    text = "超过七天须报教务处备案 [1]。超过九天须报校长 [1]。"
    llmock.scenario({"type": "fail", "status": 503, "times": 1}, {"type": "reply", "text": text})
    _, events = await events_of(api, {"question": QUESTION})
    assert events[-1][1]["answer"] == "超过七天须报教务处备案 [1]。超过九天须报校长。"
    llmock.scenario({"type": "reply", "text": text}, {"type": "stream_fault", "kind": "disconnect", "after_chunks": 1})
    answered = (await api.post("/api/assistant/ask", {"question": QUESTION})).result
    assert answered["state"] == "cut" or answered["mode"] == "extractive"
    llmock.scenario({"type": "fail", "status": 503, "times": None})
    answered = (await api.post("/api/assistant/ask", {"question": QUESTION})).result
    assert (answered["mode"], answered["known"]) == ("extractive", True)


# Refusals.


@pytest.mark.gen_test(timeout=60)
async def test_bad_input(api: Api, found: Search) -> None:
    for body, field in [
        ({}, "question"),
        ({"question": ""}, "question"),
        ({"question": "   \n"}, "question"),
        ({"question": "x" * 2001}, "question"),
        ({"question": 3}, "question"),
        ({"question": "q", "conversation_id": "1"}, "conversation_id"),
        ({"question": "q", "scope": {"tag": []}}, "scope.tag"),
        ({"question": "q", "more": 1}, "more"),
    ]:
        assert (await api.post("/api/assistant/ask", body)).fields == [field], body
        response, events = await events_of(api, body)
        assert (response.code, events) == (422, [])
        assert response.headers["Content-Type"].startswith("application/json")
    assert found.asked == []


@pytest.mark.gen_test(timeout=60)
async def test_errors_before_the_stream_are_plain_answers(api: Api, anonymous: Api, found: Search) -> None:
    response, events = await events_of(anonymous, {"question": "q"})
    assert (response.code, events) == (401, [])
    response, events = await events_of(api, {"question": "q", "conversation_id": "0" * 32})
    assert (response.code, msgspec.json.decode(response.body)["error"]["type"]) == (404, "conversation_not_found")
    found.error = EngineAway("vectors", "gone")
    response, events = await events_of(api, {"question": "q"})
    assert (response.code, events) == (503, [])
    assert (await api.get("/api/conversations")).result["total"] == 0


@pytest.mark.gen_test(timeout=60)
async def test_one_question_at_a_time(api: Api, ctx: Context, found: Search) -> None:
    first = (await api.post("/api/assistant/ask", {"question": QUESTION})).result
    again = {"question": "又一个完整的问题是关于请假备案的", "conversation_id": first["conversation_id"]}

    async def set_streaming(age: timedelta) -> None:
        created = ctx.clock.now() - age
        opened = messages.update().where(messages.c.id == first["message_id"]).values(state="streaming", created_at=created)
        await ctx.sql.write(lambda connection: connection.execute(opened))

    await set_streaming(timedelta())
    refused = await api.post("/api/assistant/ask", again)
    assert (refused.status, refused.type) == (409, "conversation_busy")
    await set_streaming(ABANDONED_AFTER + timedelta(seconds=1))
    shown = (await api.get(f"/api/conversations/{first['conversation_id']}")).result
    assert sorted(message["state"] for message in shown["messages"]) == ["complete", "lost"]
    assert (await api.post("/api/assistant/ask", again)).status == 200
