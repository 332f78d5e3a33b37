"""Conversations on each SQL database: the same order, the same times, the same answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from server.actor import Actor, ActorKind, Grant
from server.clock import HeldClock
from server.context import Context, Services
from server.engines.schema import metadata
from server.engines.sql import SqlDoor
from server.knowledge import conversation_messages as kept
from server.knowledge import conversations
from server.knowledge.access import Ways
from server.knowledge.assistant_schemas import Ask, Citation
from server.knowledge.conversation_messages import Answered, Begun, ConversationBusy, ConversationNotFound, MessageState
from server.knowledge.conversation_schemas import ConversationChange, ConversationQuery, Feedback
from server.knowledge.prompts import Turn

SCOPES = frozenset({"assistant:use", "documents:read"})
MINE = Actor(kind=ActorKind.PERSON, name="王芳", user_id=7, grants=(Grant(SCOPES),))
OTHER = Actor(kind=ActorKind.PERSON, name="other", user_id=8, grants=(Grant(SCOPES),))
CITATION = Citation(n=1, document_id=5, title="手册😀", page=3, chunk_id="c", quote="引用")


@pytest.mark.gen_test(timeout=60)
async def test_a_conversation_from_its_beginning_to_its_end(sql: SqlDoor) -> None:
    await sql.write(metadata.create_all)
    clock = HeldClock()
    services = Services()
    services.add(Ways())
    ctx = cast("Context", SimpleNamespace(sql=sql, clock=clock, services=services))

    async def begin(question: str, conversation_id: str | None = None) -> Begun:
        asked, now = Ask(question=question, conversation_id=conversation_id), clock.now()
        return await sql.write(lambda connection: kept.begin(connection, MINE, asked, {"tags": ["甲"]}, "llm", now))

    async def keep(begun: Begun, text: str, state: MessageState) -> bool:
        answered = Answered(text, "llm", [CITATION], state)
        return await sql.write(lambda connection: kept.keep(connection, begun.message_id, answered))

    first = await begin("第一个问题😀")
    with pytest.raises(ConversationBusy):
        await begin("again", first.conversation_id)
    assert await keep(first, "半个", MessageState.STREAMING)
    assert await keep(first, "一个答案", MessageState.COMPLETE)
    assert not await keep(first, "too late", MessageState.CUT)
    clock.advance(seconds=1)
    second = await begin("第二个问题", first.conversation_id)
    turns = await sql.read(lambda connection: kept.read_turns(connection, first.conversation_id))
    assert turns == [Turn("person", "第一个问题😀"), Turn("assistant", "一个答案"), Turn("person", "第二个问题")]

    shown = await conversations.get_conversation(ctx, MINE, first.conversation_id)
    assert [message.id for message in shown.messages] == [first.question_id, first.message_id, second.question_id, second.message_id]
    assert (shown.title, shown.scope.tags) == ("第一个问题😀", ["甲"])
    assert (shown.messages[1].citations[0].visible, shown.messages[3].state) == (False, "streaming")
    clock.advance(minutes=11)
    shown = await conversations.get_conversation(ctx, MINE, first.conversation_id)
    assert shown.messages[3].state == "lost"

    for value, stored in ((1, 1), (1, 1), (0, None)):
        feedback = Feedback(value=cast("Any", value), comment="好")
        rated = await conversations.rate(ctx, MINE, first.conversation_id, first.message_id, feedback)
        assert (rated.feedback, rated.feedback_comment) == (stored, "好" if stored else None)
    same = ConversationChange(title="第一个问题😀")
    assert (await conversations.rename(ctx, MINE, first.conversation_id, same)).title == same.title
    assert (await conversations.list_conversations(ctx, MINE, ConversationQuery(q="问题"))).total == 1
    assert (await conversations.list_conversations(ctx, OTHER, ConversationQuery())).total == 0
    with pytest.raises(ConversationNotFound):
        await conversations.delete(ctx, OTHER, first.conversation_id)
    await conversations.delete(ctx, MINE, first.conversation_id)
    with pytest.raises(ConversationNotFound):
        await conversations.get_conversation(ctx, MINE, first.conversation_id)
