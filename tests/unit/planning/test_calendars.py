"""Calendars: which dates are open, and reading them from JSON and spreadsheets."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import date, datetime
from typing import Any

import msgspec
import pytest
from openpyxl import Workbook

from server.errors import Invalid
from server.platform.schedules.calendar_files import find_date, parse_calendar_json, parse_calendar_xlsx
from server.platform.schedules.calendars_model import Calendar, ClosedBy

HOLIDAY, MAKE_UP, SATURDAY, MONDAY = date(2026, 10, 1), date(2026, 10, 10), date(2026, 10, 17), date(2026, 10, 12)


def make_sheet(*rows: tuple[Any, ...]) -> bytes:
    book = Workbook()
    assert book.active is not None
    for row in rows:
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def refusal(parse: Any, data: bytes) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        parse(data)
    return {field: reasons[0].english() for field, reasons in caught.value.fields.items()}


def test_a_working_calendar_with_make_up_days() -> None:
    calendar = Calendar(exclude=frozenset({HOLIDAY}), include=frozenset({MAKE_UP}), weekdays=(1, 2, 3, 4, 5))
    assert calendar.find_closed(HOLIDAY) is ClosedBy.EXCLUDED
    assert calendar.find_closed(SATURDAY) is ClosedBy.WEEKDAY
    assert calendar.is_open(MAKE_UP), "a Saturday that is worked"
    assert calendar.is_open(MONDAY)


def test_an_excluded_date_stays_closed_even_when_included() -> None:
    assert Calendar(exclude=frozenset({MONDAY}), include=frozenset({MONDAY})).find_closed(MONDAY) is ClosedBy.EXCLUDED


def test_include_only_opens_listed_dates_alone() -> None:
    calendar = Calendar(include=frozenset({MONDAY, MAKE_UP}), exclude=frozenset({MAKE_UP}), include_only=True)
    assert calendar.is_open(MONDAY)
    assert calendar.find_closed(SATURDAY) is ClosedBy.NOT_INCLUDED
    assert calendar.find_closed(MAKE_UP) is ClosedBy.EXCLUDED


def test_an_empty_calendar_is_always_open() -> None:
    assert all(Calendar().is_open(day) for day in (HOLIDAY, MAKE_UP, SATURDAY, MONDAY))


def test_a_calendar_survives_json() -> None:
    calendar = Calendar(name="cn", exclude=frozenset({HOLIDAY}), weekdays=(1, 2), notes={HOLIDAY: "国庆节"})
    assert msgspec.json.decode(msgspec.json.encode(calendar), type=Calendar) == calendar


def test_our_own_json() -> None:
    body = {
        "name": "cn-trading", "description": "…", "exclude": ["2026-10-01", {"date": "2026/10/2", "note": "国庆节"}],
        "include": ["20261010"], "weekdays": [5, 1, 2, 3, 4],
    }  # fmt: skip
    calendar = parse_calendar_json(json.dumps(body).encode())
    assert calendar.name == "cn-trading"
    assert calendar.exclude == {HOLIDAY, date(2026, 10, 2)}
    assert calendar.include == {MAKE_UP}
    assert calendar.weekdays == (1, 2, 3, 4, 5)
    assert calendar.notes == {date(2026, 10, 2): "国庆节"}


def test_the_published_form_of_chinese_holidays() -> None:
    body = {
        "year": 2026,
        "days": [
            {"name": "国庆节", "date": "2026-10-01", "isOffDay": True}, {"name": "国庆节", "date": "2026-10-10", "isOffDay": False},
            {"date": "2026-10-02", "kind": "休"},
        ],
    }  # fmt: skip
    calendar = parse_calendar_json(json.dumps(body).encode())
    assert calendar.exclude == {HOLIDAY, date(2026, 10, 2)}
    assert calendar.include == {MAKE_UP}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"exclude": ["2026-10-01", "2026-02-30"]}, "file.exclude[1]"),
        ({"exclude": ["2026-10-01"], "include": ["2026-10-01"]}, "file.include[0]"),
        ({"exclude": "2026-10-01"}, "file.exclude"),
        ({"days": [{"date": "2026-10-01", "kind": "maybe"}]}, "file.days[0].kind"),
        ({"weekdays": [0]}, "file.weekdays"),
        ({"weekdays": 5}, "file.weekdays"),
        ({"include_only": "yes"}, "file.include_only"),
        ({"name": 5}, "file.name"),
        ([1], "file"),
    ],
)
def test_bad_json_names_the_place(body: Any, field: str) -> None:
    assert list(refusal(parse_calendar_json, json.dumps(body).encode())) == [field]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    assert "Not a readable JSON file" in refusal(parse_calendar_json, data)["file"]


def test_bounds_of_json() -> None:
    assert "2 MiB" in refusal(parse_calendar_json, b" " * (2 * 1024 * 1024 + 1))["file"]
    assert "5000" in refusal(parse_calendar_json, json.dumps({"exclude": ["2026-01-01"] * 5001}).encode())["file"]


def test_a_sheet_with_a_chinese_header() -> None:
    calendar = parse_calendar_xlsx(
        make_sheet(
            ("日期", "类型", "说明"),
            (datetime(2026, 10, 1), "休", "国庆节"),
            ("2026年10月10日", "班", None),
            (None, None, None),
            (20261002, None, ""),
        )
    )
    assert calendar.exclude == {HOLIDAY, date(2026, 10, 2)}
    assert calendar.include == {MAKE_UP}
    assert calendar.notes == {HOLIDAY: "国庆节"}


def test_columns_go_by_their_titles() -> None:
    calendar = parse_calendar_xlsx(make_sheet(("Note", "Kind", "ignored", "Date"), ("x", "Include", 1, "2026-10-10")))
    assert calendar.include == {MAKE_UP}
    assert calendar.notes == {MAKE_UP: "x"}


def test_bad_cells_name_row_and_column() -> None:
    found = refusal(
        parse_calendar_xlsx,
        make_sheet(("日期", "类型"), ("soon", "休"), ("2026-10-01", "调休"), ("2026-10-02", "休"), ("2026-10-02", "班")),
    )
    assert list(found) == ["file.row[2].date", "file.row[3].kind", "file.row[5].date"]
    assert found["file.row[2].date"].startswith("Row 2, column 日期: soon is not a date")


@pytest.mark.parametrize("rows", [(), (("a", "b"), ("2026-10-01", "休")), (("类型",), ("休",))])
def test_a_sheet_without_a_date_column(rows: tuple[tuple[str, ...], ...]) -> None:
    assert list(refusal(parse_calendar_xlsx, make_sheet(*rows))) == ["file.row[1]"]


def test_a_damaged_sheet_is_refused() -> None:
    whole = make_sheet(("date",), ("2026-10-01",))
    for data in (
        b"",
        b"PK\x03\x04",
        b"hello",
        whole[: len(whole) // 2],
        make_archive({"x": b"y"}),
        make_archive({"[Content_Types].xml": b"<"}),
    ):
        assert "Not a readable xlsx file" in refusal(parse_calendar_xlsx, data)["file"]


def test_a_sheet_that_unpacks_to_too_much_is_refused() -> None:
    assert "32 MiB" in refusal(parse_calendar_xlsx, make_archive({"bomb": b"\0" * (33 * 1024 * 1024)}))["file"]


def test_too_many_rows_are_refused() -> None:
    assert "5000" in refusal(parse_calendar_xlsx, make_sheet(("date",), *(("2026-10-01",) for _ in range(5001))))["file"]


def make_archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "written",
    [
        "2026-10-01",
        "2026/10/1",
        "2026.10.01",
        "20261001",
        "2026年10月1日",
        " 2026-10-01 ",
        "2026-10-01T00:00:00",
        "2026-10-01 00:00:00",
        20261001,
    ],
)
def test_ways_to_write_a_date(written: Any) -> None:
    assert find_date(written) == HOLIDAY


@pytest.mark.parametrize("written", ["", "2026-13-01", "2026-02-29", "26-10-01", "1 Oct 2026", None, True, 1.5, [], "2026-10-01 09:00"])
def test_what_is_no_date(written: Any) -> None:
    assert find_date(written) is None
