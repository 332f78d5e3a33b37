"""In a worker process a PDF costs a bounded time and a bounded memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.cpu.pdf_errors import PdfEncrypted, PdfTooLong
from jobs.cpu.pdf_pages import read_pages
from jobs.cpu.pdf_survey import survey
from server.config import Settings
from server.engines.compute import ComputeTimedOut, open_compute
from tests.unit.cpu import pdf_samples as samples

LONG = 60.0


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    import pymupdf

    blank = [lambda page: None]
    return {
        "hello": samples.one_page(tmp_path / "hello.pdf", samples.HELLO),
        "locked": samples.text_pdf(tmp_path / "locked.pdf", blank, encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="u", owner_pw="o"),
        # 10 ** 12 forms: MuPDF itself would not end in a life.
        "bomb": samples.form_bomb(tmp_path / "bomb.pdf", 12, 10),
        # 112 MB when unpacked.
        "picture": samples.huge_image(tmp_path / "picture.pdf", 30_000),
        "glyphs": samples.many_glyphs(tmp_path / "glyphs.pdf", 1_000_000),
    }


@pytest.mark.gen_test(timeout=180)
async def test_a_bomb_costs_its_time_and_nothing_else(files: dict[str, str]) -> None:
    compute = open_compute(Settings(ws=1, compute_memory_mb=4096))
    try:
        found = await compute.run(survey, files["hello"], 10, time_limit_s=LONG)
        with pytest.raises(PdfEncrypted):
            await compute.run(survey, files["locked"], 10, time_limit_s=LONG)
        with pytest.raises(PdfTooLong) as raised:
            await compute.run(survey, files["hello"], 0, time_limit_s=LONG)
        assert (raised.value.pages, raised.value.most) == (1, 0)
        with pytest.raises(ComputeTimedOut):
            await compute.run(read_pages, files["bomb"], found, 1, 1, time_limit_s=2)
        for name in ("hello", "picture", "glyphs"):
            [page] = await compute.run(read_pages, files[name], found, 1, 1, time_limit_s=LONG)
            assert page.blocks
    finally:
        await compute.close()
