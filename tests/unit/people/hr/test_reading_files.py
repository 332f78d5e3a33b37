"""Files of HR: every encoding and separator, sheets, and files that are cut, spoilt, still written or not where they may be."""

from __future__ import annotations

import codecs
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from server.people.hr.reading.csv_rows import csv_pages
from server.people.hr.reading.pages import PAGE_ROWS
from server.people.hr.reading.watched import find_file, opened
from server.people.hr.reading.xlsx_rows import xlsx_pages
from server.people.hr.refusals import EncodingUnclear, FileUnusable, RowsIncomplete, SnapshotRefused
from server.people.hr.source_schemas import Watch

TEXT = "employee_no,name\n001,李雷\n002,韩梅梅\n"
ROWS = [{"employee_no": "001", "name": "李雷"}, {"employee_no": "002", "name": "韩梅梅"}]


def csv_rows(folder: Path, content: bytes, encoding: str = "auto", delimiter: str = "auto") -> list[dict[str, Any]]:
    file = folder / "persons.csv"
    file.write_bytes(content)
    return [row for page in csv_pages(file, encoding, delimiter) for row in page.rows]


def xlsx_rows(folder: Path, rows: list[list[Any]], sheet: str = "", name: str = "人员") -> list[dict[str, Any]]:
    book = Workbook()
    book.active.title = name
    for row in rows:
        book.active.append(row)
    book.create_sheet("other").append(["none"])
    book.save(folder / "persons.xlsx")
    return [row for page in xlsx_pages(folder / "persons.xlsx", sheet) for row in page.rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16"])
def test_the_encoding_is_found(tmp_path: Path, encoding: str) -> None:
    assert csv_rows(tmp_path, TEXT.encode(encoding)) == ROWS


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_separator_is_found(tmp_path: Path, separator: str, newline: str) -> None:
    assert csv_rows(tmp_path, TEXT.replace(",", separator).replace("\n", newline).encode()) == ROWS


def test_quotes_newlines_in_cells_and_empty_lines_are_read(tmp_path: Path) -> None:
    given = 'employee_no,name\n\n001,"李,\n雷"\n , \n'
    assert csv_rows(tmp_path, given.encode()) == [{"employee_no": "001", "name": "李,\n雷"}]


def test_a_long_file_comes_in_pages(tmp_path: Path) -> None:
    file = tmp_path / "persons.csv"
    file.write_text("employee_no,name\n" + "".join(f"{number},x\n" for number in range(2 * PAGE_ROWS + 1)))
    assert [len(page.rows) for page in csv_pages(file, "auto", "auto")] == [PAGE_ROWS, PAGE_ROWS, 1]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (TEXT.encode() + b"003", RowsIncomplete),
        (TEXT.encode() + b"003,x,y\n", RowsIncomplete),
        (TEXT.encode() + b'003,"x', FileUnusable),
        (b"", FileUnusable),
        (b"\n\n", FileUnusable),
        (b"name,name\n1,2\n", FileUnusable),
        (TEXT.encode() + b"003,\x00\n", EncodingUnclear),
        (TEXT.encode() + b"\xff\xff", EncodingUnclear),
        (TEXT.replace("李", "\ufffd").encode(), EncodingUnclear),
    ],
)
def test_a_file_that_is_cut_or_spoilt_is_refused(tmp_path: Path, content: bytes, error: type[SnapshotRefused]) -> None:
    with pytest.raises(error):
        csv_rows(tmp_path, content)


def test_a_given_encoding_is_kept_to(tmp_path: Path) -> None:
    with pytest.raises(EncodingUnclear):
        csv_rows(tmp_path, TEXT.encode("gb18030"), "utf-8")


def test_a_sheet_is_read_with_its_types(tmp_path: Path) -> None:
    rows = xlsx_rows(
        tmp_path, [["employee_no", "name", "start", None], [], [1001, "李雷", datetime(2026, 9, 1), "x"], ["0007", "韩梅梅", None]]
    )
    assert rows == [{"employee_no": 1001, "name": "李雷", "start": datetime(2026, 9, 1)}, {"employee_no": "0007", "name": "韩梅梅"}]


def test_a_sheet_is_found_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match="none"):
        xlsx_rows(tmp_path, [["a"], [1]], "none")
    assert xlsx_rows(tmp_path, [["a"], [1]], "人员") == [{"a": 1}]
    assert xlsx_rows(tmp_path, [["a"], [1]], "other") == []


def test_digits_that_excel_lost_are_not_taken_for_a_number(tmp_path: Path) -> None:
    rows = xlsx_rows(tmp_path, [["a"], [110101199001011230]])
    assert isinstance(rows[0]["a"], float)
    assert rows == [{"a": pytest.approx(1.1010119900101123e17)}]


def test_a_failed_formula_is_no_value(tmp_path: Path) -> None:
    with pytest.raises(RowsIncomplete):
        xlsx_rows(tmp_path, [["a", "b"], [1, "#REF!"]])


def test_a_cut_or_false_xlsx_is_refused(tmp_path: Path) -> None:
    xlsx_rows(tmp_path, [["a"], [1]])
    file = tmp_path / "persons.xlsx"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"a,b\n1,2\n"):
        file.write_bytes(content)
        with pytest.raises(FileUnusable):
            list(xlsx_pages(file, ""))


@pytest.mark.parametrize(
    "path", ["../secrets.json", "/etc/passwd", "a/../../x", "", "link.csv", "linked/x.csv", "none.csv", "C:\\x", "a\x00b"]
)
def test_a_path_never_leads_out_of_the_folder(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "hr"
    folder.mkdir()
    (tmp_path / "x.csv").write_text("secret")
    (folder / "link.csv").symlink_to(tmp_path / "x.csv")
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(FileUnusable):
        find_file(folder, path, None)


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "today.csv").write_text(TEXT)
    (tmp_path / "link.csv").symlink_to("today.csv")
    assert find_file(tmp_path, "link.csv", None).name == "today.csv"


def test_the_newest_file_of_the_pattern_is_taken(tmp_path: Path) -> None:
    for age, name in enumerate(["p-2.csv", "p-1.csv", "other.csv"]):
        (tmp_path / name).write_text(TEXT)
        os.utime(tmp_path / name, (1_700_000_000 + age, 1_700_000_000 + age))
    watch = Watch(pattern="p-*.csv", still_s=0)
    assert find_file(tmp_path, "", watch).name == "p-1.csv"
    (tmp_path / "p-2.csv.done").touch()
    assert find_file(tmp_path, "", Watch(pattern="p-*", still_s=0, done=True)).name == "p-2.csv"
    with pytest.raises(FileUnusable):
        find_file(tmp_path, "", Watch(pattern="q-*", still_s=0))


def test_a_file_that_was_written_just_now_is_left_alone_even_with_an_old_date(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(TEXT)
    os.utime(tmp_path / "p.csv", (1_700_000_000, 1_700_000_000))
    assert time.time() > 1_700_000_000
    with pytest.raises(FileUnusable, match="still"):
        find_file(tmp_path, "", Watch(pattern="p.csv", still_s=3600))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_bytes(codecs.BOM_UTF8)
    with pytest.raises(FileUnusable, match="changed"), opened(file):
        file.write_text(TEXT)
