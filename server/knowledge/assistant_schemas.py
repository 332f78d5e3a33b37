"""What the assistant is asked, and what it answers: in one piece, or as events."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from server.knowledge.search_schemas import SearchScope

LONGEST_QUESTION = 2000
Mode = Literal["llm", "extractive"]


class Ask(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A question. Without `conversation_id` a conversation begins; without `scope` the conversation's own goes on holding."""

    question: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_QUESTION, pattern=r"\S")]
    conversation_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")] | None = None
    scope: SearchScope | None = None


class Citation(msgspec.Struct, kw_only=True):
    """A passage that was checked to support the answer where [n] stands. `quote` is verbatim, one line for each place that supports it.

    A document that the caller may no longer see has `visible` false, and neither title nor quote.
    """

    n: int
    document_id: int
    title: str
    page: int
    chunk_id: str
    quote: str
    visible: bool = True


class Started(msgspec.Struct, kw_only=True):
    """The first event: under which ids the question and its answer are kept."""

    conversation_id: str
    question_id: str
    message_id: str


class Delta(msgspec.Struct):
    """The next piece of the answer. All pieces together are the answer."""

    text: str


class AskAnswer(msgspec.Struct, kw_only=True):
    """The answer as it is kept. `known` says whether it rests on a checked citation; `note` is a sentence about how it came to be.

    `state` is complete, or cut (the model broke off), left (the caller went away).
    """

    answer: str
    citations: list[Citation]
    mode: Mode
    known: bool
    conversation_id: str
    message_id: str
    state: str
    note: str | None = None


class Done(AskAnswer, kw_only=True):
    """The last event."""


Event = Started | Delta | Citation | Done
