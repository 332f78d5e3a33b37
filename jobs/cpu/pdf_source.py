"""Opens a PDF that nobody vouches for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobs.cpu.pdf_errors import NotPdf, PageMissing, PdfDamaged, PdfEmpty, PdfEncrypted

# Readers take a header that begins within the first 1,024 bytes (PDF 1.7, annex H, note 13).
HEADER_WITHIN = 1024
# No file has more; what says so lies, and counting on would never end.
PAGES_CONCEIVABLE = 10_000_000


class Source:
    """An open document: MuPDF's own objects, which cost a fifth of the time of PyMuPDF's around them."""

    def __init__(self, document: Any, pages: int) -> None:
        self.document = document
        self.pages = pages

    def page(self, number: int) -> Any:
        """The page, counted from 1. Raises PageMissing, and MemoryError when there is none left."""
        from pymupdf import mupdf

        if not 1 <= number <= self.pages:
            raise PageMissing(number, self.pages)
        try:
            return mupdf.fz_load_page(self.document, number - 1)
        except mupdf.FzErrorBase as error:
            check_memory(error)
            raise PageMissing(number, self.pages) from None


@contextmanager
def opened(path: str) -> Iterator[Source]:
    """Open for reading; an empty user password is tried. Raises NotPdf, PdfEmpty, PdfEncrypted, PdfDamaged, OSError and MemoryError."""
    _check_header(path)
    import pymupdf
    from pymupdf import mupdf

    tools: Any = pymupdf.TOOLS
    tools.mupdf_display_errors(False)
    tools.mupdf_display_warnings(False)
    try:
        try:
            pdf = mupdf.pdf_open_document(path)
        except mupdf.FzErrorBase as error:
            check_memory(error)
            raise PdfDamaged(str(error)[:300]) from None
        yield Source(pdf.super(), _count(pdf))
    finally:
        tools.reset_mupdf_warnings()  # PyMuPDF keeps every warning


def _check_header(path: str) -> None:
    with open(path, "rb") as file:
        head = file.read(HEADER_WITHIN)
    if not head:
        raise PdfEmpty
    if b"%PDF-" not in head:
        raise NotPdf


def _count(pdf: Any) -> int:
    from pymupdf import mupdf

    try:
        if mupdf.pdf_needs_password(pdf):
            raise PdfEncrypted
        pages = int(mupdf.pdf_count_pages(pdf))
        repaired = bool(mupdf.pdf_was_repaired(pdf))
    except mupdf.FzErrorBase as error:
        check_memory(error)
        raise PdfDamaged(str(error)[:300]) from None
    if not 0 <= pages <= PAGES_CONCEIVABLE:
        raise PdfDamaged(f"{pages} pages")
    if pages == 0 and repaired:
        raise PdfDamaged("no page was found")
    if pages == 0:
        raise PdfEmpty
    return pages


def check_memory(error: Exception) -> None:
    """MuPDF reports a failed allocation as one of its own errors. Raises MemoryError then."""
    text = str(error)
    if "alloc" in text and "failed" in text:
        raise MemoryError(text) from None
