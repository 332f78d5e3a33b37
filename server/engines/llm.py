"""The door to a language model: any OpenAI-compatible chat endpoint, or none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Literal, Protocol

import msgspec

from server.config import Settings
from server.errors import EngineAway

# Enough for an answer of several paragraphs in either language.
MOST_TOKENS = 1500


class Message(msgspec.Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    content: str


class LlmBroken(EngineAway):
    """The model broke off after some of its text had come; `cause` says how (`length` and `content_filter` are its own reasons)."""

    type = "llm_broken"

    def __init__(self, cause: str = "") -> None:
        super().__init__("llm", cause)


class LlmDoor(Protocol):
    @property
    def mode(self) -> Literal["embedded", "distributed"]: ...

    @property
    def available(self) -> bool:
        """Whether a model is set; it may still be away."""

    def stream(self, messages: Sequence[Message], *, temperature: float = 0.2, max_tokens: int = MOST_TOKENS) -> AsyncGenerator[str]:
        """The answer in pieces of text, as they come; closing the generator closes the connection.

        Raises EngineAway when nothing came at all, LlmBroken when the answer broke off. No error holds a secret.
        """

    async def ping(self) -> None:
        """Whether the endpoint answers; costs no tokens."""

    async def close(self) -> None: ...


def open_llm(settings: Settings) -> LlmDoor:
    """The door that the settings ask for: LLM_URL with LLM_MODEL and ARK_API_KEY, or none."""
    if settings.llm_url:
        from server.engines.llm_http import HttpLlm

        return HttpLlm(settings.llm_url, settings.llm_model, settings.ark_api_key)
    return NoLlm()


class NoLlm:
    """No model is set."""

    mode: Literal["embedded", "distributed"] = "embedded"
    available = False

    async def stream(self, messages: Sequence[Message], *, temperature: float = 0.2, max_tokens: int = MOST_TOKENS) -> AsyncGenerator[str]:
        for message in messages[:0]:
            yield message.content
        raise EngineAway("llm", "LLM_URL is not set")

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        return
