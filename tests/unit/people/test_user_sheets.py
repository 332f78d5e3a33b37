"""Sheets of users: what is read out of a file somebody sent, what is refused, and that nothing written is a formula."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import msgspec
import openpyxl
import pytest

from jobs.cpu import sheets
from jobs.cpu.sheets import SheetEmpty, SheetError, SheetHeader, SheetRow, SheetTooLarge, SheetTooLong
from jobs.cpu.user_sheets import read_user_sheet, write_user_sheet
from server.people.user_import_plan import HEADER_NAMES

HEADER = ["用户名", "姓名", "Email", "角色"]


def sheet(rows: Sequence[Sequence[Any]], header: Sequence[str] = HEADER) -> bytes:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (header, *rows):
        book.active.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def read(data: bytes) -> list[SheetRow]:
    return [row for piece in read_user_sheet(data, HEADER_NAMES).pieces for row in msgspec.json.decode(piece, type=list[SheetRow])]


def changed(data: bytes, part: str, change: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for one in old.infolist():
            content = old.read(one)
            new.writestr(one.filename, change(content) if one.filename == part else content)
    return out.getvalue()


def test_rows_as_one_would_type_them() -> None:
    rows = read(sheet([[20230001, " 李明 ", "li@x.cn", None], [20230002.0, True, None, None], [None, None], ["", " "], ["w", None]]))
    assert [(row.number, row.cells) for row in rows] == [
        (2, {"username": "20230001", "name": "李明", "email": "li@x.cn"}),
        (3, {"username": "20230002", "name": "True"}),
        (6, {"username": "w"}),
    ]
    assert all(row.wrong == [] for row in rows)


def test_headers_in_both_languages_and_what_they_do_not_mean() -> None:
    found = read_user_sheet(sheet([["a", "b", "c"]], ["备注", "User Name", "姓名"]), HEADER_NAMES)
    assert found.ignored == ["备注"]
    assert msgspec.json.decode(found.pieces[0]) == [[2, {"username": "b", "name": "c"}, []]]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("=1+1", "formula"),
        ('=HYPERLINK("http://x","y")', "formula"),
        ("#REF!", "error"),
        (1234567890123456789, "digits"),
        ("x" * 1001, "too_long"),
    ],
)
def test_cells_that_are_wrong(value: Any, reason: str) -> None:
    assert read(sheet([["u", value]]))[0].wrong == [("name", reason, 0)]


def test_what_comes_twice() -> None:
    rows = read(sheet([["Ann", "", "a@x.cn"], ["bob", "", "A@X.cn"], ["ANN"]]))
    assert [row.wrong for row in rows] == [[], [("email", "twice", 2)], [("username", "twice", 2)]]


def test_pieces_and_the_most_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "PIECE", 2)
    monkeypatch.setattr(sheets, "MOST_ROWS", 5)
    names = [[f"u{number}"] for number in range(6)]
    found = read_user_sheet(sheet(names[:5]), HEADER_NAMES)
    assert (found.rows, [len(msgspec.json.decode(piece)) for piece in found.pieces]) == (5, [2, 2, 1])
    with pytest.raises(SheetTooLong):
        read(sheet(names))


@pytest.mark.parametrize(("header", "rows"), [(["姓名"], [["a"]]), ([], []), (["用户名", "username"], [["a", "b"]])])
def test_headers_that_do_not_do(header: list[str], rows: list[list[str]]) -> None:
    with pytest.raises(SheetHeader):
        read(sheet(rows, header))


def test_no_rows() -> None:
    with pytest.raises(SheetEmpty):
        read(sheet([]))


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x03\x04", b"PK\x05\x06" + 18 * b"\0", b"username,name\nu,n\n", sheet([["u"]])[:-200]])
def test_what_is_no_sheet(data: bytes) -> None:
    with pytest.raises(SheetError):
        read(data)


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "[Content_Types].xml"])
@pytest.mark.parametrize(
    "content", [b"", b"<", b"<a/>", b"\xff\xfe", b"<worksheet><sheetData><row r='x'><c r='1A'/></row></sheetData></worksheet>"]
)
def test_damaged_parts(part: str, content: bytes) -> None:
    with pytest.raises(SheetError):
        read(changed(sheet([["u"]]), part, lambda _: content))


@pytest.mark.parametrize(
    "start", [b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<?xml version='1.0'?>\n<!doctype a>", "<!DOCTYPE a>".encode("utf-16")]
)
def test_document_types_are_not_even_parsed(start: bytes) -> None:
    with pytest.raises(SheetTooLarge):
        read(changed(sheet([["u"]]), "xl/worksheets/sheet1.xml", lambda content: start + content))


def test_a_bomb_is_not_unpacked() -> None:
    out = io.BytesIO(sheet([["u"]]))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/bomb.xml", bytes(sheets.MOST_UNPACKED))
    assert len(out.getvalue()) < 1 << 20
    with pytest.raises(SheetTooLarge):
        read(out.getvalue())


def test_many_parts() -> None:
    out = io.BytesIO(sheet([["u"]]))
    with zipfile.ZipFile(out, "a") as archive:
        for number in range(sheets.MOST_PARTS):
            archive.writestr(f"x/{number}", b"")
    with pytest.raises(SheetTooLarge):
        read(out.getvalue())


def test_nothing_written_is_a_formula() -> None:
    evil = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "plain", "=", "#REF!", "a\x00\x1fb\ud800", ""]
    data = write_user_sheet(["用户名", "=x"], [msgspec.json.encode([[value.encode("utf-8", "ignore").decode(), "n"] for value in evil])])
    book = openpyxl.load_workbook(io.BytesIO(data))
    cells = [row[0] for row in book.worksheets[0].iter_rows(min_row=2)]
    assert {cell.data_type for cell in cells if cell.value is not None} == {"s"}
    assert [cell.quotePrefix for cell in cells[:8]] == [True, True, True, True, True, True, False, True]
    assert cells[0].value == evil[0]
    assert cells[9].value == "ab"
    assert book.worksheets[0]["B1"].data_type == "s"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert b"<f>" not in archive.read("xl/worksheets/sheet1.xml")
        assert b"<f " not in archive.read("xl/worksheets/sheet1.xml")


def test_what_was_written_reads_back() -> None:
    data = write_user_sheet(["用户名", "姓名"], [b'[["u1","=1+1"],["u2",""]]'], [["用户名", "必填"]], "说明")
    assert [row.cells for row in read(data)] == [{"username": "u1", "name": "=1+1"}, {"username": "u2"}]
    assert all(not row.wrong for row in read(data))
    assert openpyxl.load_workbook(io.BytesIO(data)).sheetnames == ["users", "说明"]
