"""A page of a PDF as a picture, with the places marked that are spoken of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.cpu.pdf_render import rendered
from jobs.cpu.pdf_source import opened
from jobs.cpu.shapes import Box

NARROWEST, WIDEST = 200, 2_400
MOST_PIXELS = 12_000_000
MOST_BOXES = 1_000
# A mark multiplies red, green and blue: white paper turns yellow and black letters stay black.
_MARK = (1.0, 0.92, 0.45)
# How far a mark reaches over its box, in points.
_MARGIN = 1.0


def page_image(path: str, number: int, boxes: Sequence[Box], width: int) -> bytes:
    """A PNG of the page, counted from 1, `width` pixels wide (200 to 2,400; less where a page is very high), with the boxes marked.

    Boxes in points as pages have them; what reaches over the page is cut. The file is not changed.
    Raises PageMissing, NotPdf, PdfEmpty, PdfEncrypted, PdfDamaged, OSError and MemoryError.
    """
    with opened(path) as source:
        pixels, scale = rendered(source, number, width=min(max(width, NARROWEST), WIDEST), most_pixels=MOST_PIXELS)
        if boxes:
            pixels = _marked(pixels, boxes[:MOST_BOXES], scale)
        png: bytes = pixels.tobytes("png")
        return png


def _marked(pixels: Any, boxes: Sequence[Box], scale: float) -> Any:
    import numpy as np
    import pymupdf

    samples = np.frombuffer(bytearray(pixels.samples_mv), dtype=np.uint8).reshape(pixels.height, pixels.stride)
    shown = samples[:, : pixels.width * 3].reshape(pixels.height, pixels.width, 3)
    marks = np.zeros((pixels.height, pixels.width), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        left, top = _within((x0 - _MARGIN) * scale, pixels.width), _within((y0 - _MARGIN) * scale, pixels.height)
        right, bottom = _within((x1 + _MARGIN) * scale, pixels.width), _within((y1 + _MARGIN) * scale, pixels.height)
        marks[top:bottom, left:right] = True
    shown[marks] = (shown[marks] * np.array(_MARK)).astype(np.uint8)
    make: Any = pymupdf.Pixmap
    return make(pymupdf.csRGB, pixels.width, pixels.height, shown.tobytes(), False)


def _within(place: float, most: int) -> int:
    return int(min(max(0.0, place), float(most)))  # in this order NaN ends at 0
