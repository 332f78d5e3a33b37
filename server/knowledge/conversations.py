"""Conversations of the caller: listed, read, renamed, deleted, and their answers rated."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.knowledge.access import visible_ids
from server.knowledge.assistant_schemas import Citation
from server.knowledge.conversation_messages import MessageNotFound, access_conversation, owner, state_of
from server.knowledge.conversation_schemas import (
    Conversation,
    ConversationChange,
    ConversationMessage,
    ConversationQuery,
    ConversationSummary,
    Feedback,
)
from server.knowledge.search_schemas import SearchScope
from server.knowledge.tables import conversations, messages
from server.paging import Page, page_of


def _summary(row: Any) -> ConversationSummary:
    return ConversationSummary(id=row.id, title=row.title, created_at=row.created_at, updated_at=row.updated_at)


async def list_conversations(ctx: Context, actor: Actor, query: ConversationQuery) -> Page[ConversationSummary]:
    """The caller's conversations, those that were used last first."""
    wanted = sa.select(conversations).where(conversations.c.user_id == owner(actor))
    sortable = {"updated_at": conversations.c.updated_at, "created_at": conversations.c.created_at, "title": conversations.c.title}

    def transaction(connection: sa.Connection) -> Page[ConversationSummary]:
        return page_of(connection, wanted, query, _summary, sortable=sortable, searched=(conversations.c.title,), order="-updated_at")

    return await ctx.sql.read(transaction)


async def get_conversation(ctx: Context, actor: Actor, conversation_id: str) -> Conversation:
    """A conversation with its messages; citations of documents that the caller may no longer see have lost title and quote.

    Raises ConversationNotFound.
    """
    now = ctx.clock.now()
    return await ctx.sql.read(lambda connection: _read(ctx, connection, actor, conversation_id, now))


def _read(ctx: Context, connection: sa.Connection, actor: Actor, conversation_id: str, now: datetime) -> Conversation:
    row = access_conversation(connection, actor, conversation_id)
    wanted = sa.select(messages).where(messages.c.conversation_id == row.id).order_by(messages.c.created_at, messages.c.id)
    found = connection.execute(wanted).all()
    cited = {citation["document_id"] for message in found for citation in message.citations}
    seen = visible_ids(ctx, connection, actor, cited)
    return Conversation(
        id=row.id,
        title=row.title,
        created_at=row.created_at,
        updated_at=row.updated_at,
        scope=msgspec.convert(row.scope, SearchScope),
        messages=[_message(message, seen, now) for message in found],
    )


def _message(row: Any, seen: Collection[int], now: datetime) -> ConversationMessage:
    answers = row.role == "assistant"
    text = row.text
    for citation in row.citations:
        if citation["document_id"] not in seen:
            for line in citation["quote"].split("\n"):  # an answer of quotations must not go on telling what is hidden now
                text = text.replace(line, "…") if line else text
    return ConversationMessage(
        id=row.id,
        role=row.role,
        text=text,
        state=state_of(row, now).value,
        mode=row.mode,
        known=bool(row.citations) if answers else None,
        citations=[_citation(citation, seen) for citation in row.citations],
        feedback=row.feedback,
        feedback_comment=row.feedback_comment,
        created_at=row.created_at,
    )


def _citation(stored: dict[str, Any], seen: Collection[int]) -> Citation:
    citation = msgspec.convert(stored, Citation)
    if citation.document_id in seen:
        return citation
    return msgspec.structs.replace(citation, title="", quote="", visible=False)


async def rename(ctx: Context, actor: Actor, conversation_id: str, change: ConversationChange) -> ConversationSummary:
    """Give a conversation another title. Raises ConversationNotFound."""

    def transaction(connection: sa.Connection) -> ConversationSummary:
        access_conversation(connection, actor, conversation_id)
        renamed = conversations.update().where(conversations.c.id == conversation_id)
        connection.execute(renamed.values(title=change.title.strip()))
        return _summary(access_conversation(connection, actor, conversation_id))

    return await ctx.sql.write(transaction)


async def delete(ctx: Context, actor: Actor, conversation_id: str) -> None:
    """Remove a conversation and its messages; an answer that is still coming finds no place to be kept. Raises ConversationNotFound."""

    def transaction(connection: sa.Connection) -> None:
        access_conversation(connection, actor, conversation_id)
        connection.execute(messages.delete().where(messages.c.conversation_id == conversation_id))
        connection.execute(conversations.delete().where(conversations.c.id == conversation_id))

    await ctx.sql.write(transaction)


async def rate(ctx: Context, actor: Actor, conversation_id: str, message_id: str, feedback: Feedback) -> ConversationMessage:
    """What the caller thinks of an answer. Raises ConversationNotFound; MessageNotFound, also for a question of their own."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> ConversationMessage:
        access_conversation(connection, actor, conversation_id)
        its = sa.and_(messages.c.id == message_id, messages.c.conversation_id == conversation_id, messages.c.role == "assistant")
        if connection.execute(sa.select(messages.c.id).where(its)).one_or_none() is None:
            raise MessageNotFound()
        # Whether a row was matched or changed: MySQL counts the latter, so it is not asked.
        values = {"feedback": feedback.value or None, "feedback_comment": feedback.comment.strip() or None if feedback.value else None}
        connection.execute(messages.update().where(its).values(values))
        row = connection.execute(sa.select(messages).where(its)).one()
        return _message(row, visible_ids(ctx, connection, actor, {citation["document_id"] for citation in row.citations}), now)

    return await ctx.sql.write(transaction)
