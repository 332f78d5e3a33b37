"""A picture of Chinese text is read, with boxes; without Tesseract that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pymupdf
import pytest

from jobs.cpu import pdf_ocr
from jobs.cpu.pdf_errors import OcrMissing
from jobs.cpu.pdf_pages import is_unreadable
from tests.peers.process import require
from tests.unit.cpu.pdf_samples import text_pdf, write

TEXTS = ["北京邮电大学研究生学位论文", "第一条 为了保证学位论文质量", "Rules apply from 2024"]


@pytest.fixture
def scan(tmp_path: Path) -> str:
    def draw(page: Any) -> None:
        for number, text in enumerate(TEXTS):
            write(page, 72, 100 + 60 * number, text, 16)

    with pymupdf.open(text_pdf(tmp_path / "text.pdf", [draw])) as document, pymupdf.open() as scanned:
        page: Any = document[0]
        picture = page.get_pixmap(dpi=200)
        page = scanned.new_page()
        page.insert_image(page.rect, pixmap=picture)
        scanned.save(tmp_path / "scan.pdf")
    return str(tmp_path / "scan.pdf")


@pytest.fixture
def chinese() -> list[str]:
    known = pdf_ocr.languages()
    require("Tesseract with chi_sim", "chi_sim" in known)
    return [name for name in ("chi_sim", "eng") if name in known]


def test_a_scan_is_read(scan: str, chinese: list[str]) -> None:
    [page] = pdf_ocr.recognise_pages(scan, 1, 1, chinese)
    lines = [line for block in page.blocks for line in block.lines]
    assert (round(page.width), round(page.height), page.language) == (595, 842, "zh")
    assert [len(set(line.text) & set(text)) >= 0.7 * len(set(text)) for line, text in zip(lines, TEXTS, strict=True)] == [True] * 3
    assert "学位论文" in lines[0].text
    for number, line in enumerate(lines):
        assert line.box[0] == pytest.approx(72, abs=3)
        assert line.box[3] == pytest.approx(100 + 60 * number, abs=8)


def test_a_language_that_is_not_there(scan: str, chinese: list[str]) -> None:
    assert "osd" not in pdf_ocr.languages()
    for wrong in (["klingon"], [], ["../../etc"]):
        with pytest.raises(OcrMissing) as raised:
            pdf_ocr.recognise_pages(scan, 1, 1, wrong)
        assert raised.value.languages == wrong


def test_a_page_that_takes_too_long_is_left_empty(scan: str, chinese: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_ocr, "PAGE_TIME_S", 0.01)
    [page] = pdf_ocr.recognise_pages(scan, 1, 1, chinese)
    assert is_unreadable(page)


def test_without_tesseract(scan: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pdf_ocr.languages() == []
    with pytest.raises(OcrMissing):
        pdf_ocr.recognise_pages(scan, 1, 1, ["eng"])
