"""Reads what a chat endpoint sends: server-sent events across chunk borders, and the JSON in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

# A single line or event beyond this is no chat answer.
LONGEST_EVENT = 1 << 20
_SAFE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class NotUnderstood(Exception):
    """What came is no answer of a chat endpoint; the text says why, in words of our own."""


class ErrorSent(Exception):
    """The endpoint sent an error in place of text; the text is its type or code."""


class EventLines:
    """Server-sent events out of bytes that are cut anywhere (WHATWG HTML 9.2): LF, CRLF and CR end lines, comments are passed over."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []
        self._size = 0
        self._first = True

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The data of each event that these bytes complete."""
        self._rest += chunk
        if self._first:
            if self._rest in (b"\xef", b"\xef\xbb"):
                return
            self._rest = self._rest.removeprefix(b"\xef\xbb\xbf")
            self._first = not self._rest
        begin = 0
        for end in _LINE_END.finditer(self._rest):
            if end[0] == b"\r" and end.end() == len(self._rest):
                break  # a LF may follow in the next chunk
            yield from self._line(self._rest[begin : end.start()])
            begin = end.end()
        self._rest = self._rest[begin:]
        if len(self._rest) > LONGEST_EVENT:
            raise NotUnderstood("a line without end")

    def end(self) -> Iterator[str]:
        """What is left when the connection ends; servers that forget the last empty line are forgiven."""
        rest, self._rest = self._rest, b""
        if rest:
            yield from self._line(rest.rstrip(b"\r"))
        yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[str]:
        if not line:
            if self._data:
                data, self._data, self._size = "\n".join(self._data), [], 0
                yield data
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._size += len(value)
            if self._size > LONGEST_EVENT:
                raise NotUnderstood("an event without end")
            self._data.append(value.removeprefix(b" ").decode("utf-8", "replace"))
        elif line[:1] in b"{<":
            raise NotUnderstood("no server-sent events")


class Delta(msgspec.Struct, frozen=True):
    """A piece of text, possibly empty (reasoning, roles, usage), and why the model ended when it did."""

    text: str = ""
    ended: str = ""


def read_event(data: str) -> Delta:
    """One event of a stream. Raises ErrorSent for an error object, NotUnderstood for what is no chat event."""
    if data.strip() == "[DONE]":
        return Delta(ended="done")
    return _read(data, "delta")


def read_answer(body: bytes) -> Delta:
    """An answer that came in one piece. Raises like `read_event`."""
    read = _read(body, "message")
    return Delta(read.text, read.ended or "done")


def _read(source: str | bytes, part: str) -> Delta:
    try:
        answer = msgspec.json.decode(source)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotUnderstood("no JSON") from None
    if not isinstance(answer, dict):
        raise NotUnderstood("no object")
    if answer.get("error"):
        raise ErrorSent(error_name(answer))
    choices = answer.get("choices")
    if not isinstance(choices, list):
        raise NotUnderstood("no choices")
    if not choices or not isinstance(choices[0], dict):
        return Delta()  # usage alone
    piece = choices[0].get(part) or {}
    content = piece.get("content") if isinstance(piece, dict) else None
    ended = choices[0].get("finish_reason")
    return Delta(_text(content), ended if isinstance(ended, str) else "")


def _text(content: Any) -> str:
    """Text as it is, or as a list of parts of which some are text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def error_name(answer: Any) -> str:
    """The code or type of an error object. Its message is left out: endpoints repeat parts of keys and of prompts there."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        for name in ("code", "type"):
            if _SAFE.fullmatch(str(error.get(name) or "")):
                return str(error[name])
    return "error"


def error_in(body: bytes) -> str:
    """The name of the error in an answer's body; empty when there is none to be found."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return error_name(answer) if isinstance(answer, dict) and answer.get("error") else ""
