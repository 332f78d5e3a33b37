"""Rows of a sheet of an Excel file, in pages, read as a stream."""

from __future__ import annotations

import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from jobs.cpu.sheets import DAMAGED, DOCTYPE, LARGEST_NUMBER
from server.messages import text
from server.people.hr.reading.pages import MOST_ROWS, PAGE_ROWS, Page, RawRow
from server.people.hr.reading.watched import opened
from server.people.hr.refusals import FileUnusable, RowsIncomplete, SnapshotRefused, SourceTooLarge

MOST_UNPACKED = 1 << 30
MOST_PARTS = 1000
MOST_COLUMNS = 200


def xlsx_pages(file: Path, sheet: str) -> Generator[Page, None, None]:
    """The rows of the sheet of that name, else of the first. Raises FileUnusable, RowsIncomplete and SourceTooLarge."""
    with opened(file) as stream:
        try:
            _check_archive(stream, file.name)
            yield from _pages(stream, file.name, sheet)
        except SnapshotRefused:
            raise
        except DAMAGED as error:
            raise FileUnusable(name=file.name, why=text("hr.source.no_xlsx", detail=str(error)[:100])) from None


def _check_archive(stream: IO[bytes], name: str) -> None:
    """Before anything is unpacked: how large it says it becomes (zipfile reads no more than that), and no document types."""
    with zipfile.ZipFile(stream) as archive:
        parts = archive.infolist()
        if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED:
            raise SourceTooLarge(limit=f"{MOST_UNPACKED >> 20} MiB")
        if any(part.flag_bits & 1 for part in parts):
            raise FileUnusable(name=name, why=text("hr.source.no_xlsx", detail="encrypted"))
        for part in parts:
            with archive.open(part) as start:
                if DOCTYPE.search(start.read(2048)):
                    raise FileUnusable(name=name, why=text("hr.source.no_xlsx", detail="DOCTYPE"))
    stream.seek(0)


def _pages(stream: IO[bytes], name: str, wanted: str) -> Generator[Page, None, None]:
    from openpyxl import load_workbook

    book = load_workbook(stream, read_only=True, data_only=True)
    try:
        if wanted and wanted not in book.sheetnames:
            raise FileUnusable(name=name, why=text("hr.source.no_sheet", sheet=wanted))
        if not book.worksheets:
            raise FileUnusable(name=name, why=text("hr.source.no_header"))
        sheet = book[wanted] if wanted else book.worksheets[0]
        sheet.reset_dimensions()  # what the file claims about its size may be wrong
        header: list[str] = []
        page: list[RawRow] = []
        count = 0
        for number, cells in enumerate(sheet.iter_rows(max_col=MOST_COLUMNS), start=1):
            if all(cell.value is None or cell.value == "" for cell in cells):
                continue
            if not header:
                header = _header([cell.value for cell in cells], name)
                continue
            count += 1
            if count > MOST_ROWS:
                raise SourceTooLarge(limit=MOST_ROWS)
            page.append(_row(header, cells, number))
            if len(page) == PAGE_ROWS:
                yield Page(page)
                page = []
        if page:
            yield Page(page)
    finally:
        book.close()


def _header(values: list[Any], name: str) -> list[str]:
    header = ["" if value is None else str(value).strip() for value in values]
    named = [title for title in header if title]
    if len(set(named)) != len(named):
        raise FileUnusable(name=name, why=text("hr.source.bad_header"))
    return header


def _row(header: list[str], cells: tuple[Any, ...], number: int) -> RawRow:
    """Raises RowsIncomplete for a cell whose formula failed: what HR meant is not there."""
    row: RawRow = {}
    for title, cell in zip(header, cells, strict=False):
        if not title or cell.value is None:
            continue
        if cell.data_type == "e":
            why = text("field.value", detail=str(cell.value))
            raise RowsIncomplete(what=text("hr.source.what_line"), row=number, field=title, why=why)
        value = cell.value
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= LARGEST_NUMBER:
            value = float(value)  # Excel has made its last digits zeros; as a float it is seen to be of no use
        row[title] = value
    return row
