"""What worker processes do with sheets of users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.cpu.sheets import ReadSheet, read_sheet, write_sheet


def read_user_sheet(data: bytes, names: Mapping[str, str]) -> ReadSheet:
    """The rows of the first sheet, with a user name each; names and mail addresses come once. Raises SheetError."""
    return read_sheet(data, names, "username", ("username", "email"))


def write_user_sheet(header: Sequence[str], pieces: Sequence[bytes], notes: Sequence[Sequence[str]] = (), notes_title: str = "") -> bytes:
    """An xlsx of users, as sheets.write_sheet makes it."""
    return write_sheet("users", header, pieces, notes, notes_title)
