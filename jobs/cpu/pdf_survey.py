"""A first look at a PDF: whether it can be read, how long it is, its outline, and what repeats on its pages."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from jobs.cpu.chunk_language import language_of
from jobs.cpu.pdf_errors import PageMissing, PdfTooLong
from jobs.cpu.pdf_headings import body_size, heading_sizes
from jobs.cpu.pdf_outline import read_outline
from jobs.cpu.pdf_running import running_lines, without_running
from jobs.cpu.pdf_source import Source, check_memory, opened
from jobs.cpu.pdf_text import PageText, clean, page_text
from jobs.cpu.shapes import Language, OutlineEntry

# Pages are looked at in pairs, as left and right ones differ.
SAMPLED = 32
_LONGEST_TITLE = 300
# A page with fewer letters and digits, besides running lines, has no text: a scan may carry a stamp.
_FEWEST_LETTERS = 20
# An outline of a single entry names the document, not its parts.
FEWEST_ENTRIES = 2
_LETTER = re.compile(r"[^\W_]")
_NO_TITLE = re.compile(
    r"untitled\b.*|无标题\b.*|slide \d+|powerpoint presentation|.*\.(?:docx?|pptx?|xlsx?|wps|indd|tex|dvi|odt|rtf)", re.IGNORECASE
)
_PROGRAM = re.compile(r"^(?:microsoft (?:word|powerpoint|excel)|wps \w+)\s*-\s*", re.IGNORECASE)


class Survey(msgspec.Struct, frozen=True):
    """What is known of a document before its pages are read. Sizes in points; `running` holds folded lines.

    `heading_sizes` is empty where the outline tells the headings. `text_pages` of the `sampled` pages have text.
    """

    pages: int
    title: str
    outline: list[OutlineEntry]
    running: list[str]
    body_size: float
    heading_sizes: list[float]
    language: Language
    sampled: int
    text_pages: int

    @property
    def has_text(self) -> bool:
        return self.text_pages > 0


def survey(path: str, most_pages: int) -> Survey:
    """Look at a file. Raises NotPdf, PdfEmpty, PdfEncrypted, PdfDamaged, PdfTooLong, OSError and MemoryError."""
    with opened(path) as source:
        if source.pages > most_pages:
            raise PdfTooLong(source.pages, most_pages)
        outline = read_outline(source)
        numbers = sample(source.pages)
        pages = [page for number in numbers if (page := _find_page(source, number)) is not None]
        running = running_lines(pages)
        known = frozenset(running)
        bodies = [without_running(page.pieces, page.height, known) for page in pages]
        pieces = [piece for body in bodies for piece in body]
        size = body_size(pieces)
        return Survey(
            pages=source.pages,
            title=_title(source.document),
            outline=outline,
            running=running,
            body_size=size,
            heading_sizes=heading_sizes(pieces, size) if len(outline) < FEWEST_ENTRIES else [],
            language=_language([" ".join(piece.text for piece in body) for body in bodies]),
            sampled=len(numbers),
            text_pages=sum(len(_LETTER.findall(" ".join(piece.text for piece in body))) >= _FEWEST_LETTERS for body in bodies),
        )


def sample(pages: int) -> list[int]:
    """The numbers of the pages to look at: all of a short document, else pairs from its whole length."""
    if pages <= SAMPLED:
        return list(range(1, pages + 1))
    pairs = SAMPLED // 2
    firsts = [1 + (pages - 2) * pair // (pairs - 1) for pair in range(pairs)]
    return sorted({number for first in firsts for number in (first, first + 1)})


def _language(texts: list[str]) -> Language:
    """Chinese when half of the pages with words have Chinese in them: such manuals are full of Latin names."""
    spoken = [language for text in texts if (language := language_of(text))]
    if not spoken:
        return ""
    return "zh" if 2 * spoken.count("zh") >= len(spoken) else "en"


def _find_page(source: Source, number: int) -> PageText | None:
    from pymupdf import mupdf

    try:
        return page_text(source.page(number))
    except (mupdf.FzErrorBase, msgspec.DecodeError, PageMissing) as error:
        check_memory(error)
        return None


def _title(document: Any) -> str:
    """The title of the metadata, "" where it is the name of a file or what a program put there."""
    from pymupdf import mupdf

    try:
        given = mupdf.fz_lookup_metadata2(document, "info:Title")
    except (mupdf.FzErrorBase, UnicodeDecodeError):
        return ""
    title = _PROGRAM.sub("", clean(given[: 4 * _LONGEST_TITLE]))[:_LONGEST_TITLE].strip()
    return "" if _NO_TITLE.fullmatch(title) else title
