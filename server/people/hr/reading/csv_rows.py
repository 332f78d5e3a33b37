"""Rows of a CSV file, in pages: its encoding and separator worked out, and every row as long as the header."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Generator
from pathlib import Path
from typing import IO

from server.messages import text
from server.people.hr.reading.pages import MOST_ROWS, PAGE_ROWS, Page, RawRow
from server.people.hr.reading.watched import opened
from server.people.hr.refusals import EncodingUnclear, FileUnusable, RowsIncomplete, SourceTooLarge

CHUNK = 1 << 20
SEPARATORS = ",;\t|"
MOST_COLUMNS = 200


def csv_pages(file: Path, encoding: str, delimiter: str) -> Generator[Page, None, None]:
    """Raises EncodingUnclear, FileUnusable, RowsIncomplete and SourceTooLarge. Empty lines are passed over."""
    with opened(file) as stream:
        found = _encoding(stream, encoding)
        stream.seek(0)
        lines = io.TextIOWrapper(stream, encoding=found, newline="")
        try:
            yield from _pages(lines, file.name, delimiter)
        except csv.Error as error:  # a quote that is never closed: cut off
            raise FileUnusable(name=file.name, why=text("hr.source.unreadable", detail=str(error))) from None
        finally:
            lines.detach()


def _pages(lines: io.TextIOWrapper, name: str, delimiter: str) -> Generator[Page, None, None]:
    first = lines.readline(CHUNK)
    lines.seek(0)
    rows = csv.reader(lines, delimiter=_separator(first) if delimiter == "auto" else delimiter, strict=True)
    header = [title.strip() for title in next((row for row in rows if any(row)), [])]
    _check_header(header, name)
    page: list[RawRow] = []
    count = 0
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        count += 1
        if count > MOST_ROWS:
            raise SourceTooLarge(limit=MOST_ROWS)
        if len(row) != len(header):
            why = text("hr.source.row_length", expected=len(header), got=len(row))
            raise RowsIncomplete(what=text("hr.source.what_line"), row=rows.line_num, field="*", why=why)
        page.append(dict(zip(header, row, strict=True)))
        if len(page) == PAGE_ROWS:
            yield Page(page)
            page = []
    if page:
        yield Page(page)


def _check_header(header: list[str], name: str) -> None:
    named = [title for title in header if title]
    if not named:
        raise FileUnusable(name=name, why=text("hr.source.no_header"))
    if len(set(named)) != len(named) or len(header) > MOST_COLUMNS:
        raise FileUnusable(name=name, why=text("hr.source.bad_header"))


def _separator(header: str) -> str:
    """The one that the header has most of."""
    return max(SEPARATORS, key=header.count)


def _encoding(stream: IO[bytes], wanted: str) -> str:
    """The encoding that the whole file can be read in: with `auto` UTF-8, else GB18030, which takes in GBK and GB2312."""
    if wanted == "auto" and stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        wanted = "utf-16"
    choices = {"auto": ("utf-8-sig", "gb18030"), "utf-8": ("utf-8-sig",)}.get(wanted, (wanted,))
    for encoding in choices:
        if _is_readable(stream, encoding):
            return encoding
    raise EncodingUnclear(detail=", ".join(choices))


def _is_readable(stream: IO[bytes], encoding: str) -> bool:
    stream.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := stream.read(CHUNK):
            written = decoder.decode(chunk)
            if "\x00" in written or "\ufffd" in written:  # binary, or spoilt by whoever decoded it before
                return False
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True
