"""Which reader a source is read with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Literal

from server.messages import text
from server.people.hr.reading.csv_rows import csv_pages
from server.people.hr.reading.pages import Page, in_threads
from server.people.hr.reading.rest import RestReader
from server.people.hr.reading.sql_rows import sql_pages
from server.people.hr.reading.watched import find_file
from server.people.hr.reading.xlsx_rows import xlsx_pages
from server.people.hr.refusals import FileUnusable
from server.people.hr.source_schemas import Kind, Reading, Secrets

What = Literal["person", "department"]


def names_departments(kind: Kind, reading: Reading) -> bool:
    """Whether a source tells departments at all."""
    if kind == "rest":
        return bool(reading.departments_url)
    if kind == "sql":
        return bool(reading.departments_query)
    return bool(reading.departments_path or reading.departments_sheet or (reading.watch and reading.watch.departments_pattern))


@asynccontextmanager
async def open_pages(
    folder: Path, kind: Kind, reading: Reading, secrets: Secrets, what: What
) -> AsyncGenerator[AsyncGenerator[Page, None], None]:
    """The pages of persons or departments; what is open is closed at the end. `folder` is that of HR files."""
    pages = _pages(folder, kind, reading, secrets, what)
    async with aclosing(pages):
        yield pages


async def _pages(folder: Path, kind: Kind, reading: Reading, secrets: Secrets, what: What) -> AsyncGenerator[Page, None]:
    of_persons = what == "person"
    if kind == "rest":
        reader = RestReader(reading, secrets)
        try:
            async with aclosing(reader.pages(reading.url if of_persons else reading.departments_url)) as pages:
                async for page in pages:
                    yield page
        finally:
            reader.close()
        return
    async with aclosing(in_threads(lambda: _blocking_pages(folder, kind, reading, secrets, of_persons))) as pages:
        async for page in pages:
            yield page


def _blocking_pages(folder: Path, kind: Kind, reading: Reading, secrets: Secrets, of_persons: bool) -> Generator[Page, None, None]:
    if kind == "sql":
        yield from sql_pages(folder, secrets.dsn or "", reading.query if of_persons else reading.departments_query, reading.timeout_s)
        return
    watch = reading.watch
    pattern = watch.departments_pattern if watch and not of_persons else None
    path = reading.path if of_persons or watch or not reading.departments_path else reading.departments_path
    sheet = reading.sheet if of_persons else reading.departments_sheet
    file = find_file(folder, path, watch, pattern)
    if file.suffix.lower() in (".xlsx", ".xlsm"):
        yield from xlsx_pages(file, sheet)
    elif file.suffix.lower() in (".csv", ".txt", ".tsv"):
        yield from csv_pages(file, reading.encoding, reading.delimiter)
    else:
        raise FileUnusable(name=file.name, why=text("hr.source.suffix"))
