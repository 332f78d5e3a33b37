"""Reads a calendar from JSON or from a spreadsheet; run it in a thread, for files may be large."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any
from xml.etree.ElementTree import ParseError

import msgspec

from server.errors import Fields, Invalid
from server.messages import Text, text
from server.platform.schedules.calendars_model import Calendar

MAX_BYTES = 2 * 1024 * 1024
MAX_UNPACKED = 32 * 1024 * 1024
MAX_DATES = 5000
MAX_ERRORS = 50
MAX_NOTE = 200

_HEADERS = {
    "date": ("date", "day", "日期", "日子"),
    "kind": ("kind", "type", "类型", "类别", "休/班", "休班"),
    "note": ("note", "name", "description", "说明", "名称", "备注", "节日"),
}
_EXCLUDE = frozenset({"exclude", "excluded", "closed", "holiday", "off", "休", "休息", "放假", "休市", "节假日"})
_INCLUDE = frozenset({"include", "included", "open", "workday", "work", "班", "上班", "补班", "工作日", "开市"})
_DATE = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?(?:[T ]00:00(?::00)?)?")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")


class _Draft:
    """Collects dates, and what is wrong with them by field."""

    def __init__(self) -> None:
        self.exclude: set[date] = set()
        self.include: set[date] = set()
        self.notes: dict[date, str] = {}
        self.fields: Fields = {}

    def add(self, day: date, open_: bool, note: str) -> Text | None:
        """Take a date; the reason when it contradicts what was said before."""
        mine, other = (self.include, self.exclude) if open_ else (self.exclude, self.include)
        if day in other:
            return text("calendar.both", date=day.isoformat())
        mine.add(day)
        if note:
            self.notes[day] = note[:MAX_NOTE]
        return None

    def refuse(self, field: str, why: Text) -> None:
        if len(self.fields) < MAX_ERRORS:
            self.fields[field] = [why]

    def finish(self, **rest: Any) -> Calendar:
        if self.fields:
            raise Invalid(fields=self.fields)
        return Calendar(exclude=frozenset(self.exclude), include=frozenset(self.include), notes=self.notes, **rest)


# A file with none of these is some other file: taken for a calendar it would empty the one that it replaces.
_SAYS_SOMETHING = frozenset({"exclude", "include", "days", "weekdays", "include_only"})


def parse_calendar_json(data: bytes, field: str = "file") -> Calendar:
    """The calendar in a JSON object.

    Either our own: `name`, `description`, `exclude` and `include` (dates, or `{"date", "note"}`), `weekdays`, `include_only`; or
    `days`: a list of `{"date", "kind", "note"}`, in which `isOffDay` and `name` are read too, as the published lists of Chinese
    public holidays write them. Raises Invalid naming the place, such as `file.exclude[3]`.
    """
    _check_size(data, field)
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid.field(field, "calendar.unreadable", format="JSON", detail=str(error)) from error
    if not isinstance(body, dict):
        raise Invalid.field(field, "field.type", expected="object", got="array" if isinstance(body, list) else type(body).__name__)

    draft = _Draft()
    count = 0
    for key in ("exclude", "include", "days"):
        items = body.get(key)
        if items is None:
            continue
        if not isinstance(items, list):
            draft.refuse(f"{field}.{key}", text("field.type", expected="array", got=type(items).__name__))
            continue
        count += len(items)
        _check_count(count, field)
        for index, item in enumerate(items):
            _take_item(draft, f"{field}.{key}[{index}]", item if isinstance(item, dict) else {"date": item}, key)
    calendar = draft.finish(
        name=_read_string(draft, body, "name", field),
        description=_read_string(draft, body, "description", field),
        weekdays=_read_weekdays(draft, body.get("weekdays"), field),
        include_only=_read_flag(draft, body.get("include_only", False), field),
    )
    if not _SAYS_SOMETHING & set(body):
        raise Invalid.field(field, "calendar.says_nothing", parts=", ".join(sorted(_SAYS_SOMETHING)))
    return calendar


def _take_item(draft: _Draft, where: str, item: dict[str, Any], key: str) -> None:
    day = find_date(item.get("date"))
    if day is None:
        draft.refuse(where, text("calendar.date", value=_short(item.get("date"))))
        return
    open_: bool | None = key == "include"
    if key == "days":
        off = item.get("isOffDay")
        open_ = not off if isinstance(off, bool) else find_kind(item.get("kind"))
        if open_ is None:
            draft.refuse(f"{where}.kind", text("calendar.kind", value=_short(item.get("kind"))))
            return
    note = item.get("note") or item.get("name") or ""
    why = draft.add(day, bool(open_), str(note))
    if why is not None:
        draft.refuse(where, why)


def _read_string(draft: _Draft, body: dict[str, Any], key: str, field: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str):
        draft.refuse(f"{field}.{key}", text("field.type", expected="string", got=type(value).__name__))
        return ""
    return value


def _read_weekdays(draft: _Draft, value: Any, field: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(day, int) and not isinstance(day, bool) and 1 <= day <= 7 for day in value):
        draft.refuse(f"{field}.weekdays", text("calendar.weekdays"))
        return None
    return tuple(sorted(set(value)))


def _read_flag(draft: _Draft, value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        draft.refuse(f"{field}.include_only", text("field.type", expected="boolean", got=type(value).__name__))
    return value is True


def parse_calendar_xlsx(data: bytes, field: str = "file") -> Calendar:
    """The calendar in the first sheet of a spreadsheet: a header row, then a date, a kind (exclude when empty) and a note a row.

    Dates are date cells or text. Raises Invalid naming row and column, such as `file.row[3].date`, rows counted as in the sheet.
    """
    # It brings numpy along: loaded when the first spreadsheet comes.
    from openpyxl.utils.exceptions import InvalidFileException

    _check_size(data, field)
    try:
        _check_unpacked(data, field)
        rows = list(_rows(data))
    except (
        zipfile.BadZipFile, InvalidFileException, ParseError, zlib.error, KeyError, ValueError, TypeError, IndexError, AttributeError,
        OSError, EOFError, NotImplementedError, RuntimeError,
    ) as error:  # openpyxl has no error of its own for a damaged file  # fmt: skip
        raise Invalid.field(field, "calendar.unreadable", format="xlsx", detail=str(error)[:200] or type(error).__name__) from error
    columns = _read_header(rows[0]) if rows else {}
    if "date" not in columns:
        raise Invalid.field(f"{field}.row[1]", "calendar.header")
    _check_count(len(rows) - 1, field)

    draft = _Draft()
    for number, row in enumerate(rows[1:], start=2):
        if all(cell is None or str(cell).strip() == "" for cell in row):
            continue
        cells = {key: row[place] if place < len(row) else None for key, place in columns.items()}
        _take_row(draft, cells, number, {key: str(rows[0][place]).strip() for key, place in columns.items()}, field)
    return draft.finish()


def _take_row(draft: _Draft, cells: dict[str, Any], number: int, titles: dict[str, str], field: str) -> None:
    def refuse(key: str, why: Text) -> None:
        draft.refuse(f"{field}.row[{number}].{key}", text("calendar.cell", row=number, column=titles[key], why=why))

    day = find_date(cells["date"])
    if day is None:
        refuse("date", text("calendar.date", value=_short(cells["date"])))
        return
    kind = cells.get("kind")
    open_ = False if kind is None or str(kind).strip() == "" else find_kind(kind)
    if open_ is None:
        refuse("kind", text("calendar.kind", value=_short(kind)))
        return
    why = draft.add(day, open_, str(cells.get("note") or "").strip())
    if why is not None:
        refuse("date", why)


def _rows(data: bytes) -> Iterator[tuple[Any, ...]]:
    """The rows of the first sheet; one more than allowed, so that too many can be told."""
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    try:
        if not book.worksheets:
            return
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what the file claims about its size may be wrong
        for number, row in enumerate(sheet.iter_rows(values_only=True, max_col=30)):
            if number > MAX_DATES + 1:
                return
            yield row
    finally:
        book.close()


def _read_header(row: tuple[Any, ...]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for place, cell in enumerate(row):
        title = str(cell or "").strip().lower()
        for key, titles in _HEADERS.items():
            if title in titles:
                columns.setdefault(key, place)
    return columns


def find_date(value: Any) -> date | None:
    """The date in a cell or a string: 2026-01-01, 2026/1/1, 2026.1.1, 20260101, 2026年1月1日; None when it is none."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    written = value.strip() if isinstance(value, str) else str(int(value))
    match = _DATE.fullmatch(written) or _COMPACT.fullmatch(written)
    if match is None:
        return None
    try:
        return date(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def find_kind(value: Any) -> bool | None:
    """True for an open date, False for a closed one, None when the word is not known."""
    word = str(value or "").strip().lower()
    return True if word in _INCLUDE else False if word in _EXCLUDE else None


def _check_size(data: bytes, field: str) -> None:
    if len(data) > MAX_BYTES:
        raise Invalid.field(field, "calendar.too_large", limit=f"{MAX_BYTES // 1024 // 1024} MiB")


def _check_unpacked(data: bytes, field: str) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
            raise Invalid.field(field, "calendar.too_large", limit=f"{MAX_UNPACKED // 1024 // 1024} MiB")


def _check_count(count: int, field: str) -> None:
    if count > MAX_DATES:
        raise Invalid.field(field, "calendar.too_many", limit=MAX_DATES)


def _short(value: Any) -> str:
    return str(value)[:60]
