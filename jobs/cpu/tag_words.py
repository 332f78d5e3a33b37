"""How often the words of tags stand in a document's passages, for worker processes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

import msgspec

_LATIN = re.compile(r"[a-z0-9_]")


class Mentions(msgspec.Struct, frozen=True):
    """`passages`: how many hold at least one of the words. `words`: those that stand there, the most frequent first."""

    passages: int
    words: tuple[str, ...]


def count_mentions(texts: Sequence[str], words: Mapping[int, Sequence[str]]) -> dict[int, Mentions]:
    """For each tag how many of the passages hold one of its words, in any case; a Latin word must stand as a whole word."""
    folded = [_folded(text) for text in texts]
    whole = "\n".join(folded)
    found: dict[int, Mentions] = {}
    for tag, spelt in words.items():
        holding: dict[str, set[int]] = {}
        for word in spelt:
            plain = _folded(word).strip()
            if plain and plain in whole:
                pattern = _pattern(plain)
                places = {number for number, text in enumerate(folded) if plain in text and pattern.search(text)}
                if places:
                    holding[word] = places
        ordered = sorted(holding, key=lambda word: -len(holding[word]))
        found[tag] = Mentions(len(set().union(*holding.values())), tuple(ordered))
    return found


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _pattern(word: str) -> re.Pattern[str]:
    before = r"(?<![a-z0-9_])" if _LATIN.match(word[0]) else ""
    after = r"(?![a-z0-9_])" if _LATIN.match(word[-1]) else ""
    return re.compile(before + re.escape(word) + after)
