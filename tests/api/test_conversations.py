"""Conversations with the assistant: listed, changed, rated, and nobody else's business."""

from __future__ import annotations

import pytest

from server.context import Context
from server.knowledge.tables import documents
from tests.api.assistant_stand_ins import QUESTION, Search, document, found
from tests.api.client import Api
from tests.api.test_access import user

__all__ = ["document", "found"]


@pytest.mark.gen_test(timeout=60)
async def test_conversations_are_listed_renamed_rated_and_deleted(api: Api, found: Search) -> None:
    made = [(await api.post("/api/assistant/ask", {"question": f"{QUESTION} {n}"})).result for n in range(3)]
    page = (await api.get("/api/conversations?page_size=2")).result
    assert (page["total"], [one["id"] for one in page["items"]]) == (3, [made[2]["conversation_id"], made[1]["conversation_id"]])
    where = f"/api/conversations/{made[0]['conversation_id']}"
    assert (await api.patch(where, {"title": " 请假 "})).result["title"] == "请假"
    assert (await api.patch(where, {"title": " "})).fields == ["title"]
    assert [one["title"] for one in (await api.get("/api/conversations?q=请假&sort=title&page_size=1")).result["items"]] == ["请假"]

    feedback = f"{where}/messages/{made[0]['message_id']}/feedback"
    rated = (await api.post(feedback, {"value": -1, "comment": "答非所问"})).result
    assert (rated["feedback"], rated["feedback_comment"]) == (-1, "答非所问")
    assert (await api.post(feedback, {"value": 0})).result["feedback"] is None
    assert (await api.post(feedback, {"value": 2})).fields == ["value"]
    question = (await api.get(where)).result["messages"][0]["id"]
    assert (await api.post(f"{where}/messages/{question}/feedback", {"value": 1})).type == "message_not_found"
    elsewhere = f"{where}/messages/{made[1]['message_id']}/feedback"
    assert (await api.post(elsewhere, {"value": 1})).type == "message_not_found"

    assert (await api.delete(where)).status == 200
    assert (await api.get(where)).type == "conversation_not_found"
    assert (await api.get("/api/conversations")).result["total"] == 2


@pytest.mark.gen_test(timeout=60)
async def test_nobody_elses_conversation(api: Api, anonymous: Api, ctx: Context, found: Search) -> None:
    made = (await api.post("/api/assistant/ask", {"question": QUESTION})).result
    other = await user(ctx, anonymous, "student", "student")
    where = f"/api/conversations/{made['conversation_id']}"
    for answer in (
        await other.get(where),
        await other.patch(where, {"title": "mine"}),
        await other.delete(where),
        await other.post(f"{where}/messages/{made['message_id']}/feedback", {"value": 1}),
        await other.post("/api/assistant/ask", {"question": QUESTION, "conversation_id": made["conversation_id"]}),
    ):
        assert (answer.status, answer.type) == (404, "conversation_not_found")
    assert (await other.get("/api/conversations")).result["total"] == 0
    assert (await api.get(where)).result["title"] == QUESTION


@pytest.mark.gen_test(timeout=60)
async def test_a_document_that_is_hidden_later(api: Api, anonymous: Api, ctx: Context, found: Search, document: int) -> None:
    student = await user(ctx, anonymous, "student", "student")
    made = (await student.post("/api/assistant/ask", {"question": QUESTION})).result
    where = f"/api/conversations/{made['conversation_id']}"
    assert (await student.get(where)).result["messages"][1]["citations"][0]["visible"]
    hidden = documents.update().where(documents.c.id == document).values(visibility="private")
    await ctx.sql.write(lambda connection: connection.execute(hidden))
    answer = (await student.get(where)).result["messages"][1]
    [citation] = answer["citations"]
    assert (citation["visible"], citation["title"], citation["quote"], citation["document_id"]) == (False, "", "", document)
    assert "教务处" not in answer["text"]
