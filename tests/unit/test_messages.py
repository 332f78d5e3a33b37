"""The message catalogue: both languages, the same placeholders, and every key that the code uses."""

from __future__ import annotations

import ast
import importlib
import string

import pytest

from server.errors import DomainError
from server.messages import CATALOGUE, say, text
from server.messages.catalogue import PARTS
from tests.unit.house.source import SourceFile, files

FILES = files()
# Keys that are put together from a value, by what they begin with.
FAMILIES = (
    "error.",
    "document.",
    "organization.left.",
    "users.guide_",
    "state.",
    "why.",
    "schedule.closed.",
    "schedule.weekday.",
    "schedule.clock.",
    "solver.",
    "mail.run_failed.",
    "mail.account.",
    "hr.rule.",
    "hr.operation.",
    "hr.outcome.",
    "milestone.state.",
    "application.answer.",
    "application.gap.",
    "application.state.",
    "opening.state.",
    "project.state.",
    "project.action.",
    "project.who.",
    "project.only_",
    "project.role.",
    "project.guide.",
    "project.import.",
    "audit.state.",
    "audit.chain.",
    "score.conflict.",
    "score.round_state.",
    "score.review_state.",
)


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def all_errors(kind: type[DomainError] = DomainError) -> list[type[DomainError]]:
    return [kind, *(error for below in kind.__subclasses__() for error in all_errors(below))]


for file in FILES:
    if file.name not in ("server.__main__", "server.gunicorn_worker") and "migrations" not in file.path.parts:
        importlib.import_module(file.name)


@pytest.mark.parametrize("key", sorted(CATALOGUE))
def test_both_languages_say_the_same(key: str) -> None:
    chinese, english = CATALOGUE[key]
    assert placeholders(chinese) == placeholders(english)
    assert bool(chinese) == bool(english)
    assert sum(letter.isascii() for letter in english) >= 0.8 * len(english)
    if english and not placeholders(english):
        assert chinese != english


def test_no_key_is_in_two_parts() -> None:
    assert sum(len(part.MESSAGES) for part in PARTS) == len(CATALOGUE)


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_has_its_sentence(error: type[DomainError]) -> None:
    assert f"error.{error.type}" in CATALOGUE


def test_two_errors_never_share_a_type() -> None:
    types = [error.type for error in all_errors() if "type" in vars(error)]
    assert sorted(types) == sorted(set(types))


def used(file: SourceFile) -> list[tuple[str, ast.Call]]:
    """The literal keys in calls of text, say and Invalid.field, with the call."""
    found = []
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        position = {"text": 0, "say": 0, "field": 1}.get(name)
        if position is None or len(node.args) <= position:
            continue
        key = node.args[position]
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and "." in key.value:
            found.append((key.value, node))
    return found


@pytest.mark.parametrize("file", [file for file in FILES if used(file)], ids=str)
def test_every_key_in_the_code_exists_and_gets_its_parameters(file: SourceFile) -> None:
    for key, call in used(file):
        assert key in CATALOGUE, f"{file}:{call.lineno}: {key}"
        given = {keyword.arg for keyword in call.keywords}
        if None not in given:  # no ** among them
            missing = placeholders(CATALOGUE[key][1]) - {str(name) for name in given}
            assert not missing, f"{file}:{call.lineno}: {key} lacks {missing}"


def test_every_sentence_is_used() -> None:
    literals = {
        node.value
        for file in FILES
        if file.path.parts[:2] != ("server", "messages")
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    unused = [key for key in CATALOGUE if key not in literals and not key.startswith(FAMILIES)]
    assert unused == []


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(KeyError, match="no message"):
        text("no.such.key")


def test_a_sentence_within_a_sentence_is_in_the_same_language() -> None:
    inner = text("error.not_found")
    assert say("field.value", "zh", detail=inner).endswith(say("error.not_found", "zh"))
    assert say("field.value", "en", detail=inner).endswith("Not found.")
