"""The papers of the season: proposals as PDFs, and sheets that are opened again."""

from __future__ import annotations

import asyncio
import io
from typing import Any, NamedTuple

from tests.documents.pdf import pdf


class Idea(NamedTuple):
    """What somebody proposes: who, the department, the title, and what the paper says."""

    owner: str
    place: str
    title: str
    lines: tuple[str, ...]


IDEAS = {
    "A": Idea("teacher1", "software", "Compilers that prove themselves", ("A compiler checks its own proofs.", "编译器自我验证")),
    "B": Idea("teacher2", "software", "Schedulers for trains", ("A timetable that mends itself after delays.", "铁路调度")),
    "C": Idea("teacher5", "hardware", "Sensors from paper", ("Paper strips that measure salt in rivers.", "纸基传感器")),
    "D": Idea("teacher6", "hardware", "Radios without batteries", ("A radio lives on the heat of a hand.", "无电池无线电")),
    "E": Idea("teacher9", "physics", "Cold atoms in the dark", ("Atoms are cooled without light.", "冷原子")),
    "F": Idea("teacher10", "physics", "A clock of mercury", ("A mercury ion keeps time for a century.", "汞离子钟")),
    "G": Idea("chair_physics", "physics", "Glass that remembers", ("Glass keeps the shape of a sound.", "记忆玻璃")),
    "H": Idea("teacher3", "software", "An idea for later", ("Nobody has written this down yet.", "以后再说")),
    "I": Idea("teacher7", "hardware", "Robots that knit", ("A robot knits its own sleeves.", "编织机器人")),
}


def paper(idea: Idea) -> bytes:
    """Two pages: the idea, and how it is to be done."""
    return pdf([idea.title, *idea.lines], ["Plan of work", f"First year of {idea.title}: measure.", "第二年：验证。"])


async def rows_of(sheet: bytes) -> list[list[Any]]:
    """The rows of the first sheet of a workbook, its header first."""

    def opened() -> list[list[Any]]:
        from openpyxl import load_workbook

        workbook = load_workbook(io.BytesIO(sheet))
        return [list(row) for row in workbook.worksheets[0].iter_rows(values_only=True)]

    return await asyncio.to_thread(opened)


async def words_of(document: bytes) -> str:
    """All text of a PDF, in one line."""

    def opened() -> str:
        import pymupdf

        with pymupdf.open(stream=document, filetype="pdf") as read:
            return " ".join(" ".join(page.get_text() for page in read).split())

    return await asyncio.to_thread(opened)
