"""The messages of a conversation: written when asked, moved on as the answer comes; the only place that changes their states."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.errors import Conflict, Forbidden, NotFound
from server.ids import new_id
from server.knowledge.assistant_schemas import Ask, Citation
from server.knowledge.prompts import MOST_TURNS, Turn
from server.knowledge.tables import conversations, messages

LONGEST_TITLE = 80
# An answer that is still "streaming" after this died with its process: the model's own limit is five minutes.
ABANDONED_AFTER = timedelta(minutes=10)


class MessageState(StrEnum):
    STREAMING = "streaming"  # still being answered; shown as `lost` when its process is gone
    COMPLETE = "complete"
    CUT = "cut"  # the model broke off
    LEFT = "left"  # whoever asked went away
    LOST = "lost"  # the server stopped meanwhile; never stored


class ConversationNotFound(NotFound):
    type = "conversation_not_found"


class MessageNotFound(NotFound):
    type = "message_not_found"


class ConversationBusy(Conflict):
    """The question before is still being answered."""

    type = "conversation_busy"


class PersonNeeded(Forbidden):
    """Conversations belong to people."""

    type = "person_needed"


class Begun(msgspec.Struct, frozen=True):
    """A question and its answer to be."""

    conversation_id: str
    question_id: str
    message_id: str


class Answered(msgspec.Struct, frozen=True):
    """What becomes of an answer."""

    text: str
    mode: str
    citations: Sequence[Citation]
    state: MessageState


def owner(actor: Actor) -> int:
    """The person whose conversations they are. Raises PersonNeeded."""
    if actor.user_id is None:
        raise PersonNeeded(scope="assistant:use")
    return actor.user_id


def access_conversation(connection: sa.Connection, actor: Actor, conversation_id: str) -> Any:
    """The row of one's own conversation. Raises ConversationNotFound, PersonNeeded."""
    mine = sa.select(conversations).where(conversations.c.id == conversation_id, conversations.c.user_id == owner(actor))
    row = connection.execute(mine).one_or_none()
    if row is None:
        raise ConversationNotFound()
    return row


def state_of(row: Any, now: datetime) -> MessageState:
    """The state of a message as it is shown."""
    state = MessageState(row.state)
    if state is MessageState.STREAMING and now - row.created_at > ABANDONED_AFTER:
        return MessageState.LOST
    return state


def read_turns(connection: sa.Connection, conversation_id: str) -> list[Turn]:
    """The last messages that say something, oldest first."""
    last = (
        sa.select(messages.c.role, messages.c.text)
        .where(messages.c.conversation_id == conversation_id, messages.c.state != MessageState.STREAMING.value)
        .order_by(messages.c.created_at.desc(), messages.c.id.desc())
        .limit(MOST_TURNS)
    )
    return [Turn(row.role, row.text) for row in reversed(connection.execute(last).all()) if row.text]


def begin(connection: sa.Connection, actor: Actor, asked: Ask, scope: dict[str, Any], mode: str, now: datetime) -> Begun:
    """Write the question, and its answer as still to come. Raises ConversationNotFound, ConversationBusy."""
    if asked.conversation_id is None:
        conversation_id = new_id()
        title = " ".join(asked.question.split())[:LONGEST_TITLE]
        row = {"id": conversation_id, "user_id": owner(actor), "title": title, "scope": scope, "created_at": now, "updated_at": now}
        connection.execute(conversations.insert().values(**row))
    else:
        conversation_id = access_conversation(connection, actor, asked.conversation_id).id
        _check_free(connection, conversation_id, now)
        kept = conversations.update().where(conversations.c.id == conversation_id)
        connection.execute(kept.values(scope=scope, updated_at=now))
    done = MessageState.COMPLETE.value
    question = {"id": new_id(), "role": "person", "text": asked.question, "mode": None, "state": done, "created_at": now}
    # A microsecond later, so that the order of time is the order of the conversation.
    later = now + timedelta(microseconds=1)
    answer = {"id": new_id(), "role": "assistant", "text": "", "mode": mode, "state": MessageState.STREAMING.value, "created_at": later}
    for message in (question, answer):
        connection.execute(messages.insert().values(conversation_id=conversation_id, citations=[], **message))
    return Begun(conversation_id, str(question["id"]), str(answer["id"]))


def _check_free(connection: sa.Connection, conversation_id: str, now: datetime) -> None:
    open_ones = sa.select(messages).where(messages.c.conversation_id == conversation_id, messages.c.state == MessageState.STREAMING.value)
    for row in connection.execute(open_ones):
        if state_of(row, now) is MessageState.STREAMING:
            raise ConversationBusy()


def keep(connection: sa.Connection, message_id: str, answered: Answered) -> bool:
    """Write how an answer stands or ended; False when it has ended already or was deleted."""
    going = messages.update().where(messages.c.id == message_id, messages.c.state == MessageState.STREAMING.value)
    values = {
        "text": answered.text,
        "mode": answered.mode,
        "citations": msgspec.to_builtins(list(answered.citations)),
        "state": answered.state.value,
    }
    return connection.execute(going.values(values)).rowcount == 1
