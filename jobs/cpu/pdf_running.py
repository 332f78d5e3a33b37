"""Running headers, footers and page numbers: found on a sample of pages, then dropped from each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from jobs.cpu.pdf_order import rows_apart
from jobs.cpu.pdf_text import UNIT, PageText, Piece

# They stand in the outer 12 % of a page's height.
BAND = 0.12
# How many rows of a band may be running ones.
_ROWS = 3
# A line on a quarter of the pages of a sample runs: those of left and right pages differ, and the first page of a chapter has none.
_SHARE = 0.25
_MOST = 200
_LONGEST = 200
_DIGITS = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(
    r"[-–—·•|~\s]*(?:第\s*)?(?:page\s*)?(?:\d{1,5}|[ivxlc]{1,7})(?:\s*页)?(?:\s*(?:/|of|共|,|，)+\s*\d{1,5})?(?:\s*页)?[-–—·•|~\s]*",
    re.IGNORECASE,
)


def folded(text: str) -> str:
    """A line without what differs from page to page: digits as one #, no spaces, no case."""
    return _DIGITS.sub("#", "".join(text.split())).casefold()[:_LONGEST]


def running_lines(pages: Sequence[PageText]) -> list[str]:
    """What runs through a sample of pages, folded."""
    seen: Counter[str] = Counter()
    for page in pages:
        seen.update({folded(piece.text) for rows in _bands(page.pieces, page.height) for row in rows[:_ROWS] for piece in row})
    least = max(2, round(len(pages) * _SHARE))
    return sorted(text for text, count in seen.most_common(_MOST) if count >= least and text)


def without_running(pieces: list[Piece], height: float, running: Collection[str]) -> list[Piece]:
    """The pieces of a page but its running ones: rows from the edge inwards, as long as some part of a row runs.

    A row goes whole: the chapter's name beside the page number changes too rarely to be seen in a sample.
    """
    dropped: set[int] = set()
    for rows in _bands(pieces, height):
        for depth, row in enumerate(rows[:_ROWS]):
            if not any(folded(piece.text) in running for piece in row) and not _is_number_alone(row, depth, pieces):
                break
            dropped.update(id(piece) for piece in row)
    return [piece for piece in pieces if id(piece) not in dropped] if dropped else pieces


def _bands(pieces: Sequence[Piece], height: float) -> list[list[list[Piece]]]:
    """Rows at the top and at the bottom, the outermost first."""
    top, bottom = height * BAND * UNIT, height * (1 - BAND) * UNIT
    above = [piece for piece in pieces if piece.y1 < top]
    below = [piece for piece in pieces if piece.y0 > bottom]
    return [rows_apart(above) if above else [], rows_apart(below)[::-1] if below else []]


def _is_number_alone(row: list[Piece], depth: int, pieces: Sequence[Piece]) -> bool:
    """A page number that stands alone at the edge, a line's height or more away from the text."""
    if depth or len(row) > 1 or not _PAGE_NUMBER.fullmatch(row[0].text):
        return False
    number = row[0]
    away = min((max(piece.y0 - number.y1, number.y0 - piece.y1) for piece in pieces if piece is not number), default=0)
    return away >= number.y1 - number.y0
