"""Headings are those of the outline, or else what stands out by its letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from jobs.cpu.pdf_pages import read_pages
from jobs.cpu.pdf_survey import Survey, sample, survey
from jobs.cpu.shapes import OutlineEntry
from tests.unit.cpu.pdf_samples import CHINESE, ENGLISH, paragraph, text_pdf, write


def chapter(number: int) -> Any:
    def draw(page: Any) -> None:
        write(page, 72, 120, f"第{number}章", 20)
        write(page, 72, 150, "数据的 采集", 20)
        paragraph(page, 72, 200, [CHINESE[:35]] * 6)
        write(page, 72, 340, f"{number}.1 Reading the data", 14)
        paragraph(page, 72, 370, [ENGLISH] * 6)
        write(page, 72, 520, "Reading the data", 11)  # said once more, as text
        paragraph(page, 72, 550, [ENGLISH] * 3)

    return draw


def headings(path: str) -> list[tuple[int, int, str]]:
    found = survey(path, 100)
    return [
        (page.number, block.level, block.text)
        for page in read_pages(path, found, 1, found.pages)
        for block in page.blocks
        if block.kind == "heading"
    ]


def test_entries_of_the_outline_are_found_on_their_pages(tmp_path: Path) -> None:
    outline = [
        (1, "第1章 数据的采集", 1),
        (2, "Reading the data", 1),
        (1, "第2章 数据的采集", 2),
        (2, "2.1 Reading the  data", 2),
        (1, "Nowhere", 2),
    ]
    path = text_pdf(tmp_path / "a.pdf", [chapter(1), chapter(2)], outline=outline)
    assert headings(path) == [
        (1, 1, "第1章\n数据的采集"),
        (1, 2, "1.1 Reading the data"),
        (2, 1, "第2章\n数据的采集"),
        (2, 2, "2.1 Reading the data"),
    ]
    found = survey(path, 100)
    assert found.outline[1].title == "Reading the data"
    assert found.heading_sizes == []


def test_without_an_outline_large_letters_are_headings(tmp_path: Path) -> None:
    path = text_pdf(tmp_path / "a.pdf", [chapter(1), chapter(2)])
    assert headings(path) == [
        (1, 1, "第1章\n数据的采集"),
        (1, 2, "1.1 Reading the data"),
        (2, 1, "第2章\n数据的采集"),
        (2, 2, "2.1 Reading the data"),
    ]


def test_numbered_bold_lines_are_headings(tmp_path: Path) -> None:
    def draw(page: Any) -> None:
        write(page, 72, 200, "1 Introduction", 11, "hebo")
        paragraph(page, 72, 230, [ENGLISH] * 4)
        write(page, 72, 320, "1.1 Aims", 11, "hebo")
        paragraph(page, 72, 350, [ENGLISH] * 4)
        write(page, 72, 440, "Mind the step", 11, "hebo")
        paragraph(page, 72, 470, [ENGLISH] * 4)

    assert headings(text_pdf(tmp_path / "a.pdf", [draw])) == [(1, 1, "1 Introduction"), (1, 2, "1.1 Aims")]


def test_a_survey_is_small_and_plain(tmp_path: Path) -> None:
    path = text_pdf(tmp_path / "a.pdf", [chapter(number) for number in range(1, 41)], outline=[(1, f"第{n}章", n) for n in range(1, 41)])
    found = survey(path, 100)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Survey) == found
    assert (found.pages, found.sampled, found.text_pages, found.body_size) == (40, 32, 32, 11.0)
    assert found.outline[39].page == 40
    assert all(isinstance(entry, OutlineEntry) and entry.level == 1 for entry in found.outline)
    assert found.language == "zh"
    assert found.has_text


def test_titles_that_say_nothing_are_none(tmp_path: Path) -> None:
    import pymupdf

    given = {"Microsoft Word - 学位论文规定": "学位论文规定", "untitled": "", "thesis.docx": "", " Annual \t Report ": "Annual Report"}
    for title, expected in given.items():
        with pymupdf.open() as document:
            document.new_page()
            document.set_metadata({"title": title})
            document.save(tmp_path / "a.pdf")
        assert survey(str(tmp_path / "a.pdf"), 10).title == expected


def test_a_scan_with_a_stamp_has_no_text(tmp_path: Path) -> None:
    def scan(number: int) -> Any:
        return lambda page: write(page, 290, 810, f"{number}", 9)

    found = survey(text_pdf(tmp_path / "a.pdf", [scan(number) for number in range(1, 9)]), 100)
    assert (found.sampled, found.text_pages, found.has_text) == (8, 0, False)


def test_samples_come_in_pairs() -> None:
    assert sample(3) == [1, 2, 3]
    assert sample(32) == list(range(1, 33))
    for pages in (33, 251, 5000):
        numbers = sample(pages)
        assert 20 < len(numbers) <= 32
        assert numbers[:2] == [1, 2]
        assert numbers[-2:] == [pages - 1, pages]
