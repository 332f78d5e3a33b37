"""Server-sent events out of any bytes, and what is read in them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engines.llm_chunks import Delta, ErrorSent, EventLines, NotUnderstood, error_in, read_answer, read_event
from server.engines.llm_http import endpoint


def events(*chunks: bytes) -> list[str]:
    lines = EventLines()
    return [data for chunk in chunks for data in lines.feed(chunk)] + list(lines.end())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@given(cuts=st.lists(st.integers(0, 80), max_size=12))
def test_events_do_not_depend_on_where_they_are_cut(end: str, cuts: list[int]) -> None:
    stream = end.join([": 注释", "", "event: x", "data: 你好", "data:  世界", "id: 1", "", "data:{}", "", "", "data: last"]).encode()
    stream = b"\xef\xbb\xbf" + stream
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[begin:stop] for begin, stop in pairwise(places)]
    assert events(*chunks) == ["你好\n 世界", "{}", "last"]


def test_what_never_ends_is_refused() -> None:
    lines = EventLines()
    with pytest.raises(NotUnderstood):
        for _ in range(40):
            list(lines.feed(b"data: " + b"x" * 60_000))
    lines = EventLines()
    with pytest.raises(NotUnderstood):
        for _ in range(40):
            list(lines.feed(b"data: " + b"x" * 60_000 + b"\n"))


@pytest.mark.parametrize("page", [b"<html>\n", b'{"choices": []}\n'])
def test_what_is_no_stream_is_refused(page: bytes) -> None:
    with pytest.raises(NotUnderstood):
        events(page)


@pytest.mark.parametrize(
    ("data", "delta"),
    [
        ("[DONE]", Delta("", "done")),
        ('{"choices":[{"delta":{"content":"好"},"finish_reason":null}]}', Delta("好")),
        ('{"choices":[{"delta":{"role":"assistant"}}]}', Delta()),
        ('{"choices":[{"delta":{"content":null,"reasoning_content":"hm"}}]}', Delta()),
        ('{"choices":[{"delta":{"content":[{"type":"text","text":"a"},{"type":"x"}]}}]}', Delta("a")),
        ('{"choices":[{"finish_reason":"length"}]}', Delta("", "length")),
        ('{"choices":[{"delta":null,"finish_reason":"stop"}],"error":null}', Delta("", "stop")),
        ('{"choices":[],"usage":{}}', Delta()),
    ],
)
def test_reading_an_event(data: str, delta: Delta) -> None:
    assert read_event(data) == delta


@pytest.mark.parametrize("data", ["", "null", "[]", "{}", '{"choices":3}', "{", "[" * 5000])
def test_what_is_no_chat_event(data: str) -> None:
    with pytest.raises(NotUnderstood):
        read_event(data)


def test_errors_are_named_but_not_repeated() -> None:
    secret = '{"error": {"message": "bad key sk-123", "code": "invalid_api_key", "type": "auth"}}'
    with pytest.raises(ErrorSent, match=r"^invalid_api_key$"):
        read_event(secret)
    assert error_in(secret.encode()) == "invalid_api_key"
    assert error_in(b'{"error": {"code": "bad key: sk-123", "type": "auth"}}') == "auth"
    assert error_in(b'{"error": "bad key sk-123"}') == "error"
    assert error_in(b"<html>") == ""


def test_an_answer_in_one_piece() -> None:
    assert read_answer(b'{"choices":[{"message":{"content":"all"},"finish_reason":"length"}]}') == Delta("all", "length")
    assert read_answer(b'{"choices":[{"message":{"content":"all"}}]}') == Delta("all", "done")


@pytest.mark.parametrize(
    ("given_url", "asked"),
    [
        ("https://ark.example/api/v3", "https://ark.example/api/v3/chat/completions"),
        ("https://ark.example/api/v3/", "https://ark.example/api/v3/chat/completions"),
        ("https://ark.example/v1/chat/completions", "https://ark.example/v1/chat/completions"),
        ("https://a.example/openai?api-version=1", "https://a.example/openai/chat/completions?api-version=1"),
    ],
)
def test_the_address(given_url: str, asked: str) -> None:
    assert endpoint(given_url) == asked
