"""Headings of a document without an outline: by the size of their letters, or by their weight and number."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from jobs.cpu.pdf_text import UNIT, Piece

# A heading's letters are larger than the body's by this much at least.
LARGER = 1.1
MOST_LEVELS = 6
_LONGEST = 120
# Sizes that more of the text has than this are no headings'.
_MOST_TEXT = 0.2
_LETTER = re.compile(r"[^\W\d_]")
_NUMBERED = re.compile(
    r"(?:第[\d零〇一二三四五六七八九十百]+[章节篇部编条]|[一二三四五六七八九十]+、|[（(][一二三四五六七八九十\d]+[）)]|"
    r"(?:chapter|section|appendix|part)\s+\w+\b|(?:\d{1,3}|[A-Z])(?:\.\d{1,3}){1,4}\.?\s|(?:\d{1,2}|[A-Z])\.?\s+(?=\D))",
    re.IGNORECASE,
)
# "1.2.3": a level for each number.
_DECIMAL = re.compile(r"[\dA-Z]+(?:\.\d+)+")
_NOT_LAST = "。，；、,;：:"


def body_size(pieces: Sequence[Piece]) -> float:
    """The size that most characters have, in points, to half a point; 0 without text."""
    sizes = _characters(pieces)
    return max(sizes.items(), key=lambda item: item[1])[0] / 2 if sizes else 0.0


def heading_sizes(pieces: Sequence[Piece], body: float) -> list[float]:
    """Sizes of letters that headings have, largest first, in points."""
    sizes = _characters(pieces)
    whole = sum(sizes.values())
    short = Counter(_halves(piece) for piece in pieces if _may_be_heading(piece.text))
    large = [half for half, count in sizes.items() if half / 2 >= body * LARGER and count <= whole * _MOST_TEXT and short[half]]
    return [half / 2 for half in sorted(large, reverse=True)[:MOST_LEVELS]]


def level_by_letters(row: Piece, body: float, sizes: Sequence[float]) -> int:
    """The level of a heading from 1 on, 0 for other text. `sizes` are the document's, largest first."""
    size = _halves(row) / 2
    is_larger = bool(sizes) and size >= sizes[-1]
    if not is_larger and not (row.bold and size >= body and _NUMBERED.match(row.text)):
        return 0
    if not _may_be_heading(row.text):
        return 0
    if is_larger:
        return bisect_left([-known for known in sizes], -size) + 1
    decimal = _DECIMAL.match(row.text)
    return len(sizes) + (decimal.group().count(".") + 1 if decimal else 1)


def _may_be_heading(text: str) -> bool:
    return len(text) <= _LONGEST and text[-1:] not in _NOT_LAST and _LETTER.search(text) is not None and len(text) > 1


def _halves(piece: Piece) -> int:
    return round(piece.size * 2 / UNIT)


def _characters(pieces: Sequence[Piece]) -> Counter[int]:
    sizes: Counter[int] = Counter()
    for piece in pieces:
        sizes[_halves(piece)] += len(piece.text)
    return sizes
