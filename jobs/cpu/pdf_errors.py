"""What can be wrong with a file that should be a PDF; each survives the way from a worker process."""

from __future__ import annotations

from typing import ClassVar


class PdfError(Exception):
    """A file cannot be read as a PDF. `code` names the reason; the arguments of a subclass are its attributes and plain values."""

    code: ClassVar[str] = "pdf_unreadable"


class NotPdf(PdfError):
    """Something else, whatever its name says."""

    code = "not_pdf"


class PdfEmpty(PdfError):
    """No bytes, or no pages."""

    code = "pdf_empty"


class PdfEncrypted(PdfError):
    """A password is needed to open it; the empty one does not."""

    code = "pdf_encrypted"


class PdfDamaged(PdfError):
    """A PDF that could not be repaired; `reason` is the library's word for it, for the log."""

    code = "pdf_damaged"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class PdfTooLong(PdfError):
    """More pages than are taken."""

    code = "pdf_too_long"

    def __init__(self, pages: int, most: int) -> None:
        super().__init__(pages, most)
        self.pages = pages
        self.most = most


class PageMissing(PdfError):
    """There is no such page, or it cannot be shown."""

    code = "page_missing"

    def __init__(self, number: int, pages: int) -> None:
        super().__init__(number, pages)
        self.number = number
        self.pages = pages


class OcrMissing(PdfError):
    """Text recognition is not installed, or lacks these languages."""

    code = "ocr_missing"

    def __init__(self, languages: list[str]) -> None:
        super().__init__(languages)
        self.languages = languages


class OcrFailed(PdfError):
    """Text recognition failed on a page or took too long; `reason` is for the log."""

    code = "ocr_failed"

    def __init__(self, number: int, reason: str = "") -> None:
        super().__init__(number, reason)
        self.number = number
        self.reason = reason
