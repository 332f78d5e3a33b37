"""How many pages a second are read from a real manual, beside PyMuPDF's bare `get_text`; in one process, in turn, medians."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.report import Row, note, print_notes, print_table
from jobs.cpu.pdf_pages import read_pages
from jobs.cpu.pdf_survey import survey

# Debian's package debian-reference-zh-cn.
MANUAL = "/usr/share/debian-reference/debian-reference.zh-cn.pdf"
ROUNDS = 7
# As documents are read into search.
BATCH = 16
# Text, boxes, headings and order are to cost less than half of bare extraction on top of it.
TARGET = 0.7


def measure(path: str = MANUAL, rounds: int = ROUNDS) -> dict[str, float]:
    """Pages a second: `bare`, `text` (boxes, order, headings), `batches` (that, 16 pages at once), `tables`; and `survey_s` in seconds."""
    import pymupdf

    found = survey(path, 10_000)
    pages = found.pages

    def bare() -> None:
        # What PyMuPDF's own recipe does.
        with pymupdf.open(path) as document:
            for page in document:
                one: Any = page
                one.get_text()

    def batches() -> None:
        for first in range(1, pages + 1, BATCH):
            read_pages(path, found, first, first + BATCH - 1, False)

    measured: dict[str, Callable[[], Any]] = {
        "bare": bare,
        "text": lambda: read_pages(path, found, 1, pages, False),
        "batches": batches,
        "tables": lambda: read_pages(path, found, 1, pages, True),
        "survey_s": lambda: survey(path, 10_000),
    }
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, work in measured.items():
            gc.collect()
            begun = time.process_time()
            work()
            seconds[name].append(time.process_time() - begun)
    return {
        name: median if name == "survey_s" else pages / median for name, times in seconds.items() if (median := statistics.median(times))
    }


def rows(measured: dict[str, float]) -> list[Row]:
    bare = measured["bare"]
    return [
        Row(what="text with boxes, order, headings", ours=measured["text"], peer=bare, unit="pages/s", target=TARGET),
        Row(what=f"the same, opened for every {BATCH} pages", ours=measured["batches"], peer=bare, unit="pages/s"),
        Row(what="with tables too", ours=measured["tables"], peer=bare, unit="pages/s"),
        Row(what="survey of the manual", ours=measured["survey_s"], unit="s", target=0.5, want="at most"),
    ]


def main() -> None:
    note(f"{ROUNDS} rounds over {MANUAL}")
    print_table(rows(measure()))
    print_notes("How", [f"CPU time, medians of {ROUNDS} rounds in turn in one process; the peer is page.get_text() of PyMuPDF"])


if __name__ == "__main__":
    main()
