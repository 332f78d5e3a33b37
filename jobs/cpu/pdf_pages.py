"""Pages of a PDF as text: blocks in reading order with headings, tables and boxes, without what repeats on each page."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from jobs.cpu.pdf_errors import PageMissing
from jobs.cpu.pdf_headings import level_by_letters
from jobs.cpu.pdf_order import rows_in_order
from jobs.cpu.pdf_outline import levels_of
from jobs.cpu.pdf_running import without_running
from jobs.cpu.pdf_source import Source, check_memory, opened
from jobs.cpu.pdf_survey import FEWEST_ENTRIES, Survey
from jobs.cpu.pdf_tables import Table, page_tables
from jobs.cpu.pdf_text import UNIT, PageText, Piece, page_language, page_text
from jobs.cpu.shapes import Block, Line, OutlineEntry, Page

# More of a page is not kept; a page of a newspaper has 50,000 characters.
MOST_CHARACTERS = 200_000
MOST_BLOCKS = 2_000
# Rows farther apart than this part blocks: in heights of a row, and in gaps as the page has them.
_GAP_IN_HEIGHTS = 0.6
_GAP_IN_GAPS = 1.4
# "Title . . . . . 12"
_LEADER = re.compile(r"(?:[.．·•‧…_]\s?){4,}.*?[\divxlc]+\W*$", re.IGNORECASE)
_LEADING = (". . .", "....", "…", "···", "．．", "___")
_LONGEST_LEADER = 2_000
_FEWEST_LEADERS = 3
# A page with so many of its lines leading to page numbers is one of a table of contents.
_CONTENTS_SHARE = 0.4


def read_pages(path: str, survey: Survey, first: int, last: int, tables: bool = True) -> list[Page]:
    """Pages first to last, counted from 1, both included; those past the end are left out.

    A page that cannot be read has neither size nor blocks (`is_unreadable`); one of a table of contents has a size and no blocks.
    Raises NotPdf, PdfEmpty, PdfEncrypted, PdfDamaged, OSError and MemoryError.
    """
    entries: dict[int, list[OutlineEntry]] = {}
    for entry in survey.outline:
        if first <= entry.page <= last:
            entries.setdefault(entry.page, []).append(entry)
    running = frozenset(survey.running)
    with opened(path) as source:
        numbers = range(max(first, 1), min(last, source.pages) + 1)
        return [_read_page(source, number, survey, entries.get(number, []), running, tables) for number in numbers]


def is_unreadable(page: Page) -> bool:
    """Whether it stands for a page that could not be read."""
    return page.width == 0 == page.height


def _read_page(
    source: Source, number: int, survey: Survey, entries: Sequence[OutlineEntry], running: frozenset[str], with_tables: bool
) -> Page:
    from pymupdf import mupdf

    try:
        text = page_text(source.page(number), strokes=with_tables)
        if text.width <= 0 or text.height <= 0:
            raise PageMissing(number, source.pages)
        found = page_tables(text) if with_tables and text.strokes else []
    except (mupdf.FzErrorBase, msgspec.DecodeError, PageMissing, ValueError) as error:
        check_memory(error)
        return Page(number, 0.0, 0.0, [])
    pieces = without_running(_with_places(text.pieces, found), text.height, running)
    rows = _without_leaders(rows_in_order(pieces))
    if len(survey.outline) >= FEWEST_ENTRIES:
        levels = levels_of(rows, entries) if entries else {}
    else:
        levels = _levels_by_letters(rows, survey)
    blocks = _blocks(rows, levels, found, text)
    return Page(number, round(text.width, 2), round(text.height, 2), blocks, page_language("\n".join([row.text for row in rows])))


def _with_places(pieces: list[Piece], found: Sequence[Table]) -> list[Piece]:
    """One piece in the place of all that a table took."""
    for index, table in enumerate(found):
        taken = {id(piece) for piece in table.taken}
        place = next(place for place, piece in enumerate(pieces) if id(piece) in taken)
        pieces = [piece for piece in pieces if id(piece) not in taken]
        pieces.insert(place, Piece("", table.x0, table.y0, table.x1, table.y1, 0, table=index))
    return pieces


def _without_leaders(rows: list[Piece]) -> list[Piece]:
    """Nothing of a page of contents; elsewhere the lines of contents are left out."""
    text = "\n".join([row.text for row in rows])
    if not any(dots in text for dots in _LEADING):
        return rows
    leading = {id(row) for row in rows if len(row.text) < _LONGEST_LEADER and _LEADER.search(row.text)}
    if len(leading) < _FEWEST_LEADERS:
        return rows
    if len(leading) >= _CONTENTS_SHARE * len(rows):
        return []
    return [row for row in rows if id(row) not in leading]


def _levels_by_letters(rows: Sequence[Piece], survey: Survey) -> dict[int, tuple[int, int]]:
    """Like those by the outline: rows of one heading follow each other, close together and alike."""
    levels: dict[int, tuple[int, int]] = {}
    before: Piece | None = None
    for index, row in enumerate(rows):
        level = level_by_letters(row, survey.body_size, survey.heading_sizes) if row.table < 0 else 0
        if level:
            goes_on = before is not None and (index - 1) in levels and levels[index - 1][0] == level and row.size == before.size
            close = goes_on and before is not None and 0 < row.y1 - before.y0 < 3 * (row.y1 - row.y0)
            levels[index] = (level, levels[index - 1][1] if close else index)
        before = row
    return levels


def _blocks(rows: Sequence[Piece], levels: dict[int, tuple[int, int]], found: Sequence[Table], page: PageText) -> list[Block]:
    widest, lowest = page.width * UNIT, page.height * UNIT
    gaps = [below.y0 - above.y1 for above, below in pairwise(rows) if below.y0 - above.y1 > 0]
    usual = statistics.median_low(gaps) * _GAP_IN_GAPS if gaps else 0
    blocks: list[Block] = []
    lines: list[Line] = []
    heading = -1
    before: Piece | None = None
    characters = 0
    for index, row in enumerate(rows):
        characters += len(row.text)
        if characters > MOST_CHARACTERS or len(blocks) >= MOST_BLOCKS:
            break
        x0, y0, x1, y1 = row.x0, row.y0, row.x1, row.y1
        if row.table >= 0:
            blocks.append(Block("table", found[row.table].lines))
            lines = []
            before = None
            characters += sum(len(line.text) for line in found[row.table].lines)
            continue
        level, entry = levels.get(index, (0, -1))
        if before is None or entry != heading or _is_apart(before, row, usual):
            lines = []
            blocks.append(Block("heading" if level else "text", lines, level))
        if x0 < 0 or y0 < 0 or x1 > widest or y1 > lowest:
            x0, y0, x1, y1 = (round(min(max(edge, 0), most)) for edge, most in ((x0, widest), (y0, lowest), (x1, widest), (y1, lowest)))
        lines.append(Line(row.text, (x0 / UNIT, y0 / UNIT, x1 / UNIT, y1 / UNIT)))
        heading, before = entry, row
    return blocks


def _is_apart(above: Piece, below: Piece, usual: float) -> bool:
    """Whether a row begins a new block; a heading's rows stay together."""
    gap = below.y0 - above.y1
    height = below.y1 - below.y0
    if gap > usual and gap > _GAP_IN_HEIGHTS * height:
        return True
    return gap < -height or above.upright != below.upright
