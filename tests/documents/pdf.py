"""Small PDFs made by hand: lines of Latin or Chinese text, one font each, nothing embedded."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT, LEFT, TOP, LEADING = 595, 842, 72, 100, 24
LATIN = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
# Predefined in every reader: text is UTF-16, and no font file is needed.
CHINESE = (
    b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H /DescendantFonts [ << /Type /Font "
    b"/Subtype /CIDFontType0 /BaseFont /STSong-Light /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> "
    b"/DW 1000 /FontDescriptor << /Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [0 -200 1000 900] "
    b"/ItalicAngle 0 /Ascent 880 /Descent -120 /CapHeight 880 /StemV 80 >> >> ] >>"
)


def pdf(*pages: Sequence[str]) -> bytes:
    """A PDF with the given lines on each page, at 12 points."""
    objects = [b"", b"", LATIN, CHINESE]  # catalog and page tree come when the pages are known
    kids = []
    for lines in pages:
        content = b"\n".join(_line(number, line) for number, line in enumerate(lines))
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents %d 0 R /Resources << /Font << /L 3 0 R /C 4 0 R >> >> >>"
            % (WIDTH, HEIGHT, len(objects))
        )
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % kid for kid in kids), len(kids))
    return _file(objects)


def _line(number: int, line: str) -> bytes:
    at = b"1 0 0 1 %d %d Tm" % (LEFT, HEIGHT - TOP - LEADING * number)
    if line.isascii():
        escaped = line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode()
        return b"BT /L 12 Tf %s (%s) Tj ET" % (at, escaped)
    return b"BT /C 12 Tf %s <%s> Tj ET" % (at, line.encode("utf-16-be").hex().encode())


def _file(objects: Sequence[bytes]) -> bytes:
    out, offsets = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
