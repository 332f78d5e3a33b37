"""What worker processes do with a PDF on its way into search: open it, read some pages, cut them into chunks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobs.cpu import pdf_ocr, pdf_pages
from jobs.cpu.chunking import chunk_pages
from jobs.cpu.pdf_survey import Survey
from jobs.cpu.shapes import Carry, Chunk, Page

# Goes up with every change of reading or chunking that gives other chunks: documents of an older version can be read anew.
READER = 1


class Batch(msgspec.Struct, frozen=True):
    """Some pages in a row, their chunks, what the next pages need, and how many could not be read."""

    pages: list[Page]
    chunks: list[Chunk]
    carry: Carry
    unreadable: int = 0


def read_batch(path: str, survey: Survey, first: int, last: int, carry: Carry) -> Batch:
    """Pages first to last (from 1, both included) with tables. Raises PdfError."""
    return _cut(pdf_pages.read_pages(path, survey, first, last), carry)


def recognise_batch(path: str, first: int, last: int, languages: Sequence[str], carry: Carry) -> Batch:
    """Pages of a scan, read by OCR. Raises PdfError."""
    return _cut(pdf_ocr.recognise_pages(path, first, last, languages), carry)


def skip_page(number: int, carry: Carry) -> Batch:
    """A page that cannot be read: empty, and what comes after does not go on from before it."""
    return Batch([Page(number, 0.0, 0.0, [])], [], Carry(headings=carry.headings), unreadable=1)


def _cut(pages: list[Page], carry: Carry) -> Batch:
    chunks, after = chunk_pages(pages, carry)
    return Batch(pages, chunks, after, sum(pdf_pages.is_unreadable(page) for page in pages))


def load() -> None:
    """Import the library that opens PDFs, which takes seconds, before the first one comes."""
    import pymupdf  # noqa: F401
