"""The text of one page as MuPDF sees it: pieces of lines with their boxes, sizes and weights, and the strokes between them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from jobs.cpu.shapes import Language

# Places are counted in hundredths of a point: MuPDF writes whole numbers.
UNIT = 100
# Where JSON of one page ends for us, in bytes; ordinary pages have 10 to 50 KiB.
MOST_JSON = 8 * 2**20
MOST_STROKES = 4_000
# FZ_STEXT_MEDIABOX_CLIP: nothing off the page. Without the flags for ligatures and white space "ﬁ" comes as "fi" and a tab as a space.
_CLIP = 64
_VECTORS = 1024
_VECTOR_BLOCK = 3
# Strokes that reach farther than this, in points, bound no table.
_FAR = 1e5

CJK = r"\u2e80-\u2fdf\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
# A literal first character lets the regex engine skip to the spaces: forty times faster than looking behind first.
_CJK_SPACE = re.compile(rf" (?<=[{CJK}] )(?=[{CJK}])")
_CJK_SPACES = re.compile(rf"(?<=[{CJK}]) {{2,}}(?=[{CJK}])")
_CJK_ONE = re.compile(rf"[{CJK}]")
_CJK_LETTER = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LATIN_WORD = re.compile(r"[A-Za-z]{2,}")
_SURROGATE_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Enough of a page to tell its language by, in characters.
_TELLING = 1_000


class Piece(msgspec.Struct, gc=False):
    """A run of text on one base line. Edges and size in hundredths of a point from the top left corner of the page as shown."""

    text: str
    x0: int
    y0: int
    x1: int
    y1: int
    size: int
    bold: bool = False
    # False for stamps along the margin and for vertical writing.
    upright: bool = True
    # The number of the table on this page that stands in this place.
    table: int = -1


class Stroke(msgspec.Struct, gc=False):
    """What a drawn line or rectangle covers, in hundredths of a point; `outline` when it is drawn and not filled."""

    x0: int
    y0: int
    x1: int
    y1: int
    outline: bool


class PageText(msgspec.Struct):
    """A page's pieces in the order of the file; width and height in points; `stext` is MuPDF's own page of text."""

    width: float
    height: float
    pieces: list[Piece]
    strokes: list[Stroke]
    stext: Any


class _Box(msgspec.Struct, gc=False):
    x: int = 0
    y: int = 0
    w: int = 0
    h: int = 0


class _Font(msgspec.Struct, gc=False):
    size: int = 0
    weight: str = ""
    name: str = ""


class _Line(msgspec.Struct, gc=False):
    bbox: _Box
    font: _Font
    text: str
    wmode: int = 0


class _Block(msgspec.Struct, gc=False):
    type: str
    lines: list[_Line] = []
    stroked: int = 0
    rectangle: int = 0


class _Document(msgspec.Struct, gc=False):
    blocks: list[_Block]


_DECODER = msgspec.json.Decoder(_Document)


def page_text(page: Any, *, strokes: bool = False) -> PageText:
    """Read a page of MuPDF's. Raises MuPDF's errors, MemoryError, and msgspec.DecodeError when its output makes no sense.

    The text goes through MuPDF's own JSON writer, which is twice as fast as PyMuPDF's `dict`.
    """
    from pymupdf import mupdf

    options = mupdf.FzStextOptions()
    options.flags = _CLIP | _VECTORS if strokes else _CLIP
    bounds = page.fz_bound_page()
    stext = mupdf.FzStextPage(bounds)
    device = mupdf.fz_new_stext_device(stext, options)
    page.fz_run_page(device, mupdf.FzMatrix(), mupdf.FzCookie())
    device.fz_close_device()
    buffer = mupdf.FzBuffer(32_768)
    output = mupdf.FzOutput(buffer)
    mupdf.fz_print_stext_page_as_json(output, stext, float(UNIT))
    output.fz_close_output()
    raw = buffer.fz_buffer_extract()
    if strokes and len(raw) > MOST_JSON:
        return page_text(page)  # a map or a drawing: its strokes would push out the text
    blocks = _decoded(raw).blocks
    return PageText(
        bounds.x1 - bounds.x0,
        bounds.y1 - bounds.y0,
        [piece for block in blocks for line in block.lines if (piece := _piece(line)).text],
        _strokes(stext, blocks) if strokes else [],
        stext,
    )


def _piece(line: _Line) -> Piece:
    box, font = line.bbox, line.font
    text = line.text.strip()
    if not text.isprintable():
        text = clean(text)
    elif " " in text and not text.isascii():
        text = _unspaced(text)
    size = font.size
    upright = line.wmode == 0 and (box.h <= 3 * size or len(text) < 3 or box.h < box.w)
    return Piece(text, box.x, box.y, box.x + box.w, box.y + box.h, size, font.weight == "bold" or "Bold" in font.name, upright)


def _unspaced(text: str) -> str:
    """Text without spaces between CJK characters."""
    if "  " in text:
        text = _CJK_SPACES.sub("", text)
    return _CJK_SPACE.sub("", text)


def clean(text: str) -> str:
    """Without what has no shape: control characters, special spaces, marks of direction, private characters."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return _unspaced(" ".join(shown.split()))


def _decoded(raw: bytes) -> _Document:
    """The JSON, cut where it is too long."""
    if len(raw) > MOST_JSON:
        end = raw.rfind(b'"},{"wmode"', 0, MOST_JSON)
        raw = raw[: end + 2] + b"]}]}" if end > 0 else b'{"blocks":[]}'
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Lone surrogates, or bare control characters in the name of a font.
        return _DECODER.decode(_CONTROLS.sub(" ", _SURROGATE_ESCAPE.sub(r"\1", raw.decode("utf-8", "ignore"))))


def _strokes(stext: Any, blocks: list[_Block]) -> list[Stroke]:
    """The vectors' boxes, which only the blocks themselves know; how they were drawn is only in the JSON."""
    vectors = [block for block in blocks if block.type == "vector"]
    if not vectors or len(vectors) > MOST_STROKES:
        return []
    found: list[Stroke] = []
    told = iter(vectors)
    block = stext.m_internal.first_block
    while block is not None:
        if block.type == _VECTOR_BLOCK:
            how = next(told, None)
            if how is None:
                break
            if how.rectangle:
                box = block.bbox
                x0, y0, x1, y1 = box.x0, box.y0, box.x1, box.y1
                if x0 > -_FAR and y0 > -_FAR and x1 < _FAR and y1 < _FAR:
                    found.append(Stroke(int(x0 * UNIT), int(y0 * UNIT), int(x1 * UNIT), int(y1 * UNIT), how.stroked != 0))
        block = block.next
    return found


def page_language(text: str) -> Language:
    """The language of a text by how it begins: a Chinese character counts as a word."""
    sample = text[:_TELLING]
    # A Chinese character has three bytes, and words stand between spaces: counting those is ten times faster than looking for either.
    chinese = (len(sample.encode()) - len(sample)) // 2
    if chinese > sample.count(" ") + sample.count("\n") and _CJK_LETTER.search(sample):
        return "zh"
    if _LATIN_WORD.search(sample):
        return "en"
    return "zh" if chinese and _CJK_LETTER.search(sample) else ""


def is_cjk(text: str) -> bool:
    """Whether a character is one between which and its like no space is written."""
    return bool(text) and _CJK_ONE.match(text) is not None
