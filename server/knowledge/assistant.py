"""The assistant: finds passages, has them put into an answer, checks every reference, keeps the conversation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.engines.llm import LlmBroken
from server.errors import EngineAway
from server.knowledge import conversation_messages as kept
from server.knowledge import search
from server.knowledge.assistant_judging import Judging
from server.knowledge.assistant_quotes import about, language_for, quoted_answer
from server.knowledge.assistant_schemas import Ask, AskAnswer, Citation, Delta, Done, Event, Mode, Started
from server.knowledge.assistant_stream import CheckedText
from server.knowledge.citations import Passage
from server.knowledge.conversation_messages import Answered, Begun, MessageState
from server.knowledge.prompts import STANDALONE_TOKENS, Turn, answer_prompt, fitting, joined_question, standalone_prompt
from server.knowledge.search_schemas import LONGEST_QUERY, SearchScope
from server.messages import say

log = logging.getLogger(__name__)

# Passages that are looked at for one answer.
MOST_PASSAGES = 8
# How long a model may take to put a question so that it stands alone; after that it is searched for as it is.
STANDALONE_TIMEOUT_S = 8.0
# How often an answer that is still coming is written down, in seconds.
CHECKPOINT_S = 2.0


async def answer(ctx: Context, actor: Actor, asked: Ask) -> AskAnswer:
    """The whole answer at once. Raises like `ask`."""
    done: AskAnswer | None = None
    async with aclosing(ask(ctx, actor, asked)) as events:
        async for event in events:
            if isinstance(event, Done):
                done = event
    assert done is not None
    return done


async def ask(ctx: Context, actor: Actor, asked: Ask) -> AsyncGenerator[Event]:
    """The answer as events: Started, then Delta and Citation, then Done. All deltas together are the answer that is kept.

    Raises, before the first event, ConversationNotFound, ConversationBusy, PersonNeeded, EngineAway. Closing the generator ends the
    model's work; what came is kept as `left`.
    """
    turns, scope = await ctx.sql.read(lambda connection: _look(connection, actor, asked))
    wanted = await _standalone(ctx, asked.question, turns)
    found = await search.find_passages(ctx, actor, wanted[:LONGEST_QUERY], scope, MOST_PASSAGES)
    passages = fitting(about(wanted, found))
    mode: Mode = "llm" if ctx.llm.available and passages else "extractive"
    now = ctx.clock.now()
    begun = await ctx.sql.write(lambda connection: kept.begin(connection, actor, asked, msgspec.to_builtins(scope), mode, now))
    writing = _Writing(ctx, begun, mode, CheckedText(passages, Judging(ctx, passages)))
    try:
        yield Started(conversation_id=begun.conversation_id, question_id=begun.question_id, message_id=begun.message_id)
        if writing.mode == "llm":
            async with aclosing(_written(ctx, asked.question, passages, turns, writing)) as ready:
                async for event in ready:
                    yield event
        if writing.mode == "extractive":
            for event in _quoted(wanted, language_for(asked.question), passages, writing):
                yield event
        writing.state = MessageState.CUT if writing.note == "assistant.cut" else MessageState.COMPLETE
    except (asyncio.CancelledError, GeneratorExit):
        writing.state = MessageState.LEFT
        raise
    finally:
        await writing.keep()
    yield writing.done(actor)


class _Writing:
    """An answer that is coming. Until its end is known it counts as cut."""

    def __init__(self, ctx: Context, begun: Begun, mode: Mode, checked: CheckedText) -> None:
        self.mode = mode
        self.note: str | None = None
        self.state = MessageState.CUT
        self.checked = checked
        self._ctx = ctx
        self._begun = begun
        self._kept_at = ctx.clock.monotonic()

    async def keep(self, *, going: bool = False) -> None:
        """Write it down as it stands. A database that is away costs the answer its place in the conversation, not the caller the answer."""
        state = MessageState.STREAMING if going else self.state
        citations = [msgspec.structs.replace(citation) for citation in self.checked.citations]  # their quotes may grow while it is written
        answered = Answered(self.checked.text, self.mode, citations, state)
        try:
            await self._ctx.sql.write(lambda connection: kept.keep(connection, self._begun.message_id, answered))
        except EngineAway as away:
            log.warning("an answer could not be kept: %s", away)

    async def checkpoint(self) -> None:
        """Write it down now and then, so that a crash loses little."""
        if self._ctx.clock.monotonic() - self._kept_at >= CHECKPOINT_S:
            self._kept_at = self._ctx.clock.monotonic()
            await self.keep(going=True)

    def done(self, actor: Actor) -> Done:
        return Done(
            answer=self.checked.text,
            citations=list(self.checked.citations),
            mode=self.mode,
            known=bool(self.checked.citations),
            conversation_id=self._begun.conversation_id,
            message_id=self._begun.message_id,
            state=self.state.value,
            note=say(self.note, actor.locale) if self.note else None,
        )


async def _written(
    ctx: Context, question: str, passages: Sequence[Passage], turns: Sequence[Turn], writing: _Writing
) -> AsyncGenerator[Delta | Citation]:
    """What the model writes. When it is away from the start the writing turns to quotations, when it breaks off it ends there."""
    try:
        async with aclosing(ctx.llm.stream(answer_prompt(question, passages, turns))) as pieces:
            async for piece in pieces:
                async for ready in writing.checked.feed(piece):
                    yield ready
                await writing.checkpoint()
    except LlmBroken as broken:
        log.warning("the language model broke off: %s", broken.cause)
        writing.note = "assistant.cut"
    except EngineAway as away:
        log.warning("the language model is away, passages are quoted: %s", away.cause)
        writing.mode, writing.note = "extractive", "assistant.model_away"
        return
    async for ready in writing.checked.end():
        yield ready


def _quoted(question: str, language: str, passages: Sequence[Passage], writing: _Writing) -> list[Delta | Citation]:
    """An answer of quotations, or that there is none."""
    text, citations = quoted_answer(question, passages, language)
    writing.checked.text, writing.checked.citations = text, citations
    return [*citations, Delta(text)]


def _look(connection: sa.Connection, actor: Actor, asked: Ask) -> tuple[list[Turn], SearchScope]:
    """The conversation so far, and where to search."""
    kept.owner(actor)
    if asked.conversation_id is None:
        return [], asked.scope or SearchScope()
    row = kept.access_conversation(connection, actor, asked.conversation_id)
    return kept.read_turns(connection, row.id), asked.scope or msgspec.convert(row.scope, SearchScope)


async def _standalone(ctx: Context, question: str, turns: Sequence[Turn]) -> str:
    """The question as it would be put without the conversation."""
    if not turns:
        return question
    if not ctx.llm.available:
        return joined_question(question, turns)
    put = ""
    try:
        async with asyncio.timeout(STANDALONE_TIMEOUT_S):
            async with aclosing(
                ctx.llm.stream(standalone_prompt(question, turns), temperature=0.0, max_tokens=STANDALONE_TOKENS)
            ) as pieces:
                async for piece in pieces:
                    put += piece
    except (EngineAway, TimeoutError) as error:
        log.info("a question is searched for as it is: %s", type(error).__name__)
        return joined_question(question, turns)
    return " ".join(put.split())[:LONGEST_QUERY] or joined_question(question, turns)
