"""What worker processes take and give when they read PDFs: plain values that pickle and turn into JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

# Left, top, right, bottom in points (1/72 inch) from the top left corner of the page as it is shown (rotation applied).
Box = tuple[float, float, float, float]
Language = Literal["zh", "en", ""]  # "" where there are no words to tell by


class Line(msgspec.Struct, frozen=True, array_like=True):
    """One line of a page as it is read; in a table, one row as Markdown."""

    text: str
    box: Box


class Block(msgspec.Struct, frozen=True):
    """Lines that belong together. A heading has a `level` from 1 on; a table has its Markdown rows, with the rule under the first."""

    kind: Literal["text", "heading", "table"]
    lines: list[Line]
    level: int = 0

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


class Page(msgspec.Struct, frozen=True):
    """One page in reading order, without running headers and footers. `number` counts from 1; width and height in points."""

    number: int
    width: float
    height: float
    blocks: list[Block]
    language: Language = ""

    @property
    def text(self) -> str:
        return "\n\n".join(block.text for block in self.blocks)


class OutlineEntry(msgspec.Struct, frozen=True):
    """One entry of a document's outline: level from 1, page from 1 (0 when it points nowhere), and how far down that page in points."""

    level: int
    title: str
    page: int
    top: float | None = None


class Heading(msgspec.Struct, frozen=True, array_like=True):
    """A heading that is open at some place of a document."""

    level: int
    title: str


class Carry(msgspec.Struct, frozen=True):
    """What chunking takes along from one page to the next: the open headings, outermost first, and the last text under the innermost."""

    headings: list[Heading] = []
    tail: str = ""


class Chunk(msgspec.Struct, frozen=True):
    """A passage: its page, the titles of the headings above it (its own last), its text, where that stands on the page."""

    page: int
    path: list[str]
    text: str
    boxes: list[Box]
    language: Language
