"""What worker processes do with sheets of projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.cpu.sheets import ReadSheet, read_sheet, write_sheet

LONGEST_CELL = 32_767  # Excel's own limit


def read_project_sheet(data: bytes, names: Mapping[str, str]) -> ReadSheet:
    """The rows of the first sheet, with a title each; a number comes once. Raises SheetError."""
    return read_sheet(data, names, "title", ("id",), LONGEST_CELL)


def write_project_sheet(
    header: Sequence[str], pieces: Sequence[bytes], notes: Sequence[Sequence[str]] = (), notes_title: str = ""
) -> bytes:
    """An xlsx of projects, as sheets.write_sheet makes it."""
    return write_sheet("projects", header, pieces, notes, notes_title)
