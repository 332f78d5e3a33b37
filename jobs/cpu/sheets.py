"""What worker processes do with spreadsheets: read one that was sent, write one to be fetched.

What goes in and out of a worker is JSON in pieces of PIECE rows, so that the server never unpacks many rows at a time.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, ClassVar

import msgspec

PIECE = 500
MOST_ROWS = 20_000
MOST_COLUMNS = 40
# Twenty thousand rows of seven long columns take about 20 MiB unpacked.
MOST_UNPACKED = 96 << 20
MOST_PARTS = 500
LONGEST_CELL = 1000
# Excel keeps 15 digits of a number and makes the rest zeros.
LARGEST_NUMBER = 10**15
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
# What XML cannot carry.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
# What openpyxl and what it stands on raise for a damaged file: it has no error of its own, and ElementTree's is a SyntaxError.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, SyntaxError, KeyError, ValueError, TypeError, IndexError, AttributeError, OSError, EOFError,
    NotImplementedError, RuntimeError, AssertionError,
)  # fmt: skip
DOCTYPE = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)|<\x00!\x00|\x00<\x00!", re.IGNORECASE)


class SheetRow(msgspec.Struct, array_like=True):
    """A row by its number in the sheet, its cells by column, and what is wrong with cells: column, reason, row that it repeats or 0."""

    number: int
    cells: dict[str, str]
    wrong: list[tuple[str, str, int]]


class ReadSheet(msgspec.Struct):
    """`pieces` are JSON lists of SheetRow; `ignored` are headers that mean nothing here."""

    pieces: list[bytes]
    rows: int
    ignored: list[str]


class SheetError(Exception):
    """The file cannot be taken as such a sheet; `code` says why."""

    code: ClassVar[str] = "not_xlsx"


class SheetTooLarge(SheetError):
    """Much larger once unpacked, or with declarations that make a reader work without end."""

    code = "too_large"


class SheetTooLong(SheetError):
    code = "too_long"


class SheetEmpty(SheetError):
    code = "empty"


class SheetHeader(SheetError):
    """The column that each row needs is missing, or there is a column twice."""

    code = "header"


def read_sheet(data: bytes, names: Mapping[str, str], needed: str, unique: Sequence[str], longest: int = LONGEST_CELL) -> ReadSheet:
    """The rows of the first sheet; `names` gives the column for a header in small letters. Raises SheetError.

    The column `needed` must be there. What comes twice in a column of `unique`, without regard to case, is wrong from the second on.
    `longest`: characters of a cell.
    """
    _check_archive(data)
    try:
        return _collect(_rows(data), names, needed, unique, longest)
    except DAMAGED as error:
        raise SheetError(str(error)[:200]) from None


def write_sheet(
    title: str, header: Sequence[str], pieces: Sequence[bytes], notes: Sequence[Sequence[str]] = (), notes_title: str = ""
) -> bytes:
    """An xlsx with a bold header and the rows of `pieces`, JSON lists of lists of text; every cell is text, and none a formula.

    `notes` make a second sheet.
    """
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font

    book = Workbook(write_only=True)
    sheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"

    def cell(value: str, *, bold: bool = False) -> Any:
        value = _UNWRITABLE.sub("", value)[:32_000]
        made = WriteOnlyCell(sheet, value=value)
        made.data_type = "s"  # openpyxl takes a text that begins with = for a formula
        if value.startswith(_FORMULA_STARTS):
            made.quotePrefix = True  # so that it stays text when somebody edits the cell
        if bold:
            made.font = Font(bold=True)
        return made

    sheet.append([cell(name, bold=True) for name in header])
    decode = msgspec.json.Decoder(list[list[str]]).decode
    for piece in pieces:
        for row in decode(piece):
            sheet.append([cell(value) if value else None for value in row])
    if notes:
        sheet = book.create_sheet(notes_title)
        for note in notes:
            sheet.append([cell(value) for value in note])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _check_archive(data: bytes) -> None:
    """Before anything is unpacked: how large it says it becomes (zipfile reads no more than that), and no document types."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED:
                raise SheetTooLarge()
            if len({part.filename for part in parts}) != len(parts) or any(part.flag_bits & 1 for part in parts):
                raise SheetError("parts with one name, or encrypted")
            for part in parts:
                with archive.open(part) as opened:
                    if DOCTYPE.search(opened.read(2048)):
                        raise SheetTooLarge()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError) as error:
        raise SheetError(str(error)[:200]) from None


def _rows(data: bytes) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Number and cells of each row of the first sheet."""
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(data), read_only=True)
    try:
        if not book.worksheets:
            return
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what the file claims about its size may be wrong
        yield from enumerate(sheet.iter_rows(max_col=MOST_COLUMNS), start=1)
    finally:
        book.close()


def _collect(
    rows: Iterator[tuple[int, tuple[Any, ...]]], names: Mapping[str, str], needed: str, unique: Sequence[str], longest: int
) -> ReadSheet:
    _, header = next(rows, (0, ()))
    titles = [str(cell.value).strip() if cell.value is not None else "" for cell in header]
    columns = {place: names[title.casefold()] for place, title in enumerate(titles) if title.casefold() in names}
    if needed not in columns.values() or len(set(columns.values())) != len(columns):
        raise SheetHeader()
    seen: dict[str, dict[str, int]] = {column: {} for column in unique}
    pieces: list[bytes] = []
    waiting: list[SheetRow] = []
    count = 0
    for number, cells in rows:
        row = _row(number, cells, columns, longest)
        if not row.cells and not row.wrong:
            continue
        count += 1
        if count > MOST_ROWS:
            raise SheetTooLong()
        for column, held in seen.items():
            key = row.cells.get(column, "").casefold()
            if key and held.setdefault(key, number) != number:
                row.wrong.append((column, "twice", held[key]))
        waiting.append(row)
        if len(waiting) == PIECE:
            pieces.append(msgspec.json.encode(waiting))
            waiting = []
    if waiting:
        pieces.append(msgspec.json.encode(waiting))
    if not count:
        raise SheetEmpty()
    ignored = [title[:100] for place, title in enumerate(titles) if title and place not in columns]
    return ReadSheet(pieces, count, ignored)


def _row(number: int, cells: Sequence[Any], columns: Mapping[int, str], longest: int) -> SheetRow:
    row = SheetRow(number, {}, [])
    for place, column in columns.items():
        if place >= len(cells) or cells[place].value is None:
            continue
        cell = cells[place]
        if cell.data_type == "f":
            row.wrong.append((column, "formula", 0))
        elif cell.data_type == "e":
            row.wrong.append((column, "error", 0))
        elif isinstance(cell.value, (int, float)) and not isinstance(cell.value, bool) and abs(cell.value) >= LARGEST_NUMBER:
            row.wrong.append((column, "digits", 0))
        elif written := _text(cell.value):
            if len(written) > longest:
                row.wrong.append((column, "too_long", 0))
            else:
                row.cells[column] = written
    return row


def _text(value: Any) -> str:
    """A cell as one would type it: 20230001 also when Excel keeps it as 20230001.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    # A lone half of a surrogate pair is no text that could be stored.
    return str(value).encode("utf-8", "replace").decode().strip()
