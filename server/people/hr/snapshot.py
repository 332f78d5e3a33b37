"""Reads a complete snapshot of what HR says, and stages it for the plan; any doubt refuses the whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.messages import text
from server.people.hr.normalizing import BadField, DepartmentReader, PersonReader
from server.people.hr.person_row import DepartmentRow, PersonRow, email_key
from server.people.hr.reading.opening import What, names_departments, open_pages
from server.people.hr.reading.pages import PAGE_ROWS, RawRow
from server.people.hr.refusals import WHAT, DepartmentCycle, RowsIncomplete, RowsTwice, SourceAway, SourceEmpty, SourceTooLarge, bad_row
from server.people.hr.sources import Source, files_folder, secrets_of
from server.people.hr.tables import hr_departments, hr_persons, hr_rows

Report = Callable[[int], Awaitable[None]]

# Rows of the database that are read, or removed, in one transaction.
KNOWN_AT_ONCE = 1000
MOST_DEPARTMENTS = 50_000
_ENCODE = msgspec.json.Encoder(order="sorted").encode


class Snapshot(msgspec.Struct, kw_only=True):
    """What was staged. `hash` is the same for the same rows in any order; `has_departments`: whether the source tells departments."""

    persons: int
    departments: int
    pages: int
    hash: str
    has_departments: bool


class _Staged(NamedTuple):
    """A row to be written; `row` is empty when the one that we have is the same."""

    key: str
    email_key: str | None
    hash: str
    row: dict[str, Any]


class _Kind:
    """The rows of persons, or of departments: what was seen of them in this snapshot, and what we had."""

    def __init__(self, what: What, reader: PersonReader | DepartmentReader, known: dict[str, bytes]) -> None:
        self.what: What = what
        self.known = known
        self.seen: dict[str, bytes] = {}
        self.parents: dict[str, str | None] = {}
        self.sum = 0
        self.pages = 0
        self._given = 0
        self._reader = reader

    def read(self, given: list[RawRow]) -> list[_Staged]:
        """A page in our field names, without rows that came before. Raises RowsIncomplete, RowsTwice."""
        staged = []
        self.pages += 1
        for raw in given:
            self._given += 1
            try:
                row = self._reader.read(raw)
            except BadField as bad:
                raise bad_row(self.what, self._given, bad.field, bad.why) from None
            digest = hashlib.sha256(_ENCODE(row)).digest()
            key = row.employee_no if isinstance(row, PersonRow) else row.code
            before = self.seen.setdefault(key, digest)
            if before is not digest:
                if before != digest:
                    raise RowsTwice(what=text(WHAT[self.what]), key=key, row=self._given)
                continue
            if isinstance(row, DepartmentRow):
                self.parents[key] = row.parent_code
            # A sum, so that the order of the rows does not matter.
            self.sum += int.from_bytes(digest, "big")
            mail = email_key(row.email) if isinstance(row, PersonRow) else None
            body = {} if self.known.get(key) == digest else msgspec.to_builtins(row)
            staged.append(_Staged(key, mail, digest.hex(), body))
        return staged


async def stage(ctx: Context, source: Source, run_id: str, progress: Report | None = None) -> Snapshot:
    """Read all that the source says and write it to hr_rows in transactions of at most 500 rows.

    `progress` hears how many persons are staged. What an interrupted attempt of the same run had staged is removed first; when the
    snapshot is refused, nothing stays. Raises SnapshotRefused, SealBroken, EngineAway.
    """
    await clear(ctx, run_id)
    try:
        async with asyncio.timeout(source.reading.total_timeout_s):
            return await _stage(ctx, source, run_id, progress)
    except TimeoutError:
        await clear(ctx, run_id)
        raise SourceAway(detail=f"{source.reading.total_timeout_s:.0f} s") from None
    except BaseException:
        await clear(ctx, run_id)
        raise


async def clear(ctx: Context, run_id: str) -> None:
    """Remove what was staged for a run, in transactions of at most KNOWN_AT_ONCE rows."""

    def transaction(connection: sa.Connection) -> int:
        some = sa.select(hr_rows.c.what, hr_rows.c.key).where(hr_rows.c.run_id == run_id).limit(KNOWN_AT_ONCE)
        keys: dict[str, list[str]] = {}
        for row in connection.execute(some):
            keys.setdefault(row.what, []).append(row.key)
        for what, named in keys.items():
            connection.execute(hr_rows.delete().where(hr_rows.c.run_id == run_id, hr_rows.c.what == what, hr_rows.c.key.in_(named)))
        return sum(len(named) for named in keys.values())

    while await ctx.sql.write(transaction) == KNOWN_AT_ONCE:
        pass


async def _stage(ctx: Context, source: Source, run_id: str, progress: Report | None) -> Snapshot:
    zone: tzinfo = ZoneInfo(ctx.settings.timezone)
    has_departments = names_departments(source.kind, source.reading)
    departments = _Kind("department", DepartmentReader(source.field_map.departments), await _known(ctx, source.id, "department"))
    if has_departments:
        async for _ in _staged(ctx, source, run_id, departments):
            if len(departments.seen) > MOST_DEPARTMENTS:
                raise SourceTooLarge(limit=MOST_DEPARTMENTS)
        await asyncio.to_thread(check_tree, departments.parents)
    codes = frozenset(departments.seen) if has_departments else None
    reader = PersonReader(source.field_map, codes, ctx.clock.now().astimezone(zone).date(), zone)
    persons = _Kind("person", reader, await _known(ctx, source.id, "person"))
    async for _ in _staged(ctx, source, run_id, persons):
        if progress is not None:
            await progress(len(persons.seen))
    total = (departments.sum + persons.sum) % (1 << 256)
    return Snapshot(
        persons=len(persons.seen),
        departments=len(departments.seen),
        pages=departments.pages + persons.pages,
        hash=f"{total:064x}",
        has_departments=has_departments,
    )


async def _staged(ctx: Context, source: Source, run_id: str, kind: _Kind) -> AsyncIterator[int]:
    """Stage all rows of a kind; gives the number of each page. Raises SourceEmpty when there are none."""
    async with open_pages(files_folder(ctx.settings), source.kind, source.reading, secrets_of(ctx, source), kind.what) as pages:
        async for page in pages:
            for start in range(0, len(page.rows), PAGE_ROWS):
                rows = await asyncio.to_thread(kind.read, page.rows[start : start + PAGE_ROWS])
                if rows:
                    await ctx.sql.write(_inserting(run_id, kind.what, rows))
            yield len(page.rows)
    if not kind.seen:
        raise SourceEmpty(what=text(WHAT[kind.what]))


def _inserting(run_id: str, what: What, rows: list[_Staged]) -> Callable[[sa.Connection], None]:
    values = [{"run_id": run_id, "what": what, **row._asdict()} for row in rows]

    def transaction(connection: sa.Connection) -> None:
        connection.execute(hr_rows.insert(), values)

    return transaction


async def _known(ctx: Context, source_id: int, what: What) -> dict[str, bytes]:
    """The hashes of the rows that we have, by key."""
    table = hr_persons if what == "person" else hr_departments
    key = table.c.employee_no if what == "person" else table.c.code
    known: dict[str, bytes] = {}
    last = ""
    while True:
        some = sa.select(key, table.c.hash).where(table.c.source_id == source_id, key > last).order_by(key).limit(KNOWN_AT_ONCE)
        rows = await ctx.sql.read(lambda connection, some=some: connection.execute(some).all())  # type: ignore[misc]
        known.update((name, bytes.fromhex(digest)) for name, digest in rows)
        if len(rows) < KNOWN_AT_ONCE:
            return known
        last = rows[-1][0]


def check_tree(parents: dict[str, str | None]) -> None:
    """Every department's parent is named, and none is above itself. Raises RowsIncomplete, DepartmentCycle."""
    good: set[str] = set()
    for code, parent in parents.items():
        if parent is not None and parent not in parents:
            why = text("hr.source.no_parent", parent=parent)
            raise RowsIncomplete(what=text("hr.source.what_department"), row=code, field="parent_code", why=why)
        path: dict[str, None] = {}
        at: str | None = code
        while at is not None and at not in good:
            if at in path:
                raise DepartmentCycle(path=" → ".join([*list(path)[list(path).index(at) :], at][:20]))
            path[at] = None
            at = parents.get(at)
        good.update(path)
