"""Pages of a scan, read by Tesseract as a child process with a time limit."""

from __future__ import annotations

import math
import os
import resource
import shutil
import subprocess
from collections.abc import Sequence

from jobs.cpu.pdf_errors import OcrFailed, OcrMissing, PageMissing
from jobs.cpu.pdf_render import rendered
from jobs.cpu.pdf_source import Source, opened
from jobs.cpu.pdf_text import UNIT, Piece, clean, is_cjk, page_language
from jobs.cpu.shapes import Block, Line, Page

# Tesseract's documentation ("Improving the quality of the output") asks for 300 dpi.
_ZOOM = 300 / 72
MOST_PIXELS = 16_000_000
PAGE_TIME_S = 60.0
_LIST_TIME_S = 10
# Words that it is less sure of are specks, in its own percent.
_LEAST_SURE = 20.0
# Languages are named chi_sim, eng, osd; osd finds the direction of writing and reads nothing.
_NO_LANGUAGE = "osd"


def languages() -> list[str]:
    """The languages that can be recognised, by Tesseract's names; none when it is not installed."""
    binary = shutil.which("tesseract")
    if binary is None:
        return []
    try:
        listed = subprocess.run([binary, "--list-langs"], capture_output=True, text=True, timeout=_LIST_TIME_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    # The first line is a sentence with the folder.
    return sorted({name for line in listed.stdout.splitlines()[1:] if (name := line.strip()) and name != _NO_LANGUAGE})


def recognise_pages(path: str, first: int, last: int, languages: Sequence[str]) -> list[Page]:
    """Pages first to last, counted from 1, both included, as blocks of text; a page that fails has neither size nor blocks.

    Takes one to ten seconds a page. Raises OcrMissing without Tesseract or one of the languages, and what opening raises.
    """
    binary = shutil.which("tesseract")
    if binary is None or not languages or any(not name.replace("_", "").isalnum() for name in languages):
        raise OcrMissing(list(languages))
    with opened(path) as source:
        return [_recognised(source, number, binary, languages) for number in range(max(first, 1), min(last, source.pages) + 1)]


def _recognised(source: Source, number: int, binary: str, languages: Sequence[str]) -> Page:
    try:
        pixels, scale = rendered(source, number, zoom=_ZOOM, most_pixels=MOST_PIXELS)
        table = _tesseract(binary, pixels.tobytes("pnm"), languages, number)
    except (PageMissing, OcrFailed):
        return Page(number, 0.0, 0.0, [])
    blocks = [Block("text", lines) for lines in _blocks(table, scale)]
    text = "\n".join(line.text for block in blocks for line in block.lines)
    return Page(number, round(pixels.width / scale, 2), round(pixels.height / scale, 2), blocks, page_language(text))


def _tesseract(binary: str, image: bytes, languages: Sequence[str], number: int) -> str:
    """Tesseract's table of words. Raises OcrFailed and OcrMissing."""
    command = [binary, "stdin", "stdout", "-l", "+".join(languages), "--dpi", "300", "--psm", "3", "-c", "tessedit_create_tsv=1"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # One thread: its own cost more than they bring, and workers share the cores.
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
    ) as child:
        # It ends by itself even when our own process is killed.
        seconds = math.ceil(2 * PAGE_TIME_S)
        resource.prlimit(child.pid, resource.RLIMIT_CPU, (seconds, seconds))
        try:
            table, said = child.communicate(image, timeout=PAGE_TIME_S)
        except subprocess.TimeoutExpired:
            child.kill()
            raise OcrFailed(number, f"no answer within {PAGE_TIME_S:g} s") from None
        except BaseException:
            child.kill()
            raise
    reason = said.decode("utf-8", "replace")
    if child.returncode and ("loading language" in reason or "load any languages" in reason):
        raise OcrMissing(list(languages))
    if child.returncode:
        raise OcrFailed(number, reason[-300:])
    return table.decode("utf-8", "replace")


def _blocks(table: str, scale: float) -> list[list[Line]]:
    """Lines by paragraph, from words in rows of level, page, block, paragraph, line, word, left, top, width, height, conf, text."""
    paragraphs: dict[tuple[str, str], dict[str, list[Piece]]] = {}
    for row in table.splitlines()[1:]:
        cells = row.split("\t")
        if len(cells) < 12 or cells[0] != "5" or float(cells[10]) < _LEAST_SURE:
            continue
        text = clean(cells[11])
        if not text:
            continue
        left, top, width, height = (round(int(cell) / scale * UNIT) for cell in cells[6:10])
        word = Piece(text, left, top, left + width, top + height, height)
        paragraphs.setdefault((cells[2], cells[3]), {}).setdefault(cells[4], []).append(word)
    return [[_line(words) for words in lines.values()] for lines in paragraphs.values()]


def _line(words: Sequence[Piece]) -> Line:
    text = ""
    for word in sorted(words, key=lambda word: word.x0):
        text += ("" if not text or (is_cjk(text[-1]) and is_cjk(word.text[0])) else " ") + word.text
    edges = (
        min(word.x0 for word in words) / UNIT,
        min(word.y0 for word in words) / UNIT,
        max(word.x1 for word in words) / UNIT,
        max(word.y1 for word in words) / UNIT,
    )
    return Line(text, edges)
