"""From errors to statuses, and from the decoder's words to named fields in both languages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from tornado.web import HTTPError

from handlers.answering import in_our_words, locale_for
from handlers.errors import STATUSES, Draining, OriginNotAllowed, fields_of, status_of
from handlers.nesting import DEEPEST, is_too_deep
from server.errors import Conflict, DomainError, EngineAway, Invalid, NotFound, TooMany
from tests.unit.test_messages import all_errors


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: Annotated[int, msgspec.Meta(ge=1, le=9)]
    kind: Literal["a", "b"] = "a"


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=5)]
    inner: list[Inner] = []


@pytest.mark.parametrize(
    ("body", "field", "english"),
    [
        ({}, "name", "Required."),
        ({"name": 5}, "name", "Expected str, got int."),
        ({"name": ""}, "name", "Must not be empty."),
        ({"name": "abcdef"}, "name", "Too long: the limit is 5 characters."),
        ({"name": "a", "colour": 1}, "colour", "There is no such field."),
        ({"name": "a", "inner": [{"size": 1}, {"size": 10}]}, "inner[1].size", None),
        ({"name": "a", "inner": [{}]}, "inner[0].size", "Required."),
        ({"name": "a", "inner": [{"size": 1, "x": 1}]}, "inner[0].x", "There is no such field."),
        ({"name": "a", "inner": [{"size": 1, "kind": "c"}]}, "inner[0].kind", None),
        ([], "body", "Expected object, got array."),
    ],
    ids=str,
)
def test_the_wrong_field_is_named(body: Any, field: str, english: str | None) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(msgspec.json.encode(body), type=Outer)
    fields = fields_of(refused.value)
    assert list(fields) == [field]
    [reason] = fields[field]
    assert english is None or reason.english() == english
    assert reason.say("zh") != reason.english()


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_has_a_status_and_a_code(error: type[DomainError]) -> None:
    status, code = status_of(error.__new__(error))
    assert 400 <= status < 600
    assert status * 10 <= int(code) < status * 10 + 10
    assert len(code) == 4


def test_codes_are_told_apart() -> None:
    codes = [status * 10 + more for status, more in STATUSES.values()]
    assert len(codes) == len(set(codes))


def test_an_error_takes_the_status_of_its_nearest_ancestor() -> None:
    class Gone(NotFound):
        pass

    assert status_of(Gone()) == (404, "4040")
    assert status_of(EngineAway("sql")) == (503, "5030")
    assert status_of(TooMany(retry_after=1)) == (429, "4290")
    assert status_of(Conflict()) == (409, "4090")
    assert status_of(Invalid.field("x", "field.required"))[0] == 422
    assert status_of(DomainError())[0] == 500


@pytest.mark.parametrize(
    ("status", "ours"), [(400, 400), (403, 403), (404, 404), (405, 405), (413, 413), (415, 400), (500, 500), (503, 500)]
)
def test_what_tornado_refuses_is_said_in_our_words(status: int, ours: int) -> None:
    assert status_of(in_our_words(HTTPError(status, "what %s", "happened")))[0] == ours


def test_while_draining_an_absence_is_ours() -> None:
    assert isinstance(in_our_words(HTTPError(503), draining=True), Draining)
    assert isinstance(in_our_words(HTTPError(403)), OriginNotAllowed)


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("", "zh"),
        ("en", "en"),
        ("en-GB,en;q=0.9", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("zh;q=0.1, en;q=0.9", "en"),
        ("en;q=0.1, zh", "zh"),
        ("en;q=0", "zh"),
        ("de-DE,de;q=0.9", "zh"),
        ("de,en;q=0.5", "en"),
        ("fr, kok-den", "zh"),
        ("*", "zh"),
        ("en;q=much", "zh"),
        (";;;,,,==", "zh"),
        ("EN", "en"),
    ],
)
def test_the_language_that_is_wanted_most(header: str, locale: str) -> None:
    assert locale_for(header) == locale


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (depth * opening + depth * closing).encode()


def test_depth_is_counted_beyond_many_brackets() -> None:
    assert not is_too_deep(nested(DEEPEST))
    assert is_too_deep(nested(DEEPEST + 1))
    assert is_too_deep(b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1))


def test_breadth_is_not_depth() -> None:
    assert not is_too_deep(b"[" + b",".join([b'[{"a":[]}]'] * 10_000) + b"]")


def test_brackets_in_strings_do_not_count() -> None:
    text = "[" * 500 + '\\"' + "{" * 500
    assert not is_too_deep(msgspec.json.encode([text, {text: [text]}]))
    assert not is_too_deep(b'["' + b"[" * 1000 + b'\\\\", "' + b"[" * 1000 + b'"]')
