"""Looks a sentence up by key and language, and fills it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from server.messages import (
    accounts,
    assistant,
    audit,
    audits,
    cas,
    dashboard,
    dispatch,
    embedding,
    engines,
    evaluation,
    general,
    hr,
    hr_why,
    knowledge,
    notifications,
    organizations,
    people,
    planning,
    projects,
    results,
    schedules,
    scim,
    scores,
    sign_in,
    student_projects,
    tags,
    users,
    view_as,
)

Locale = Literal["zh", "en"]

PARTS = (
    general,
    people,
    dispatch,
    engines,
    planning,
    knowledge,
    assistant,
    evaluation,
    tags,
    embedding,
    audit,
    cas,
    organizations,
    sign_in,
    users,
    hr,
    hr_why,
    accounts,
    scim,
    notifications,
    view_as,
    schedules,
    projects,
    student_projects,
    audits,
    scores,
    results,
    dashboard,
)
# key -> (Chinese, English)
CATALOGUE: dict[str, tuple[str, str]] = {key: sentences for part in PARTS for key, sentences in part.MESSAGES.items()}


class Text(msgspec.Struct, frozen=True):
    """A sentence that has not yet been put into a language."""

    key: str
    params: dict[str, Any] = {}

    def say(self, locale: Locale) -> str:
        return say(self.key, locale, **self.params)

    def english(self) -> str:
        return self.say("en")


def text(key: str, /, **params: Any) -> Text:
    """A sentence by its key; KeyError when the catalogue does not have it."""
    if key not in CATALOGUE:
        raise KeyError(f"no message {key!r} in the catalogue")
    return Text(key, params)


def say(key: str, locale: Locale, /, **params: Any) -> str:
    """The sentence `key` in the given language with its parameters filled in; a Text among them is said in the same language."""
    filled = {name: value.say(locale) if isinstance(value, Text) else value for name, value in params.items()}
    return CATALOGUE[key][0 if locale == "zh" else 1].format(**filled)
