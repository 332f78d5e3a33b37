"""The picture of a page has the width asked for, and marks where the boxes are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pymupdf
import pytest

from jobs.cpu.pdf_errors import PageMissing
from jobs.cpu.pdf_image import MOST_PIXELS, page_image
from jobs.cpu.pdf_pages import read_pages
from jobs.cpu.pdf_survey import survey
from tests.unit.cpu.pdf_samples import ENGLISH, HELLO, one_page, text_pdf, write


@pytest.fixture
def path(tmp_path: Path) -> str:
    def draw(page: Any) -> None:
        write(page, 72, 200, ENGLISH)
        write(page, 72, 400, "针在下面")

    return text_pdf(tmp_path / "a.pdf", [draw])


def pixels(png: bytes) -> Any:
    return pymupdf.Pixmap(png)


@pytest.mark.parametrize(("asked", "given"), [(800, 800), (1, 200), (99_999, 2400)])
def test_width(path: str, asked: int, given: int) -> None:
    assert abs(pixels(page_image(path, 1, [], asked)).width - given) <= 1


def test_the_words_of_a_box_are_marked_and_nothing_else(path: str) -> None:
    before = Path(path).read_bytes()
    [page] = read_pages(path, survey(path, 10), 1, 1)
    [line] = [line for block in page.blocks for line in block.lines if line.text == "针在下面"]
    plain, marked = (pixels(page_image(path, 1, boxes, 1190)) for boxes in ([], [line.box]))
    scale = marked.width / page.width
    yellow = marked.pixel(int((line.box[0] + 1) * scale), int((line.box[1] - 0.5) * scale))
    assert yellow[0] == 255
    assert yellow[2] < 150
    assert marked.pixel(5, 5) == plain.pixel(5, 5) == (255, 255, 255)
    # Black letters stay black, and the other line has no mark.
    inside = [
        marked.pixel(x, int((line.box[1] + line.box[3]) / 2 * scale)) for x in range(int(line.box[0] * scale), int(line.box[2] * scale))
    ]
    assert min(red for red, _, _ in inside) < 60
    assert all(marked.pixel(x, int(196 * scale)) == plain.pixel(x, int(196 * scale)) for x in range(0, marked.width, 3))
    assert Path(path).read_bytes() == before


def test_boxes_off_the_page_are_cut(path: str) -> None:
    boxes = [(-1e9, -1e9, 1e9, 1e9), (float("nan"), 0.0, float("inf"), 5.0), (50.0, 50.0, 10.0, 10.0)]
    assert pixels(page_image(path, 1, boxes, 300)).pixel(150, 10)[2] < 150


def test_a_page_as_long_as_a_street_is_bounded(tmp_path: Path) -> None:
    road = one_page(tmp_path / "a.pdf", HELLO, {3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 400000] /Contents 4 0 R >>"})
    shown = pixels(page_image(road, 1, [], 2400))
    assert shown.width * shown.height <= MOST_PIXELS * 1.1


@pytest.mark.parametrize("number", [-1, 0, 2])
def test_a_page_that_is_not_there(path: str, number: int) -> None:
    with pytest.raises(PageMissing) as raised:
        page_image(path, number, [], 400)
    assert (raised.value.number, raised.value.pages) == (number, 1)
