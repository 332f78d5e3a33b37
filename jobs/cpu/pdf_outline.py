"""A document's outline: read without trusting it, and its entries found again as lines on their pages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from jobs.cpu.pdf_source import Source, check_memory
from jobs.cpu.pdf_text import UNIT, Piece, clean
from jobs.cpu.shapes import OutlineEntry

MOST_ENTRIES = 10_000
DEEPEST = 12
_DEEPEST_LOADED = 500
_MOST_LOADED = 50_000
_LONGEST_TITLE = 300
_MOST_ROWS = 4
_NOT_WORDS = re.compile(r"[\W_]+")
_NUMBERING = re.compile(
    r"(?:第[\d零〇一二三四五六七八九十百]+[章节節篇部编編卷条條]|chapter[\divxlc]+|section[\d]+|appendix[a-z]|附录[a-z\d]?|附錄[a-z\d]?|[a-z]?\d+)",
)


def read_outline(source: Source) -> list[OutlineEntry]:
    """The entries in order, at most MOST_ENTRIES; an outline that cannot be read, or is absurd, counts as none."""
    from pymupdf import mupdf

    try:
        if not _is_sane(source.document):
            return []
        root = mupdf.ll_fz_load_outline(source.document.m_internal)
    except mupdf.FzErrorBase as error:
        check_memory(error)
        return []
    if root is None:
        return []
    try:
        return list(_walked(root, source))
    finally:
        mupdf.ll_fz_drop_outline(root)


def _is_sane(document: Any) -> bool:
    """Whether MuPDF may load the outline: it goes down by recursion, so that 100,000 levels end the process."""
    from pymupdf import mupdf

    catalogue = mupdf.pdf_dict_gets(mupdf.pdf_trailer(mupdf.pdf_specifics(document)), "Root")
    seen: set[int] = set()
    waiting = [(mupdf.pdf_dict_gets(mupdf.pdf_dict_gets(catalogue, "Outlines"), "First"), 1)]
    while waiting:
        entry, level = waiting.pop()
        number = mupdf.pdf_to_num(entry)
        if not number or number in seen:
            continue
        seen.add(number)
        if level > _DEEPEST_LOADED or len(seen) > _MOST_LOADED:
            return False
        waiting += [(mupdf.pdf_dict_gets(entry, "Next"), level), (mupdf.pdf_dict_gets(entry, "First"), level + 1)]
    return True


def _walked(root: Any, source: Source) -> Iterator[OutlineEntry]:
    from pymupdf import mupdf

    # Entries by the place of their C structure: one that comes twice closes a circle.
    seen: set[int] = set()
    waiting: list[tuple[Any, int]] = [(root, 1)]
    while waiting and len(seen) < MOST_ENTRIES:
        item, level = waiting.pop()
        if int(item.this) in seen:
            continue
        seen.add(int(item.this))
        title = clean((item.title or "")[: 2 * _LONGEST_TITLE])[:_LONGEST_TITLE]
        if title:
            try:
                number = mupdf.ll_fz_page_number_from_location(source.document.m_internal, item.page) + 1
            except mupdf.FzErrorBase:
                number = 0
            number = number if 1 <= number <= source.pages else 0
            top = float(item.y)
            yield OutlineEntry(min(level, DEEPEST), title, number, round(top, 1) if number and 0 < top < 1e5 else None)
        if item.next is not None:
            waiting.append((item.next, level))
        if item.down is not None:
            waiting.append((item.down, level + 1))


def levels_of(rows: Sequence[Piece], entries: Sequence[OutlineEntry]) -> dict[int, tuple[int, int]]:
    """Which rows are headings: index of row → (level, number of the entry); the rows of one heading share their entry."""
    found: dict[int, tuple[int, int]] = {}
    keys: list[str] = []
    texts = [row.text.replace(" ", "") for row in rows]
    for number, entry in enumerate(entries):
        title = _key(entry.title)
        if not title:
            continue
        # Nearly all titles stand on their page as they stand in the outline.
        wanted, plain = _unnumbered(title), entry.title.replace(" ", "")
        places = [
            (index, 1)
            for index, text in enumerate(texts)
            if plain in text and index not in found and (key := _key(text)) and (key == title or _unnumbered(key) == wanted)
        ]
        if not places:
            keys = keys or [_key(row.text) if row.table < 0 else "" for row in rows]
            places = [(start, length) for start in range(len(rows)) if start not in found and (length := _rows_of(keys, start, title))]
        if not places:
            continue
        top = entry.top
        start, length = min(
            places, key=lambda place: (0.0 if top is None else abs(rows[place[0]].y0 / UNIT - top) // 12, -rows[place[0]].size)
        )
        found.update(dict.fromkeys(range(start, start + length), (entry.level, number)))
    return found


def _rows_of(keys: list[str], start: int, title: str) -> int:
    """How many rows from `start` on make up the title, 0 when they do not; a number before either does not count."""
    wanted = _unnumbered(title)
    text = ""
    for length, key in enumerate(keys[start : start + _MOST_ROWS], start=1):
        text += key
        if not key:
            return 0
        if text == title or _unnumbered(text) == wanted:
            return length
        if not title.startswith(text) and not wanted.startswith(_unnumbered(text)):
            return 0
    return 0


def _key(text: str) -> str:
    return _NOT_WORDS.sub("", unicodedata.normalize("NFKC", text[: 2 * _LONGEST_TITLE])).casefold()


def _unnumbered(key: str) -> str:
    numbering = _NUMBERING.match(key)
    return key[numbering.end() :] or key if numbering else key
