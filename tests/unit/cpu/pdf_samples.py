"""PDFs made when a test asks for them: proper ones with PyMuPDF, bad ones byte by byte."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pymupdf

FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
ENGLISH = "The quick brown fox jumps over the lazy dog while seven wizards watch the river from afar"
CHINESE = "为了保证研究生学位论文的质量，规范学位授予工作，根据有关规定并结合学校实际情况，特制定本办法。"


def text_pdf(path: Path, pages: Sequence[Callable[[Any], None]], *, outline: Sequence[tuple[int, str, int]] = (), **save: Any) -> str:
    """A file with a page for each function, which draws on it."""
    document: Any = pymupdf.open()
    for draw in pages:
        draw(document.new_page())
    if outline:
        document.set_toc([list(entry) for entry in outline])
    document.save(path, **save)
    document.close()
    return str(path)


def write(page: Any, x: float, y: float, text: str, size: float = 11, font: str = "helv") -> None:
    """A line with its base line at y; Chinese text in the built-in Chinese font."""
    page.insert_text((x, y), text, fontsize=size, fontname=font if text.isascii() else "china-s")


def paragraph(page: Any, x: float, y: float, lines: Sequence[str], size: float = 11) -> None:
    for number, line in enumerate(lines):
        write(page, x, y + number * size * 1.4, line, size)


def grid(page: Any, x: float, y: float, rows: Sequence[Sequence[str]], *, width: float = 120, height: float = 20) -> None:
    """A table with all its rules."""
    shape = page.new_shape()
    for row in range(len(rows) + 1):
        shape.draw_line((x, y + row * height), (x + width * len(rows[0]), y + row * height))
    for column in range(len(rows[0]) + 1):
        shape.draw_line((x + column * width, y), (x + column * width, y + height * len(rows)))
    shape.finish(width=0.5)
    shape.commit()
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            write(page, x + column * width + 4, y + number * height + 14, text, 10)


def raw_pdf(path: Path, objects: Mapping[int, bytes], *, header: bytes = b"%PDF-1.7\n") -> str:
    """A file of these objects, whose first is the catalogue, with a proper table of where they are."""
    parts = [header]
    at = len(header)
    places = {}
    for number, body in objects.items():
        places[number] = at
        parts.append(b"%d 0 obj\n%s\nendobj\n" % (number, body))
        at += len(parts[-1])
    most = max(objects) + 1
    rows = [b"0000000000 65535 f \n"]
    rows += [b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 65535 f \n" for number in range(1, most)]
    parts.append(b"xref\n0 %d\n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (most, b"".join(rows), most, at))
    path.write_bytes(b"".join(parts))
    return str(path)


def stream(data: bytes, entries: bytes = b"", *, packed: bool = False) -> bytes:
    if packed:
        data, entries = zlib.compress(data, 1), entries + b" /Filter /FlateDecode"
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries, len(data), data)


def one_page(path: Path, content: bytes, more: Mapping[int, bytes] | None = None, *, page: bytes = b"", resources: bytes = b"") -> str:
    """A file of one page: 1 catalogue, 2 pages, 3 page, 4 content, 5 font F1; `more` from 6 on or in place of these."""
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> %s >> %s >>"
        % (resources, page),
        4: content if content.startswith(b"<<") else stream(content),
        5: FONT,
        **(more or {}),
    }
    return raw_pdf(path, objects)


HELLO = b"BT /F1 12 Tf 72 700 Td (Hello from a page that can be read) Tj ET"


def many_pages(path: Path, count: int) -> str:
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
    pages = dict.fromkeys(range(10, 10 + count), page)
    kids = b" ".join(b"%d 0 R" % number for number in pages)
    catalogue = b"<< /Type /Catalog /Pages 2 0 R >>"
    return raw_pdf(path, {1: catalogue, 2: b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count), 4: stream(HELLO), 5: FONT, **pages})


def deep_pages(path: Path, depth: int) -> str:
    """A page under a tree of pages as deep as that."""
    nodes = {
        10 + level: b"<< /Type /Pages /Parent %d 0 R /Kids [%d 0 R] /Count 1 >>" % (9 + level if level else 2, 11 + level)
        for level in range(depth)
    }
    page = b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>" % (9 + depth)
    top = b"<< /Type /Pages /Kids [10 0 R] /Count 1 >>"
    return raw_pdf(
        path, {1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: top, 4: stream(HELLO), 5: FONT, **nodes, 10 + depth: page}
    )  # fmt: skip


def looping_pages(path: Path) -> str:
    """A tree of pages whose branch is its own root."""
    top = b"<< /Type /Pages /Kids [3 0 R 2 0 R] /Count 3 >>"
    return one_page(path, HELLO, {2: top})


def looping_outline(path: Path) -> str:
    """An entry that comes after itself, below itself."""
    entry = b"<< /Title (Again) /Parent 6 0 R /Next 7 0 R /First 7 0 R /Last 7 0 R /Dest [3 0 R /Fit] >>"
    catalogue = b"<< /Type /Catalog /Pages 2 0 R /Outlines 6 0 R >>"
    return one_page(path, HELLO, {1: catalogue, 6: b"<< /Type /Outlines /First 7 0 R /Last 7 0 R /Count 1 >>", 7: entry})


def deep_outline(path: Path, depth: int) -> str:
    entries = {
        10 + level: b"<< /Title (Level %d) /Parent %d 0 R %s /Dest [3 0 R /Fit] >>"
        % (level, 9 + level if level else 6, b"/First %d 0 R /Last %d 0 R" % (11 + level, 11 + level) if level < depth - 1 else b"")
        for level in range(depth)
    }
    catalogue = b"<< /Type /Catalog /Pages 2 0 R /Outlines 6 0 R >>"
    return one_page(path, HELLO, {1: catalogue, 6: b"<< /Type /Outlines /First 10 0 R /Last 10 0 R >>", **entries})


def nested_objects(path: Path, depth: int) -> str:
    """An array in an array in an array …"""
    return one_page(path, HELLO, {6: b"[" * depth + b"]" * depth}, page=b"/PieceInfo 6 0 R")


def looping_form(path: Path) -> str:
    """A form that draws itself, twice."""
    form = stream(b"/X Do /X Do", b"/Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << /XObject << /X 6 0 R >> >>")
    return one_page(path, HELLO + b" /X Do", {6: form}, resources=b"/XObject << /X 6 0 R >>")


def form_bomb(path: Path, depth: int, times: int) -> str:
    """Forms that draw the next one `times` times: times ** depth in all."""
    forms = {}
    for level in range(depth):
        inner = b"/X Do " * times if level < depth - 1 else b"0 0 1 1 re f"
        entries = b"/Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << /XObject << /X %d 0 R >> >>" % (11 + level)
        forms[10 + level] = stream(inner, entries if level < depth - 1 else b"/Type /XObject /Subtype /Form /BBox [0 0 612 792]")
    return one_page(path, HELLO + b" /X Do", forms, resources=b"/XObject << /X 10 0 R >>")


def huge_image(path: Path, side: int) -> str:
    """A black and white picture of side × side, packed to nearly nothing."""
    packer = zlib.compressobj(1)
    row = bytes(side // 8)
    data = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    entries = b"/Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 1 /ColorSpace /DeviceGray /Filter /FlateDecode" % (
        side,
        side,
    )
    return one_page(path, HELLO + b" q 500 0 0 500 50 50 cm /I Do Q", {6: stream(data, entries)}, resources=b"/XObject << /I 6 0 R >>")


def many_glyphs(path: Path, count: int) -> str:
    lines = b" ".join(b"1 0 0 1 50 %d Tm (%s) Tj" % (50 + number % 700, b"a" * 1000) for number in range(count // 1000))
    return one_page(path, stream(b"BT /F1 0.01 Tf " + lines + b" ET", packed=True))


def many_lines(path: Path, count: int) -> str:
    """As many rectangles as that: a map."""
    return one_page(path, stream(HELLO + b"".join(b" %d %d 9 9 re S" % (n % 600, n % 780) for n in range(count)), packed=True))


def mapped(path: Path, codes: Mapping[int, str]) -> str:
    """A page of one line whose bytes stand for these codes, given in hexadecimal (UTF-16)."""
    rows = "".join(f"<{code:02x}> <{text}>\n" for code, text in codes.items())
    cmap = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def 1 begincodespacerange <00> <ff> endcodespacerange\n"
        f"{len(codes)} beginbfchar\n{rows}endbfchar endcmap end end"
    )
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>"
    line = b"BT /F1 12 Tf 72 700 Td <%s> Tj ET" % "".join(f"{code:02x}" for code in codes).encode()
    return one_page(path, line, {5: font, 6: stream(cmap.encode())})


def font_bomb(path: Path) -> str:
    """A font whose map claims each of four thousand million codes, and whose program is noise."""
    codes = b"<00000000> <ffffffff>"
    cmap = b"begincmap 1 begincodespacerange %s endcodespacerange 1 beginbfrange %s <0041> endbfrange endcmap" % (codes, codes)
    font = b"<< /Type /Font /Subtype /TrueType /BaseFont /Noise /FontDescriptor 7 0 R /ToUnicode 6 0 R /FirstChar 0 /LastChar 2147483647 >>"
    descriptor = b"<< /Type /FontDescriptor /FontName /Noise /Flags 4 /FontFile2 8 0 R >>"
    return one_page(path, HELLO, {5: font, 6: stream(cmap), 7: descriptor, 8: stream(b"\0\1\0\0" + bytes(range(256)) * 4)})


def zip_archive(path: Path) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "no document")
    return str(path)
