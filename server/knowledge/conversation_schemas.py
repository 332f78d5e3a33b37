"""Conversations with the assistant as their owners see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from server.knowledge.assistant_schemas import Citation
from server.knowledge.search_schemas import SearchScope
from server.paging import PageQuery


class ConversationQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`q` looks into titles."""


class ConversationSummary(msgspec.Struct, kw_only=True):
    id: str
    title: str
    created_at: datetime
    updated_at: datetime


class ConversationMessage(msgspec.Struct, kw_only=True):
    """A question (`role` person) or an answer (assistant). `state`: complete, streaming, or broken off by the model (cut), by the caller
    (left), by a restart (lost). `known` says whether an answer rests on a checked citation."""

    id: str
    role: Literal["person", "assistant"]
    text: str
    state: str
    mode: str | None
    known: bool | None
    citations: list[Citation]
    feedback: int | None
    feedback_comment: str | None
    created_at: datetime


class Conversation(ConversationSummary, kw_only=True):
    """A conversation with all of its messages, oldest first, and where its questions are searched for."""

    scope: SearchScope
    messages: list[ConversationMessage]


class ConversationChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=300, pattern=r"\S")]


class Feedback(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """1: it helped, -1: it did not, 0: takes it back."""

    value: Literal[1, -1, 0]
    comment: Annotated[str, msgspec.Meta(max_length=1000)] = ""
