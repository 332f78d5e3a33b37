"""Whatever a file holds, reading it ends in pages or in a clear refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymupdf
import pytest

from jobs.cpu.pdf_errors import NotPdf, PageMissing, PdfDamaged, PdfEmpty, PdfEncrypted, PdfError, PdfTooLong
from jobs.cpu.pdf_image import page_image
from jobs.cpu.pdf_pages import MOST_CHARACTERS, is_unreadable, read_pages
from jobs.cpu.pdf_survey import survey
from jobs.cpu.shapes import Page
from tests.unit.cpu import pdf_samples as samples
from tests.unit.cpu.pdf_samples import HELLO, one_page, text_pdf, write

HEARD = "Hello from a page that can be read"


def read(path: str, most: int = 20_000) -> list[Page]:
    return read_pages(path, survey(path, most), 1, 5)


def ten_pages(path: Path, **save: Any) -> str:
    return text_pdf(path, [lambda page, number=number: write(page, 72, 200, f"{samples.ENGLISH} {number}") for number in range(10)], **save)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", PdfEmpty),
        (b"\x89PNG\r\n\x1a\n" + bytes(5000), NotPdf),
        (b"<!doctype html><title>Not found</title>", NotPdf),
        (b"%PD", NotPdf),
        (b"%PDF-1.7\n", PdfDamaged),
        (b"%PDF-1.7\n" + bytes(range(256)) * 40, PdfDamaged),
    ],
    ids=["zero bytes", "png", "html", "three bytes", "header", "noise"],
)
def test_what_is_no_pdf(tmp_path: Path, content: bytes, error: type[PdfError]) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(content)
    with pytest.raises(PdfError) as raised:
        survey(str(path), 10)
    assert type(raised.value) is error


def test_a_renamed_archive(tmp_path: Path) -> None:
    with pytest.raises(NotPdf):
        survey(samples.zip_archive(tmp_path / "a.pdf"), 10)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_was_cut(tmp_path: Path, share: float) -> None:
    whole = Path(ten_pages(tmp_path / "whole.pdf")).read_bytes()
    path = tmp_path / "a.pdf"
    path.write_bytes(whole[: int(len(whole) * share)])
    try:
        pages = read(str(path))
    except PdfDamaged:
        assert share < 0.9
    else:
        assert all(samples.ENGLISH in page.text or not page.blocks for page in pages)


def test_a_damaged_table_of_places_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(Path(ten_pages(tmp_path / "whole.pdf")).read_bytes().replace(b"startxref", b"startxxxx"))
    assert [samples.ENGLISH in page.text for page in read(str(path))] == [True] * 5


def test_a_password_is_needed(tmp_path: Path) -> None:
    keys = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "owner_pw": "owner"}
    with pytest.raises(PdfEncrypted):
        survey(ten_pages(tmp_path / "a.pdf", user_pw="user", **keys), 10)
    with pytest.raises(PdfEncrypted):
        page_image(str(tmp_path / "a.pdf"), 1, [], 400)
    assert samples.ENGLISH in read(ten_pages(tmp_path / "b.pdf", **keys))[0].text


def test_pages_that_are_too_many(tmp_path: Path) -> None:
    path = samples.many_pages(tmp_path / "a.pdf", 10_000)
    with pytest.raises(PdfTooLong) as raised:
        survey(path, 5_000)
    assert raised.value.pages == 10_000
    assert survey(path, 10_000).pages == 10_000
    assert [page.number for page in read_pages(path, survey(path, 10_000), 9_999, 10_001)] == [9_999, 10_000]


def test_no_pages(tmp_path: Path) -> None:
    with pytest.raises(PdfEmpty):
        survey(one_page(tmp_path / "a.pdf", HELLO, {2: b"<< /Type /Pages /Kids [] /Count 0 >>"}), 10)


@pytest.mark.parametrize("count", [-5, 3, 2_147_483_647])
def test_a_count_that_lies(tmp_path: Path, count: int) -> None:
    path = one_page(tmp_path / "a.pdf", HELLO, {2: b"<< /Type /Pages /Kids [3 0 R] /Count %d >>" % count})
    try:
        pages = read(path)
    except (PdfDamaged, PdfTooLong, PdfEmpty):
        assert count != 3
    else:
        assert pages[0].text == HEARD
        assert all(is_unreadable(page) for page in pages[1:])


READABLE: dict[str, Callable[[Path], str]] = {
    "deep tree of pages": lambda path: samples.deep_pages(path, 2_000),
    "looping tree of pages": samples.looping_pages,
    "looping outline": samples.looping_outline,
    "deep outline": lambda path: samples.deep_outline(path, 300),
    "outline that would end the process": lambda path: samples.deep_outline(path, 100_000),
    "deep arrays": lambda path: samples.nested_objects(path, 100_000),
    "looping form": samples.looping_form,
    "forms in forms": lambda path: samples.form_bomb(path, 4, 8),
    "huge picture": lambda path: samples.huge_image(path, 30_000),
    "map of 100,000 lines": lambda path: samples.many_lines(path, 100_000),
    "font of noise": samples.font_bomb,
    "script": lambda path: one_page(
        path, HELLO, {1: b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript /JS (while\\(1\\);) >> >>"}
    ),
    "content that ends within": lambda path: one_page(path, HELLO + b" q q BT (abc"),
    "rotated by 37 degrees": lambda path: one_page(path, HELLO, page=b"/Rotate 37"),
}


@pytest.mark.parametrize("make", READABLE.values(), ids=READABLE)
def test_what_is_absurd_and_yet_readable(tmp_path: Path, make: Callable[[Path], str]) -> None:
    path = make(tmp_path / "a.pdf")
    first, *others = read(path)
    assert HEARD in first.text
    assert all(is_unreadable(page) for page in others)
    assert page_image(path, 1, [(72, 80, 300, 96)], 400).startswith(b"\x89PNG")
    for page in others:
        with pytest.raises(PageMissing):
            page_image(path, page.number, [], 400)


def test_an_attachment_is_no_page(tmp_path: Path) -> None:
    with pymupdf.open() as document:
        write(document.new_page(), 72, 200, HEARD)
        document.embfile_add("run.exe", b"MZ" * 1000)
        document.save(tmp_path / "a.pdf")
    assert [page.text for page in read(str(tmp_path / "a.pdf"))] == [HEARD]


def test_a_page_of_very_many_glyphs_is_cut(tmp_path: Path) -> None:
    [page] = read(samples.many_glyphs(tmp_path / "a.pdf", 400_000))
    assert 0 < len(page.text) <= MOST_CHARACTERS * 1.02


@pytest.mark.parametrize("box", [b"0 0 1e9 1e9", b"0 0 0 0", b"0 0 612 1e-9", b"-1e30 -1e30 1e30 1e30", b"(a) (b) (c) (d)"])
def test_a_page_of_absurd_size(tmp_path: Path, box: bytes) -> None:
    path = one_page(tmp_path / "a.pdf", HELLO, {3: b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Contents 4 0 R >>" % box})
    assert len(read(path)) == 1
    try:
        image = page_image(path, 1, [], 2_400)
    except PageMissing:
        assert box.startswith((b"0 0 1e9", b"-1e30"))
    else:
        assert image.startswith(b"\x89PNG")
