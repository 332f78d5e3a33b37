"""The part of a passage that answers a question best, as HTML with the matches marked."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator

import msgspec

from server.knowledge.words import folded, spans, units

LONGEST = 240  # characters of text; a passage that is not longer is shown whole
WIDTH = 200  # what a longer one is cut to, before its ends are moved to words
WORD_ROOM = 20  # how far an end may move so that it does not cut a word
LEAD = 40  # how much stands before the first match at most
_JOINER = "\u200d"
_SENTENCE_END = frozenset("。！？；.!?;")
_INSIDE = re.compile(r"[^\W_]")


class Match(msgspec.Struct, frozen=True):
    """A unit of the question in a text: which, and the places of its first character and of the one after its last."""

    unit: str
    start: int
    stop: int


def snippet(query: str, text: str) -> str:
    """The densest part of the text as HTML: escaped, matches in `<mark>`, an ellipsis where something is left out.

    Latin words match as wholes, Chinese by pairs of characters, both case folded and NFKC. Without a match it is the text's beginning.
    What is read as one character (with accents, joined emoji) is never cut.
    """
    shown = " ".join(text.split())
    letters = list(_letters(shown))
    found = sorted(_matches(letters, query), key=lambda match: match.start)
    start, stop = _window(letters, found)
    marked = [False] * len(letters)
    for match in found:
        marked[match.start : match.stop] = [True] * (match.stop - match.start)
    body = "".join(_runs(letters[start:stop], marked[start:stop])).strip()
    return ("…" if start else "") + body + ("…" if stop < len(letters) else "")


def _letters(text: str) -> Iterator[str]:
    """What is read as one character each: a character and what combines with it. A lone surrogate, which is no text, is replaced."""
    letter = ""
    for char in text:
        if letter and _combines(char, letter):
            letter += char
            continue
        if letter:
            yield letter
        letter = "\ufffd" if "\ud800" <= char <= "\udfff" else char
    if letter:
        yield letter


def _combines(char: str, before: str) -> bool:
    if before[-1] == _JOINER:
        return True
    if char < "\u0300" or "\u3100" <= char < "\ua000":
        return False  # Latin and Chinese, nearly all there is
    return char == _JOINER or "\U0001f3fb" <= char <= "\U0001f3ff" or unicodedata.category(char)[0] == "M"


def _matches(letters: list[str], query: str) -> Iterator[Match]:
    """Every place where a unit of the question stands, in places of letters."""
    places: list[int] = []  # the letter that each folded character comes from
    parts: list[str] = []
    for at, letter in enumerate(letters):
        part = letter.casefold() if letter.isascii() else letter if "\u4e00" <= letter <= "\u9fff" else folded(letter)
        parts.append(part)
        places.extend([at] * len(part))
    text = "".join(parts)
    for unit in units(query):
        start = text.find(unit)
        while start >= 0:
            stop = start + len(unit)
            if _is_cjk(unit) or _is_whole(text, start, stop):
                yield Match(unit, places[start], places[stop - 1] + 1)
            start = text.find(unit, start + 1)


def _is_cjk(unit: str) -> bool:
    return any(cjk for _, _, cjk in spans(unit))


def _is_whole(text: str, start: int, stop: int) -> bool:
    """Whether no Latin letter or digit stands on either side; Chinese ones may."""
    return not any(_INSIDE.match(char) and not _is_cjk(char) for char in (text[start - 1 : start], text[stop : stop + 1]))


def _window(letters: list[str], found: list[Match]) -> tuple[int, int]:
    if len(letters) <= LONGEST:
        return 0, len(letters)
    if not found:
        return 0, _word_end(letters, WIDTH)
    first = max(range(len(found)), key=lambda at: (_weight(found, at), -at))
    last = max(match.stop for match in found[first:] if match.stop <= found[first].start + WIDTH)
    spare = WIDTH - (last - found[first].start)
    start = max(0, min(found[first].start - min(spare // 2, LEAD), len(letters) - WIDTH))
    start = _word_start(letters, start, found[first].start)
    stop = min(start + WIDTH, len(letters))
    return start, stop if stop == len(letters) else _word_end(letters, max(stop, last))


def _weight(found: list[Match], first: int) -> float:
    """What a window shows that begins at this match: each unit by its length, a little more for each repetition."""
    seen: set[str] = set()
    weight = 0.0
    for match in found[first:]:
        if match.stop > found[first].start + WIDTH:
            break
        weight += 0.05 if match.unit in seen else len(match.unit)
        seen.add(match.unit)
    return weight


def _word_start(letters: list[str], start: int, latest: int) -> int:
    """The first sentence or, failing that, word that begins at or shortly after a place."""
    if start == 0:
        return 0
    limit = min(start + WORD_ROOM, latest)
    for at in range(start, limit + 1):
        if letters[at - 1] in _SENTENCE_END:
            return at
    return next((at for at in range(start, limit + 1) if not _joined(letters, at)), start)


def _word_end(letters: list[str], stop: int) -> int:
    for at in range(stop, min(stop + WORD_ROOM, len(letters)) + 1):
        if at == len(letters) or not _joined(letters, at):
            return at
    return stop


def _joined(letters: list[str], at: int) -> bool:
    """Whether a cut before this letter would go through a Latin word."""
    before, after = letters[at - 1], letters[at]
    return not (before.isspace() or after.isspace() or _is_cjk(before) or _is_cjk(after))


def _runs(letters: list[str], marked: list[bool]) -> Iterator[str]:
    start = 0
    for at in range(1, len(letters) + 1):
        if at == len(letters) or marked[at] != marked[start]:
            run = html.escape("".join(letters[start:at]))
            yield f"<mark>{run}</mark>" if marked[start] else run
            start = at
