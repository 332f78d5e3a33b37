"""A page of a PDF as pixels, bounded in number whatever the page says of itself."""

from __future__ import annotations

from typing import Any

from jobs.cpu.pdf_errors import PageMissing
from jobs.cpu.pdf_source import Source, check_memory

# The sides of a page that can be shown, in points; PDF itself goes to 14,400.
_SMALLEST, _LARGEST = 1.0, 1e6


def rendered(source: Source, number: int, *, zoom: float = 0.0, width: int = 0, most_pixels: int) -> tuple[Any, float]:
    """The page as an RGB pixmap of PyMuPDF and its pixels a point: `zoom`, or what gives `width` pixels, less where they would be too many.

    Raises PageMissing and MemoryError.
    """
    import pymupdf
    from pymupdf import mupdf

    page = source.page(number)
    try:
        bounds = page.fz_bound_page()
        across, down = bounds.x1 - bounds.x0, bounds.y1 - bounds.y0
        if not (_SMALLEST <= across <= _LARGEST and _SMALLEST <= down <= _LARGEST):
            raise PageMissing(number, source.pages)
        scale = min(zoom or width / across, (most_pixels / (across * down)) ** 0.5)
        if min(across, down) * scale < 1:
            raise PageMissing(number, source.pages)
        matrix = mupdf.fz_scale(scale, scale)
        pixels = mupdf.fz_new_pixmap_from_page(page, matrix, mupdf.FzColorspace(mupdf.FzColorspace.Fixed_RGB), 0)
    except mupdf.FzErrorBase as error:
        check_memory(error)
        raise PageMissing(number, source.pages) from None
    make: Any = pymupdf.Pixmap
    return make("raw", pixels), scale
