"""Reading the audit log: a page of it, or all of it as CSV."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.engines.schema import LongText
from server.errors import Invalid
from server.paging import Page, PageQuery, page_of
from server.platform import audit
from server.platform.schedules.times import read_time
from server.platform.tables import audit_log

# Rows in one piece of an export.
AT_ONCE = 250
# How cells begin that a spreadsheet would compute (OWASP, "CSV Injection"); the wide forms count in East Asian locales.
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# After all letters, digits and signs that names of actions are made of.
LAST = "\x7f"

Given = Annotated[str, msgspec.Meta(max_length=190, pattern=r"^[^\x00]*$")]
Time = Annotated[str, msgspec.Meta(max_length=64, extra_json_schema={"format": "date-time"})]


class AuditQuery(PageQuery, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}):
    """Filters: `action` and what begins so, the others exactly, times in [from, to). `q` looks into everything that is text."""

    action: Given = ""
    actor: Given = ""
    user_id: Annotated[int, msgspec.Meta(ge=1, le=1 << 53)] | None = None
    target: Given = ""
    address: Given = ""
    from_: Time = ""
    to: Time = ""


class AuditRow(msgspec.Struct):
    """One row. `hash` is null until it is sealed."""

    id: int
    at: datetime
    user_id: int | None
    actor: str
    action: str
    target: str
    address: str
    request_id: str
    detail: Any
    hash: str | None


TEXTS = (audit_log.c.actor, audit_log.c.target, audit_log.c.request_id, sa.type_coerce(audit_log.c.detail, LongText))
ASCII_TEXTS = (audit_log.c.action, audit_log.c.address)


def _searched(q: str) -> tuple[sa.ColumnElement[str], ...]:
    """Where `q` is looked for; what an ASCII column cannot hold, MySQL refuses to compare with one."""
    return (*TEXTS, *ASCII_TEXTS) if q.isascii() else TEXTS


def _shown(row: Any) -> AuditRow:
    return AuditRow(**{name: getattr(row, name) for name in AuditRow.__struct_fields__})


def _wanted(ctx: Context, query: AuditQuery) -> sa.Select[Any]:
    """The rows that the filters leave; raises Invalid for a time that is none."""
    wanted = sa.select(audit_log)
    if query.action:
        # A range and no pattern: it uses the index on both databases.
        wanted = _plain(wanted, query.action).where(audit_log.c.action >= query.action, audit_log.c.action < query.action + LAST)
    if query.address:
        wanted = _plain(wanted, query.address).where(audit_log.c.address == query.address)
    if query.actor:
        wanted = wanted.where(audit_log.c.actor == query.actor)
    if query.user_id is not None:
        wanted = wanted.where(audit_log.c.user_id == query.user_id)
    if query.target:
        wanted = wanted.where(audit_log.c.target == query.target)
    begin = read_time(query.from_, ctx.settings.timezone, "from") if query.from_ else None
    end = read_time(query.to, ctx.settings.timezone, "to") if query.to else None
    if begin is not None and end is not None and begin >= end:
        raise Invalid.field("to", "audit.range")
    if begin is not None:
        wanted = wanted.where(audit_log.c.at >= begin)
    if end is not None:
        wanted = wanted.where(audit_log.c.at < end)
    return wanted


def _plain(wanted: sa.Select[Any], given: str) -> sa.Select[Any]:
    """Nothing matches what an ASCII column cannot hold."""
    return wanted if given.isascii() else wanted.where(sa.false())


async def list_rows(ctx: Context, actor: Actor, query: AuditQuery) -> Page[AuditRow]:
    """A page of the log, newest first. Raises Invalid for a bad time or sort."""
    wanted = _wanted(ctx, query)
    sortable = {"id": audit_log.c.id, "at": audit_log.c.at}
    return await ctx.sql.read(
        lambda connection: page_of(connection, wanted, query, _shown, sortable=sortable, searched=_searched(query.q), order="-id")
    )


async def export_rows(ctx: Context, actor: Actor, query: AuditQuery) -> AsyncGenerator[bytes, None]:
    """The rows that the filters leave as CSV, oldest first, piece by piece; that it was taken out is noted first.

    Page and sort do not count. Raises Invalid at the first piece, before anything is answered. UTF-8 with a mark at its beginning, by
    which spreadsheets know it.
    """
    wanted = _wanted(ctx, query)
    if query.q:
        wanted = wanted.where(sa.or_(*(column.icontains(query.q, autoescape=True) for column in _searched(query.q))))
    last = await ctx.sql.write(lambda connection: _note_export(ctx, connection, actor, query))
    yield b"\xef\xbb\xbf" + _csv([list(AuditRow.__struct_fields__)])
    after = 0
    while True:
        piece = wanted.where(audit_log.c.id > after, audit_log.c.id <= last).order_by(audit_log.c.id).limit(AT_ONCE)
        rows = await ctx.sql.read(lambda connection, piece=piece: connection.execute(piece).all())  # type: ignore[misc]
        if not rows:
            return
        yield await asyncio.to_thread(lambda rows=rows: _csv([_cells(row) for row in rows]))  # type: ignore[misc]
        after = rows[-1].id


def _note_export(ctx: Context, connection: sa.Connection, actor: Actor, query: AuditQuery) -> int:
    """Add the row that tells of the export; the id of the last row before it."""
    last: int = connection.execute(sa.select(sa.func.coalesce(sa.func.max(audit_log.c.id), 0))).scalar_one()
    given = msgspec.to_builtins(query)
    filters = {name: given[name] for name in ("action", "actor", "user_id", "target", "address", "from", "to", "q") if given[name]}
    audit.note(connection, ctx.clock.now(), actor, "audit.export", "audit", filters=filters)
    return last


def _cells(row: Any) -> list[str]:
    detail = msgspec.json.encode(row.detail).decode()
    number = "" if row.user_id is None else str(row.user_id)
    return [str(row.id), row.at.isoformat(), number, row.actor, row.action, row.target, row.address, row.request_id, detail, row.hash or ""]


def _csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([[safe_cell(cell) for cell in row] for row in rows])
    return text.getvalue().encode("utf-8", "replace")


def safe_cell(cell: str) -> str:
    """The cell, with an apostrophe in front when a spreadsheet would take it for a formula."""
    return "'" + cell if cell.startswith(FORMULA_BEGINNINGS) else cell
