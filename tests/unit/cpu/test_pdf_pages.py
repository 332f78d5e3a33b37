"""Pages are read as a person reads them: columns in order, without what repeats, with boxes that lie on the words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pymupdf
import pytest

from jobs.cpu.pdf_errors import PdfTooLong
from jobs.cpu.pdf_pages import is_unreadable, read_pages
from jobs.cpu.pdf_survey import survey
from jobs.cpu.shapes import Page
from tests.unit.cpu.pdf_samples import CHINESE, ENGLISH, mapped, paragraph, text_pdf, write


def read(path: str, first: int = 1, last: int = 1000, *, tables: bool = True) -> list[Page]:
    return read_pages(path, survey(path, 1000), first, last, tables)


def column(page: Any, x: float, y: float, name: str, rows: int, *, width: int = 38) -> None:
    paragraph(page, x, y, [f"{name}{number:02} {ENGLISH}"[:width] for number in range(rows)])


def order(text: str, names: list[str]) -> list[str]:
    return sorted((name for name in names if name in text), key=text.index)


@pytest.mark.parametrize("is_woven", [False, True], ids=["column by column", "line by line"])
def test_two_columns_under_headings_across(tmp_path: Path, is_woven: bool) -> None:
    def draw(page: Any) -> None:
        write(page, 72, 100, "A heading that runs across both of the columns below", 18)
        if is_woven:
            for row in range(12):
                write(page, 72, 140 + 16 * row, f"LA{row:02} {ENGLISH}"[:38])
                write(page, 320, 140 + 16 * row, f"RA{row:02} {ENGLISH}"[:38])
        else:
            column(page, 72, 140, "LA", 12)
            column(page, 320, 140, "RA", 12)
        write(page, 72, 400, "Another heading that runs across both columns", 18)
        column(page, 72, 440, "LB", 12)
        column(page, 320, 440, "RB", 12)

    [page] = read(text_pdf(tmp_path / "a.pdf", [draw]))
    names = ["A heading", "LA00", "LA11", "RA00", "RA11", "Another heading", "LB00", "LB11", "RB00", "RB11"]
    assert order(page.text, names) == names


def test_lines_drawn_out_of_order_are_read_from_the_top(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        for row in (5, 2, 8, 0, 7, 1, 6, 3, 4):
            write(page, 72, 200 + 20 * row, f"Row {row} {ENGLISH}"[:60])

    [page] = read(text_pdf(tmp_path / "a.pdf", [draw]))
    assert order(page.text, [f"Row {row}" for row in range(9)]) == [f"Row {row}" for row in range(9)]


def test_code_with_remarks_stays_in_rows(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        paragraph(page, 72, 200, [ENGLISH] * 3)
        for row in range(8):
            write(page, 72, 300 + 14 * row, f"run{row} -x", 9, "cour")
            write(page, 300, 300 + 14 * row, f"# remark {row}", 9, "cour")

    [page] = read(text_pdf(tmp_path / "a.pdf", [draw]))
    lines = [line.text for block in page.blocks for line in block.lines]
    assert [f"run{row} -x # remark {row}" for row in range(8)] == [line for line in lines if line.startswith("run")]


def running_page(number: int, total: int, *, body: str = "") -> Any:
    def draw(page: Any) -> None:
        write(page, 72, 40, "北京 邮电 大学" if number % 2 else "Annual Report", 9)
        write(page, 420, 40, f"Chapter {number}: {'abcdefghij'[number % 10] * 5}", 9)
        paragraph(page, 72, 120, [f"{body}{number * 7 + row} {ENGLISH}"[:70] for row in range(20)])
        write(page, 290, 810, f"- {number} / {total} -", 9)

    return draw


def test_running_lines_and_page_numbers_go(tmp_path: Path) -> None:
    path = text_pdf(tmp_path / "a.pdf", [running_page(number, 12) for number in range(1, 13)])
    found = survey(path, 100)
    assert {"北京邮电大学", "annualreport", "-#/#-"} <= set(found.running)
    for page in read_pages(path, found, 1, 12):
        assert "Annual" not in page.text
        assert "邮电" not in page.text
        assert "Chapter" not in page.text  # it shares the row, though it differs from page to page
        assert "/ 12" not in page.text
        assert page.text.count("quick brown") == 20


def test_a_number_alone_at_the_foot_of_one_page_goes_and_text_stays(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        paragraph(page, 72, 60, [ENGLISH, "12", ENGLISH])
        write(page, 290, 800, "第 3 页")

    [page] = read(text_pdf(tmp_path / "a.pdf", [draw]))
    assert [line.text for block in page.blocks for line in block.lines] == [ENGLISH, "12", ENGLISH]


def test_pages_of_contents_are_empty(tmp_path: Path) -> None:
    def contents(page: Any) -> None:
        write(page, 72, 100, "Contents", 16)
        for row in range(20):
            write(page, 72, 140 + 20 * row, f"1.{row} A section of the whole {'. ' * 40}")
            write(page, 500, 140 + 20 * row, f"{row + 3}")

    def body(page: Any) -> None:
        paragraph(page, 72, 100, [ENGLISH, "wait .... and see", "and so on ... 1", ENGLISH])

    first, second = read(text_pdf(tmp_path / "a.pdf", [contents, body]))
    assert first.blocks == []
    assert not is_unreadable(first)
    assert "wait .... and see" in second.text
    assert "and so on ... 1" in second.text


def test_no_spaces_between_chinese_characters(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        write(page, 72, 200, "为 了 保 证  质 量 ， 使用 Python 语言。")
        write(page, 72, 240, "全角　空格")

    [page] = read(text_pdf(tmp_path / "a.pdf", [draw]))
    assert "为了保证质量，使用Python 语言。" in page.text.replace("用 P", "用P")
    assert "全角空格" in page.text
    assert page.language == "zh"


def test_languages(tmp_path: Path) -> None:
    drawn = [
        lambda page: paragraph(page, 72, 200, [CHINESE[:40]] * 5),
        lambda page: paragraph(page, 72, 200, [ENGLISH] * 5),
        lambda page: write(page, 72, 300, "12 + 30 = 42"),
        lambda page: paragraph(page, 72, 200, [CHINESE[:40], "$ awk -f run.awk data"]),
    ]
    assert [page.language for page in read(text_pdf(tmp_path / "a.pdf", drawn))] == ["zh", "en", "", "zh"]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_boxes_lie_on_the_words_as_the_page_is_shown(tmp_path: Path, rotation: int) -> None:
    def draw(page: Any) -> None:
        write(page, 100, 200, "Needle in the left part")
        write(page, 100, 500, "针在下面")
        page.set_cropbox(pymupdf.Rect(20, 30, 560, 800))
        page.set_rotation(rotation)

    path = text_pdf(tmp_path / "a.pdf", [draw])
    [page] = read(path)
    with pymupdf.open(path) as document:
        shown: Any = document[0]
        assert (page.width, page.height) == (shown.rect.width, shown.rect.height)
        for text in ("Needle in the left part", "针在下面"):
            [line] = [line for block in page.blocks for line in block.lines if line.text == text]
            [quad] = shown.search_for(text, quads=True)
            expected = quad.rect * shown.rotation_matrix if rotation else quad.rect
            assert line.box == pytest.approx(tuple(expected), abs=4)


def test_what_has_no_shape_never_comes_out(tmp_path: Path) -> None:
    codes = {
        0x41: "0000",
        0x42: "D800",
        0x43: "0041",
        0x44: "DC00",
        0x45: "FFFE",
        0x46: "0022",
        0x47: "005C",
        0x48: "D83DDE00",
        0x49: "0007",
    }
    [page] = read(mapped(tmp_path / "a.pdf", codes))
    assert page.text.isprintable()
    assert page.text.encode()
    assert 'A "\\😀' in page.text


def test_pages_asked_for_past_the_end_are_left_out(tmp_path: Path) -> None:
    path = text_pdf(tmp_path / "a.pdf", [lambda page: write(page, 72, 200, ENGLISH)] * 3)
    assert [page.number for page in read(path, 2, 9)] == [2, 3]
    assert [page.number for page in read(path, 0, 1)] == [1]
    assert read(path, 4, 9) == []
    with pytest.raises(PdfTooLong) as raised:
        survey(path, 2)
    assert (raised.value.pages, raised.value.most) == (3, 2)
