"""Results as a spreadsheet and on paper."""

from __future__ import annotations

import io

import msgspec
import openpyxl
import pymupdf

from jobs.cpu.result_sheets import Report, Table, write_result_book, write_result_paper

TABLE = Table(title="结果", header=["名次", "项目", "总分"], rows=[[1, "冷原子 <b>&", 88.456], [2, "=HYPERLINK(1)", None]])
REPORT = msgspec.json.encode(Report(title="2026 年度评审", lines=["α = 0.81"], tables=[TABLE]))


def test_a_book_keeps_numbers_and_makes_no_formula() -> None:
    book = openpyxl.load_workbook(io.BytesIO(write_result_book(REPORT)))
    rows = list(book["结果"].iter_rows())
    assert [cell.value for cell in rows[0]] == ["名次", "项目", "总分"]
    assert [cell.value for cell in rows[1]] == [1, "冷原子 <b>&", 88.456]
    assert rows[1][2].number_format == "0.00"
    assert rows[2][1].value == "=HYPERLINK(1)"
    assert rows[2][1].data_type == "s"
    assert [row[0].value for row in book["2026 年度评审"].iter_rows()] == ["2026 年度评审", "α = 0.81"]


def test_titles_that_excel_refuses_are_mended() -> None:
    report = Report(title="a/b?c[d]:*\\", lines=[], tables=[Table(title="x" * 40, header=["a"], rows=[])])
    book = openpyxl.load_workbook(io.BytesIO(write_result_book(msgspec.json.encode(report))))
    assert book.sheetnames == ["x" * 31, "a b c d    "]


def test_paper_has_chinese_and_what_looks_like_markup_as_text() -> None:
    with pymupdf.open(stream=write_result_paper(REPORT)) as made:
        text = made[0].get_text()
        assert made.metadata["title"] == "2026 年度评审"
        for words in ("年度评审", "冷原子 <b>&", "88.46", "名次", "=HYPERLINK(1)"):
            assert words in text
        assert any("Fallback" in font[3] for font in made.get_page_fonts(0))


def test_a_long_round_takes_more_pages_and_few_bytes() -> None:
    table = Table(title="结果", header=["名次", "项目"], rows=[[place, f"项目 {place}"] for place in range(300)])
    data = write_result_paper(msgspec.json.encode(Report(title="长", lines=[], tables=[table])))
    with pymupdf.open(stream=data) as made:
        assert made.page_count > 3
        assert "项目 299" in made[made.page_count - 1].get_text()
    assert len(data) < 400_000
