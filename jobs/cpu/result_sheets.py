"""What worker processes do with results of rounds: write them as a spreadsheet, and as a PDF."""

from __future__ import annotations

import html
import io
import re
from typing import Any

import msgspec

Cell = str | int | float | None

MARGIN = 36
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
# What neither XML nor a font can carry.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_FORBIDDEN_IN_TITLE = re.compile(r"[\[\]:*?/\\]")
_STYLE = """
body { font-family: sans-serif; font-size: 8.5px; }
h1 { font-size: 15px; } h2 { font-size: 11px; }
table { width: 100%; border-collapse: collapse; }
td, th { border: 0.5px solid #999; padding: 2px 3px; }
"""


class Table(msgspec.Struct, kw_only=True):
    """A table with a title; numbers stay numbers, with as many decimals as they are to show."""

    title: str
    header: list[str]
    rows: list[list[Cell]]
    decimals: int = 2


class Report(msgspec.Struct, kw_only=True):
    """Results to be written: a title, lines about them, tables."""

    title: str
    lines: list[str]
    tables: list[Table]


def write_result_book(report: bytes) -> bytes:
    """An xlsx of a Report in JSON, a sheet a table and the lines on the last; text is text and never a formula."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font

    given = msgspec.json.decode(report, type=Report)
    book = Workbook(write_only=True)

    def cell(sheet: Any, value: Cell, decimals: int, *, bold: bool = False) -> Any:
        if value is None:
            return None
        if isinstance(value, str):
            value = _UNWRITABLE.sub("", value)[:32_000]
            made = WriteOnlyCell(sheet, value=value)
            made.data_type = "s"  # openpyxl takes a text that begins with = for a formula
            if value.startswith(_FORMULA_STARTS):
                made.quotePrefix = True  # so that it stays text when somebody edits the cell
        else:
            made = WriteOnlyCell(sheet, value=value)
            if isinstance(value, float):
                made.number_format = "0." + "0" * decimals
        if bold:
            made.font = Font(bold=True)
        return made

    for table in given.tables:
        sheet = book.create_sheet(_FORBIDDEN_IN_TITLE.sub(" ", table.title)[:31])
        sheet.freeze_panes = "A2"
        sheet.append([cell(sheet, name, 0, bold=True) for name in table.header])
        for row in table.rows:
            sheet.append([cell(sheet, value, table.decimals) for value in row])
    sheet = book.create_sheet(_FORBIDDEN_IN_TITLE.sub(" ", given.title)[:31] or "-")
    for line in [given.title, *given.lines]:
        sheet.append([cell(sheet, line, 0)])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def write_result_paper(report: bytes) -> bytes:
    """A PDF of a Report in JSON on A4 sheets across; MuPDF's own fonts have Chinese, and what is not used of them is left out."""
    import pymupdf

    mupdf: Any = pymupdf  # has no types
    given = msgspec.json.decode(report, type=Report)
    parts = [f"<h1>{_escaped(given.title)}</h1>", *(f"<p>{_escaped(line)}</p>" for line in given.lines)]
    for table in given.tables:
        head = "".join(f"<th>{_escaped(name)}</th>" for name in table.header)
        rows = "".join(
            f"<tr>{''.join(f'<td>{_escaped(_written(value, table.decimals))}</td>' for value in row)}</tr>" for row in table.rows
        )
        parts.append(f"<h2>{_escaped(table.title)}</h2><table><tr>{head}</tr>{rows}</table>")
    story = mupdf.Story("".join(parts), user_css=_STYLE)
    page = mupdf.paper_rect("a4-l")
    inside = mupdf.Rect(MARGIN, MARGIN, page.width - MARGIN, page.height - MARGIN)
    out = io.BytesIO()
    writer = mupdf.DocumentWriter(out)
    more = True
    while more:
        device = writer.begin_page(page)
        more, _ = story.place(inside)
        story.draw(device)
        writer.end_page()
    writer.close()
    with mupdf.open(stream=out.getvalue()) as made:
        made.set_metadata({"title": given.title})
        made.subset_fonts()
        return bytes(made.tobytes(garbage=3, deflate=True))


def _escaped(text: str) -> str:
    return html.escape(_UNWRITABLE.sub("", text))


def _written(value: Cell, decimals: int) -> str:
    if value is None:
        return ""
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)
