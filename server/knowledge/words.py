"""What a question or passage is made of when words are compared: Latin words and identifiers, pairs of Chinese characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from jobs.cpu.chunk_language import CJK, language_of
from jobs.cpu.shapes import Language

# A word may hold . _ - + / : @ inside (apt-get, sources.list, user@host), but these neither begin nor end it.
_LETTER = f"(?:(?![{CJK}])[^\\W_])"
_LATIN = f"{_LETTER}(?:(?:(?![{CJK}])[\\w.+/:@-])*{_LETTER})?"
_UNIT = re.compile(f"(?P<cjk>[{CJK}]+)|{_LATIN}")
_PARTS = re.compile(r"[/:@]+")


def language(text: str) -> Language:
    """The language of a question, told as the languages of passages are."""
    return language_of(text)


def folded(text: str) -> str:
    """Case folded NFKC: full-width letters are Latin ones, ﬁ is fi. Its length may differ from the text's."""
    return unicodedata.normalize("NFKC", text).casefold()


def units(text: str) -> set[str]:
    """The folded Latin words and identifiers of a text, the parts of paths and addresses too, and its pairs of Chinese characters.

    A Chinese character that stands alone is a unit of its own.
    """
    found: set[str] = set()
    for start, stop, cjk in spans(folded_text := folded(text)):
        run = folded_text[start:stop]
        if cjk:
            found.update(pairs(run))
        else:
            found.add(run)
            if not run.isalnum():
                found.update(part for part in _PARTS.split(run) if part)
    return found


def pairs(run: str) -> list[str]:
    """The overlapping pairs of a run of Chinese characters; the run itself if it is a single one."""
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]


def spans(text: str) -> Iterator[tuple[int, int, bool]]:
    """Where the Latin words and the Chinese runs of a text are: start, stop, whether it is Chinese."""
    for found in _UNIT.finditer(text):
        yield found.start(), found.end(), found.lastgroup == "cjk"
