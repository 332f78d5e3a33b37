"""The command `eval` on files: read, indexed and asked in a folder of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from server.config import Settings, SettingsError
from server.evaluating import add_arguments, evaluate, report_of_manuals
from tests.documents.pdf import pdf

PAGES = (
    ["The firewall is configured with rules of nftables in nftables-main."],
    ["Boil the noodles for four minutes and drain them in noodle-sieve."],
    ["The mail transport agent delivers letters to mail-queue every hour."],
)


@pytest.mark.gen_test(timeout=120)
async def test_a_manual_is_measured(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "manual.pdf"
    file.write_bytes(pdf(*PAGES))
    said: list[str] = []
    report = await report_of_manuals(settings, [file], said.append)
    lines = report.splitlines()
    assert lines[0] == "model bigrams-64"
    assert "en sentences" in report
    [keyword] = [line for line in lines if line.startswith("en sentences")]
    assert keyword.split()[-5:] == ["keyword", "1.000", "1.000", "1.000", "1.000"]
    assert "better half" in lines[-1] or "falls short" in lines[-1]
    assert any(line.startswith("read 3 of 3 pages") for line in said)
    assert not settings.data.exists()


@pytest.mark.gen_test(timeout=120)
async def test_what_is_no_pdf_is_said(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "manual.pdf"
    file.write_bytes(b"no pdf at all")
    with pytest.raises(SettingsError, match=r"manual\.pdf: \w+"):
        await report_of_manuals(settings, [file], lambda _line: None)


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--parallel", "x.pdf"], "needs --pdf"), (["--pdf", "/nowhere/x.pdf"], "There is no file /nowhere/x.pdf")]
)
def test_arguments_that_make_no_sense(settings: Settings, arguments: list[str], said: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SettingsError, match=said):
        evaluate(settings, parser.parse_args(arguments))
