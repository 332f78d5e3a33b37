"""Cuts a text into sentences, also while it is still being written."""

from __future__ import annotations

import re

# A reference to passages as models write it: [1], [1, 2], [1-3], [^1], 【1】.
MARKER = re.compile(r"[\[【［]\s*\^?\d{1,3}(?:\s*[,，、;；–-]\s*\^?\d{1,3})*\s*[\]】］]")
# What may yet become one.
MARKER_BEGUN = re.compile(r"[\[【［][\s\d^,，、;；–-]*\Z")
CODE = re.compile(r"`[^`\n]*`")
FENCE = re.compile(r"\s*(```|~~~)")

_STOPS = re.compile(r"[。！？；!?]+|\.+|…+|\n")
_CLOSERS = "\"'”’」』）)*_"
_FULL = "。！？；…"
_ABBREVIATED = re.compile(
    r"(?:^|[\s(（])(?:e\.g|i\.e|vs|cf|figs?|nos?|dr|mrs?|ms|prof|approx|pp?|ch|sec|vol|resp|incl|[a-z])\Z", re.IGNORECASE
)
_LISTED = re.compile(r"(?:^|\n)\s*\d{1,3}\Z")


def sentence_end(text: str, *, final: bool) -> int | None:
    """Where the first sentence of the text ends, with the references and the space that follow it; None while that cannot be told.

    `final`: nothing more will come. A line's end is a sentence's end; an abbreviation, a decimal point, a dot in a name are not.
    """
    for stop in _STOPS.finditer(text):
        if stop[0] == "\n":
            if text[: stop.start()].strip():
                return stop.end()
            continue
        at = stop.end()
        while at < len(text) and text[at] in _CLOSERS:
            at += 1
        if at == len(text):
            return at if final else None
        full = stop[0][-1] in _FULL
        if not full and not (text[at].isspace() or text[at] in "[【［"):
            continue
        if stop[0] == "." and (
            _ABBREVIATED.search(text, max(0, stop.start() - 12), stop.start())
            or _LISTED.search(text, max(0, stop.start() - 12), stop.start())
        ):
            continue
        return _with_references(text, at, final)
    return len(text) if final and text else None


def _with_references(text: str, at: int, final: bool) -> int | None:
    """The end of what belongs to a sentence after its stop: space, references, a second stop."""
    while True:
        after = at
        while after < len(text) and text[after] in " \t":
            after += 1
        if after == len(text):
            return after if final else None
        found = MARKER.match(text, after)
        if found is None:
            if MARKER_BEGUN.match(text, after) and not final:
                return None
            return after
        at = found.end()
        if at < len(text) and text[at] in ".。":
            at += 1


def sentences(text: str) -> list[str]:
    """The sentences of a whole text; put together again they are the text."""
    found = []
    while (end := sentence_end(text, final=True)) is not None:
        found.append(text[:end])
        text = text[end:]
    return found


def safe_prefix(text: str) -> int:
    """How much of an unfinished sentence may be shown: up to its first reference or what may become one, and the space before it."""
    shielded = CODE.sub(lambda code: "x" * len(code[0]), text)
    begun = MARKER.search(shielded) or MARKER_BEGUN.search(shielded)
    return len(text[: begun.start() if begun else len(text)].rstrip())
