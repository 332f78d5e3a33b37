"""/api/conversations: the caller's conversations with the assistant."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.knowledge import conversations
from server.knowledge.conversation_schemas import (
    Conversation,
    ConversationChange,
    ConversationMessage,
    ConversationQuery,
    ConversationSummary,
    Feedback,
)
from server.paging import Page

ID = r"(?P<conversation_id>[0-9a-f]{32})"
MESSAGE = r"(?P<message_id>[0-9a-f]{32})"


class ConversationsHandler(ApiHandler):
    @operation("assistant:use", "The caller's conversations, those that were used last first.")
    async def get(self, query: ConversationQuery) -> Page[ConversationSummary]:
        return await conversations.list_conversations(self.ctx, self.actor, query)


class ConversationHandler(ApiHandler):
    @operation("assistant:use", "A conversation with its messages and their citations.")
    async def get(self, conversation_id: str) -> Conversation:
        return await conversations.get_conversation(self.ctx, self.actor, conversation_id)

    @operation("assistant:use", "Give a conversation another title.")
    async def patch(self, conversation_id: str, body: ConversationChange) -> ConversationSummary:
        return await conversations.rename(self.ctx, self.actor, conversation_id, body)

    @operation("assistant:use", "Remove a conversation.")
    async def delete(self, conversation_id: str) -> None:
        await conversations.delete(self.ctx, self.actor, conversation_id)


class FeedbackHandler(ApiHandler):
    @operation("assistant:use", "Say whether an answer helped: 1, -1, or 0 to take it back.")
    async def post(self, conversation_id: str, message_id: str, body: Feedback) -> ConversationMessage:
        return await conversations.rate(self.ctx, self.actor, conversation_id, message_id, body)


routes = [
    (r"/api/conversations", ConversationsHandler),
    (rf"/api/conversations/{ID}", ConversationHandler),
    (rf"/api/conversations/{ID}/messages/{MESSAGE}/feedback", FeedbackHandler),
]
