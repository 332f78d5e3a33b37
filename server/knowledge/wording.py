"""Sentences that are stored, to be said later in the language of whoever reads them."""

from __future__ import annotations

from typing import Any

from server.messages import CATALOGUE, Locale, Text, text

# How much of another program's words is kept in a sentence.
LONGEST_DETAIL = 300


def stored(sentence: Text) -> dict[str, Any]:
    """A sentence as a JSON value; its parameters are cut to what a person reads."""
    return {"key": sentence.key, "params": {name: _stored_value(value) for name, value in sentence.params.items()}}


def _stored_value(value: Any) -> Any:
    if isinstance(value, Text):
        return stored(value)
    return value if isinstance(value, int | float) else str(value)[:LONGEST_DETAIL]


def sentence(value: dict[str, Any] | None, locale: Locale) -> str | None:
    """A stored sentence in a language."""
    return None if value is None else _restored(value).say(locale)


def _restored(value: dict[str, Any]) -> Text:
    """The sentence again; one that this version no longer knows stands for all that is unknown."""
    if value["key"] not in CATALOGUE:
        return text("error.internal")
    params = {name: _restored(inner) if isinstance(inner, dict) else inner for name, inner in value["params"].items()}
    return text(value["key"], **params)
