"""The tables of a page as Markdown, each cell with the text that stands in it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import msgspec

from jobs.cpu.pdf_grids import NEAR, Grid, column_of, grids
from jobs.cpu.pdf_order import rows_apart
from jobs.cpu.pdf_text import UNIT, PageText, Piece, clean, is_cjk
from jobs.cpu.shapes import Box, Line

MOST_TABLES = 50
# A grid with less text than this in its cells is a drawing or a form to fill in.
_LEAST_FILLED = 0.3
# Places of characters are asked for on pages with no more pieces than this.
_MOST_PIECES = 4_000


class Table(msgspec.Struct):
    """A table's Markdown rows, the rule under the first included; its outer edges in hundredths of a point; the pieces it took."""

    lines: list[Line]
    x0: int
    y0: int
    x1: int
    y1: int
    taken: list[Piece]


def page_tables(page: PageText) -> list[Table]:
    """The tables of a page that was read with its strokes, from the top."""
    found: list[Table] = []
    if len(page.pieces) > _MOST_PIECES:
        return found
    taken: set[int] = set()
    characters = _Characters(page.stext)
    for grid in grids(page.strokes, page.pieces)[:MOST_TABLES]:
        inside = [piece for piece in page.pieces if piece.upright and id(piece) not in taken and _is_in(piece, grid)]
        table = _find_table(grid, inside, characters) if inside else None
        if table is not None:
            found.append(table)
            taken.update(id(piece) for piece in inside)
    return found


def _is_in(piece: Piece, grid: Grid) -> bool:
    x, y = (piece.x0 + piece.x1) // 2, (piece.y0 + piece.y1) // 2
    return grid.xs[0] - NEAR < x < grid.xs[-1] + NEAR and grid.ys[0] < y < grid.ys[-1]


class _Characters:
    """Where each character of a page is; asked for only when a piece runs across the rule between two cells."""

    def __init__(self, stext: Any) -> None:
        self._stext = stext
        self._known: list[tuple[str, int, int]] | None = None

    def within(self, piece: Piece) -> list[tuple[str, int]]:
        """The characters of a piece, each with its middle."""
        if self._known is None:
            import pymupdf

            make: Any = pymupdf.TextPage
            self._known = [
                (character["c"], round((box[0] + box[2]) * UNIT / 2), round((box[1] + box[3]) * UNIT / 2))
                for block in make(self._stext).extractRAWDICT()["blocks"]
                for line in block.get("lines", ())
                for span in line["spans"]
                for character in span["chars"]
                for box in (character["bbox"],)
            ]
        return [(text, x) for text, x, y in self._known if piece.x0 <= x <= piece.x1 and piece.y0 <= y <= piece.y1]


def _find_table(grid: Grid, inside: list[Piece], characters: _Characters) -> Table | None:
    width, height = len(grid.xs) - 1, len(grid.ys) - 1
    cells: dict[tuple[int, int], list[Piece]] = {}
    for piece in inside:
        row = column_of(grid.ys, (piece.y0 + piece.y1) // 2)
        for part in _parted(piece, grid, characters):
            cells.setdefault((row, column_of(grid.xs, part.x0 + min(NEAR, (part.x1 - part.x0) // 2))), []).append(part)
    rows = sorted({row for row, _ in cells})
    columns = sorted({column for _, column in cells})
    if len(rows) < 2 or len(columns) < 2 or len(cells) < _LEAST_FILLED * width * height:
        return None
    texts = [[_cell_text(cells.get((row, column), [])) for column in columns] for row in rows]
    edges: list[Box] = [
        (grid.xs[0] / UNIT, grid.ys[row] / UNIT, grid.xs[-1] / UNIT, grid.ys[row + 1] / UNIT) for row in rows
    ]  # fmt: skip
    lines = [Line(_markdown(cell_texts), box) for cell_texts, box in zip(texts, edges, strict=True)]
    lines.insert(1, Line(_markdown(["---"] * len(columns)), edges[0]))
    return Table(lines, grid.xs[0], grid.ys[0], grid.xs[-1], grid.ys[-1], inside)


def _parted(piece: Piece, grid: Grid, characters: _Characters) -> Sequence[Piece]:
    """A piece cut at the rules that it runs across; MuPDF ends a line only at wide gaps."""
    y = (piece.y0 + piece.y1) // 2
    cuts = sorted(
        {rule.at for rule in grid.uprights if piece.x0 + NEAR // 2 < rule.at < piece.x1 - NEAR // 2 and rule.start <= y <= rule.end}
    )
    if not cuts:
        return [piece]
    texts = [""] * (len(cuts) + 1)
    for text, x in characters.within(piece):
        texts[bisect_right(cuts, x)] += text
    edges = [piece.x0, *cuts, piece.x1]
    return [
        Piece(part, edges[index], piece.y0, edges[index + 1], piece.y1, piece.size)
        for index, text in enumerate(texts)
        if (part := clean(text))
    ]


def _cell_text(pieces: Sequence[Piece]) -> str:
    text = ""
    for piece in (piece for row in rows_apart(pieces) for piece in row):
        between = "" if not text or (is_cjk(text[-1]) and is_cjk(piece.text[:1])) else " "
        text += between + piece.text
    return text


def _markdown(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
