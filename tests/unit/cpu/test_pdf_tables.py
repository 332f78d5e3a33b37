"""Tables come as Markdown in their place, and not a second time as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.cpu.pdf_pages import read_pages
from jobs.cpu.pdf_survey import survey
from jobs.cpu.shapes import Block, Page
from tests.unit.cpu.pdf_samples import CHINESE, ENGLISH, grid, paragraph, text_pdf, write


def read(path: str, *, tables: bool = True) -> Page:
    return read_pages(path, survey(path, 100), 1, 1, tables)[0]


def table_of(page: Page) -> Block:
    [table] = [block for block in page.blocks if block.kind == "table"]
    return table


ROWS = [["Name", "值", "Note"], ["alpha|beta", "12", "first"], ["第二行", "", "last one"]]


def test_a_grid(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        paragraph(page, 72, 150, [ENGLISH] * 3)
        grid(page, 72, 220, ROWS)
        paragraph(page, 72, 320, [CHINESE[:30]] * 3)

    path = text_pdf(tmp_path / "a.pdf", [draw])
    page = read(path)
    assert [block.kind for block in page.blocks] == ["text", "table", "text"]
    table = table_of(page)
    assert table.text.splitlines() == [
        "| Name | 值 | Note |",
        "| --- | --- | --- |",
        "| alpha\\|beta | 12 | first |",
        "| 第二行 |  | last one |",
    ]
    assert [line.box for line in table.lines] == [
        pytest.approx((72, top, 432, top + 20), abs=0.6) for top in (220, 220, 240, 260)
    ]  # fmt: skip
    assert page.text.count("last one") == 1
    plain = read(path, tables=False)
    assert {block.kind for block in plain.blocks} == {"text"}
    assert "last one" in plain.text


def test_cells_of_rectangles_with_lines_within(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        for row, texts in enumerate((("项目", "说明"), ("学分", "每门课程"), ("成绩", "按百分制"))):
            for column, text in enumerate(texts):
                page.draw_rect((72 + column * 100, 200 + row * 40, 172 + column * 100, 240 + row * 40))
                write(page, 76 + column * 100, 214 + row * 40, text, 10)
                if row and column:
                    write(page, 76 + column * 100, 230 + row * 40, "记录分数", 10)

    assert table_of(read(text_pdf(tmp_path / "a.pdf", [draw]))).text.splitlines() == [
        "| 项目 | 说明 |",
        "| --- | --- |",
        "| 学分 | 每门课程记录分数 |",
        "| 成绩 | 按百分制记录分数 |",
    ]


def test_text_that_runs_on_over_a_rule_is_cut_there(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        grid(page, 72, 200, [["", ""], ["", ""]], width=44, height=20)
        # One line for MuPDF: no gap between the cells.
        for row, text in enumerate(("左边格子右边格子", "aaaa bbb ccc")):
            write(page, 72, 214 + 20 * row, text, 11, "cour")

    rows = table_of(read(text_pdf(tmp_path / "a.pdf", [draw]))).text.splitlines()
    assert rows[0] == "| 左边格子 | 右边格子 |"
    assert rows[2].replace(" ", "") == "|aaaabb|bccc|" or rows[2] == "| aaaa bb | b ccc |"


def test_three_rules_make_a_table(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        paragraph(page, 72, 120, [ENGLISH] * 3)
        for y in (200, 222, 290):
            page.draw_line((72, y), (470, y))
        for row, texts in enumerate(
            (("模型", "精度", "Speed"), ("小", "0.91", "fast"), ("中", "0.93", "slower"), ("大", "0.95", "slowest"))
        ):
            for column, text in enumerate(texts):
                write(page, 80 + 140 * column, 215 + 22 * row, text, 10)
        paragraph(page, 72, 320, [ENGLISH] * 3)

    page = read(text_pdf(tmp_path / "a.pdf", [draw]))
    assert [block.kind for block in page.blocks] == ["text", "table", "text"]
    assert table_of(page).text.splitlines() == [
        "| 模型 | 精度 | Speed |",
        "| --- | --- | --- |",
        "| 小 | 0.91 | fast |",
        "| 中 | 0.93 | slower |",
        "| 大 | 0.95 | slowest |",
    ]


def test_frames_and_lines_are_no_tables(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        for y in (150, 200, 300, 350):  # remarks between two lines each
            page.draw_line((72, y), (500, y))
        write(page, 72, 175, ENGLISH)
        write(page, 72, 325, ENGLISH)
        page.draw_rect((60, 400, 520, 500))  # a frame round a listing
        paragraph(page, 72, 420, ["one", "two", "three"])
        grid(page, 72, 550, [[""] * 20 for _ in range(8)], width=15, height=15)  # squared paper
        write(page, 80, 580, "Fig. 1")

    page = read(text_pdf(tmp_path / "a.pdf", [draw]))
    assert {block.kind for block in page.blocks} == {"text"}
    assert "Fig. 1" in page.text
    assert page.text.count("quick") == 2


def test_a_table_in_a_column_stays_there(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        paragraph(page, 72, 150, [f"L{row} {ENGLISH}"[:40] for row in range(6)])
        grid(page, 72, 260, [["k", "v"], ["size", "9"]], width=100)
        paragraph(page, 72, 330, [f"M{row} {ENGLISH}"[:40] for row in range(6)])
        paragraph(page, 330, 150, [f"R{row} {ENGLISH}"[:40] for row in range(18)])

    text = read(text_pdf(tmp_path / "a.pdf", [draw])).text
    places = [text.index(part) for part in ("L0", "L5", "| size | 9 |", "M0", "M5", "R0", "R17")]
    assert places == sorted(places)
