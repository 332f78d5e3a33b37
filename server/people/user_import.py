"""Importing users from a spreadsheet: looked at first, then written, row by row in the report, and to be taken back."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.sheets import MOST_ROWS, ReadSheet, SheetError, SheetRow
from jobs.cpu.user_sheets import read_user_sheet
from server.actor import Actor, ActorKind
from server.context import Context
from server.engines.compute import ComputeCrashed, ComputeOutOfMemory, ComputeTimedOut
from server.errors import Conflict, Invalid, NotFound
from server.ids import new_id
from server.messages import Locale, Text, say
from server.paging import Page, PageQuery, page_of
from server.people.identify import act_for
from server.people.sessions import SessionEnded
from server.people.tables import user_imports, users
from server.people.user_changes import tell
from server.people.user_import_plan import HEADER_NAMES, Planned, plan, read_surroundings
from server.people.user_import_writing import apply, take_back
from server.people.user_schemas import UserState
from server.platform import audit, tasks
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce, notify
from server.platform.tables import tasks as tasks_table
from server.platform.tasks import Queue, TaskQueued

IMPORT_USERS, UNDO_IMPORT = "import_users", "undo_import"
READ_S = 60.0
Progress = Callable[[int, str], Awaitable[None]]


class ImportState(StrEnum):
    QUEUED = "queued"  # planned; a task writes it
    DONE = "done"
    FAILED = "failed"  # whoever imported was disabled before it was written
    UNDOING = "undoing"
    UNDONE = "undone"


class ImportNotFound(NotFound):
    type = "import_not_found"


class ImportInOtherState(Conflict):
    """The import's state does not allow it; `state` says which it is."""

    type = "import_state"


class ImportQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`dry_run`: 1 to look only; nothing is written."""

    dry_run: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0


class CellError(msgspec.Struct):
    column: str
    message: str


class RowReport(msgspec.Struct):
    """A row by its number in the sheet; `action` is create, update, unchanged or error."""

    row: int
    action: str
    username: str
    user_id: int | None
    errors: list[CellError]


class ImportSummary(msgspec.Struct):
    """`counts` by action; after an undo also undone and kept."""

    id: str | None
    filename: str
    state: str
    counts: dict[str, int]
    created_at: datetime
    undone_at: datetime | None


class ImportReport(ImportSummary):
    """What an import does, or would do. `kept_rows` were changed since and were left alone by the undo."""

    dry_run: bool
    rows: list[RowReport]
    ignored_columns: list[str]
    kept_rows: list[int]
    task_id: str | None = None


class _Kept(msgspec.Struct):
    """What is kept of an import beside its rows: a stamp for each piece that was written, by which its users are known."""

    counts: dict[str, int]
    ignored: list[str] = []
    stamps: list[datetime] = []
    late: dict[int, tuple[str, Text]] = {}
    taken_back: int = 0
    kept_rows: list[int] = []


_decode_rows = msgspec.json.Decoder(list[SheetRow]).decode
_plan_of = msgspec.json.Decoder(list[Planned]).decode


def _pack(planned: Sequence[Planned]) -> str:
    """A piece as it is stored: a long sheet's plan has megabytes, and MySQL's driver escapes what it sends on the loop."""
    return base64.b64encode(zlib.compress(msgspec.json.encode(planned), 1)).decode()


def _decode_plan(piece: str) -> list[Planned]:
    return _plan_of(zlib.decompress(base64.b64decode(piece)))


async def import_sheet(ctx: Context, actor: Actor, filename: str, data: bytes, *, dry_run: bool) -> ImportReport:
    """Import users: rows without errors are written, at once when there are few, by a task when there are many.

    The caller must hold users:write in the organization of each row, and whatever a row grants. Raises Invalid for a file that is no sheet.
    """
    sheet = await _read(ctx, data)
    around = await ctx.sql.read(lambda connection: read_surroundings(connection, actor))
    pieces: list[str] = []
    kept = _Kept(counts={"create": 0, "update": 0, "unchanged": 0, "error": 0}, ignored=sheet.ignored)
    for piece in sheet.pieces:
        rows = _decode_rows(piece)
        planned = await ctx.sql.read(lambda connection, rows=rows: plan(connection, actor, around, rows))  # type: ignore[misc]
        for row in planned:
            kept.counts[row.action] += 1
        pieces.append(_pack(planned))
    now = ctx.clock.now()
    if dry_run:
        summary = ImportSummary(None, filename, "planned", kept.counts, now, None)
        return await _report(summary, kept, pieces, actor.locale, dry_run=True)
    import_id = new_id()
    inserted: dict[str, Any] = {"id": import_id, "user_id": actor.user_id, "filename": filename[:255], "rows": pieces, "created_at": now}

    def transaction(connection: sa.Connection) -> str | None:
        task_id = None
        if len(pieces) > 1:
            state = ImportState.QUEUED
            task_id = tasks.enqueue(connection, Queue.ACCOUNT_TASKS, IMPORT_USERS, {"import_id": import_id}, now=now)
        else:
            state = ImportState.DONE
            written = msgspec.structs.replace(kept, stamps=[now], late=apply(connection, now, actor, import_id, _decode_plan(pieces[0])))
            connection.execute(user_imports.insert().values(**inserted, state=state.value, counts=_stored(written)))
        if task_id is not None:
            connection.execute(user_imports.insert().values(**inserted, state=state.value, counts=_stored(kept)))
        audit.note(connection, now, actor, "user.import", f"import:{import_id}", filename=filename[:255], **kept.counts)
        return task_id

    try:
        task_id = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # another took a name in the same moment: now it is seen
        task_id = await ctx.sql.write(transaction)
    if task_id is not None:
        await ctx.events.publish(TaskQueued(Queue.ACCOUNT_TASKS.value))
    report = await get_import(ctx, actor, import_id)
    report.task_id = task_id
    return report


async def carry_out(ctx: Context, import_id: str, progress: Progress) -> dict[str, Any]:
    """Write an import that waits, piece by piece; one that was broken off goes on where it was."""
    row = await _row(ctx, import_id)
    importer = sa.select(users.c.id, users.c.username, users.c.state).where(users.c.id == row.user_id)
    who = await ctx.sql.read(lambda connection: connection.execute(importer).one_or_none())
    if who is None or who.state != UserState.ACTIVE.value:
        await ctx.sql.write(lambda connection: _move(connection, import_id, ImportState.QUEUED, ImportState.FAILED))
        return {"written": False, "why": "whoever imported is disabled"}
    actor = Actor(kind=ActorKind.PERSON, name=who.username, user_id=who.id)
    actions: dict[int, str] = {}
    for number, piece in enumerate(row.rows):
        planned = _decode_plan(piece)
        actions |= {one.row: one.action for one in planned}
        try:
            await ctx.sql.write(_writing(ctx, actor, import_id, number, planned))
        except sa.exc.IntegrityError:
            await ctx.sql.write(_writing(ctx, actor, import_id, number, planned))
        await progress(100 * (number + 1) // len(row.rows), "")
    await announce(ctx, await ctx.sql.write(_finishing(ctx, row, actions)))
    return {"written": True, "pieces": len(row.rows)}


def _finishing(ctx: Context, row: Any, actions: Mapping[int, str]) -> Callable[[sa.Connection], Told]:
    """The transaction that ends an import and tells whoever imported; `actions` by row."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Told:
        if not _move(connection, row.id, ImportState.QUEUED, ImportState.DONE):
            return Told()
        kept = _lock(connection, row.id)
        late = [actions[number] for number in kept.late]
        params = {
            "filename": row.filename,
            "created": kept.counts["create"] - late.count("create"),
            "updated": kept.counts["update"] - late.count("update"),
            "errors": kept.counts["error"] + len(late),
        }
        return notify(connection, now, [row.user_id], Kind.IMPORT_FINISHED, row.id, params, f"/#/users/imports/{row.id}")

    return transaction


def _writing(ctx: Context, actor: Actor, import_id: str, number: int, planned: Sequence[Planned]) -> Callable[[sa.Connection], None]:
    """The transaction that writes one piece, unless that has been done."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        kept = _lock(connection, import_id)
        if len(kept.stamps) > number:
            return
        kept.stamps.append(now)
        kept.late |= apply(connection, now, actor, import_id, planned)
        connection.execute(user_imports.update().where(user_imports.c.id == import_id).values(counts=_stored(kept)))

    return transaction


async def undo_import(ctx: Context, actor: Actor, import_id: str) -> ImportReport:
    """Disable what the import created and restore what it changed, but for users that were changed since or are beyond the caller.

    At once when the import is short; else by a task, whose id the answer has. May be asked again when it was broken off.
    Raises ImportNotFound, ImportInOtherState.
    """
    row = await _row(ctx, import_id, actor)
    now, task_key = ctx.clock.now(), f"{UNDO_IMPORT}:{import_id}"
    payload = {"import_id": import_id, "user_id": actor.user_id, "key_id": actor.key_id}

    def begin(connection: sa.Connection) -> str | None:
        if not _move(connection, import_id, ImportState.DONE, ImportState.UNDOING):
            state = connection.execute(sa.select(user_imports.c.state).where(user_imports.c.id == import_id)).scalar_one()
            if state != ImportState.UNDOING:
                raise ImportInOtherState(state=state)
        if len(row.rows) == 1 or actor.user_id is None:
            return None
        tasks.enqueue(connection, Queue.ACCOUNT_TASKS, UNDO_IMPORT, payload, now=now, unique_key=task_key)
        waiting = sa.select(tasks_table.c.id).where(tasks_table.c.unique_key == task_key)
        return str(connection.execute(waiting).scalar_one())

    task_id = await ctx.sql.write(begin)
    if task_id is None:
        await _take_back_all(ctx, actor, row)
    else:
        await ctx.events.publish(TaskQueued(Queue.ACCOUNT_TASKS.value))
    report = await get_import(ctx, actor, import_id)
    report.task_id = task_id
    return report


async def carry_out_undo(ctx: Context, import_id: str, user_id: int, key_id: int | None, progress: Progress) -> dict[str, Any]:
    """Go on with an undo that was begun, piece by piece, by what whoever asked may do now.

    Raises NotSignedIn when they may do nothing any more, ImportNotFound, ImportInOtherState.
    """
    row = await _row(ctx, import_id)
    if row.state not in (ImportState.UNDOING.value, ImportState.UNDONE.value):
        raise ImportInOtherState(state=row.state)
    if row.state == ImportState.UNDOING.value:
        await _take_back_all(ctx, await act_for(ctx, user_id, key_id), row, progress)
    return {"undone": True, "pieces": len(row.rows)}


async def _take_back_all(ctx: Context, actor: Actor, row: Any, progress: Progress | None = None) -> None:
    import_id = row.id
    for number, piece in enumerate(row.rows):
        await tell(ctx, await ctx.sql.write(_taking_back(ctx, actor, import_id, number, _decode_plan(piece))))
        if progress is not None:
            await progress(100 * (number + 1) // len(row.rows), "")
    now = ctx.clock.now()

    def end(connection: sa.Connection) -> None:
        if _move(connection, import_id, ImportState.UNDOING, ImportState.UNDONE, undone_at=now):
            audit.note(connection, now, actor, "user.import_undo", f"import:{import_id}")

    await ctx.sql.write(end)


def _taking_back(
    ctx: Context, actor: Actor, import_id: str, number: int, planned: Sequence[Planned]
) -> Callable[[sa.Connection], list[SessionEnded]]:
    """The transaction that takes one piece back, unless that has been done."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> list[SessionEnded]:
        kept = _lock(connection, import_id)
        if kept.taken_back > number:
            return []
        written = [row for row in planned if row.row not in kept.late]
        alone, ended = take_back(connection, now, actor, kept.stamps[number], written)
        kept.taken_back, kept.kept_rows = number + 1, kept.kept_rows + alone
        acted = sum(row.action in ("create", "update") for row in written)
        kept.counts["undone"] = kept.counts.get("undone", 0) + acted - len(alone)
        kept.counts["kept"] = kept.counts.get("kept", 0) + len(alone)
        connection.execute(user_imports.update().where(user_imports.c.id == import_id).values(counts=_stored(kept)))
        return ended

    return transaction


_SUMMARY = ("id", "filename", "state", "created_at", "undone_at")


async def list_imports(ctx: Context, actor: Actor, query: PageQuery) -> Page[ImportSummary]:
    """The caller's imports; whoever may change users everywhere sees all. Newest first."""
    table = user_imports.c
    wanted = sa.select(*(table[name] for name in _SUMMARY), table.counts)
    if actor.organizations("users:write") is not None:
        wanted = wanted.where(table.user_id == actor.user_id)
    return await ctx.sql.read(
        lambda connection: page_of(
            connection,
            wanted,
            query,
            lambda row: _summary(row, _read_kept(row.counts)),
            sortable={"created_at": table.created_at},
            searched=(table.filename,),
            order="-created_at",
        )
    )


async def get_import(ctx: Context, actor: Actor, import_id: str) -> ImportReport:
    """An import's report, row by row. Raises ImportNotFound for one that the caller may not see."""
    row = await _row(ctx, import_id, actor)
    kept = _read_kept(row.counts)
    return await _report(_summary(row, kept), kept, row.rows, actor.locale, dry_run=False)


async def _read(ctx: Context, data: bytes) -> ReadSheet:
    try:
        return await ctx.compute.run(read_user_sheet, data, dict(HEADER_NAMES), time_limit_s=READ_S, urgent=True)
    except SheetError as error:
        key = {"too_large": "users.sheet_too_large", "too_long": "users.sheet_too_long", "empty": "users.sheet_empty"}.get(error.code)
        key = key or ("users.sheet_header" if error.code == "header" else "users.sheet_not_xlsx")
        raise Invalid.field("file", key, most=MOST_ROWS) from None
    except (ComputeCrashed, ComputeTimedOut, ComputeOutOfMemory) as error:
        raise Invalid.field("file", "users.sheet_too_large") from error


async def _report(summary: ImportSummary, kept: _Kept, pieces: Sequence[str], locale: Locale, *, dry_run: bool) -> ImportReport:
    rows: list[RowReport] = []
    for piece in pieces:
        for row in _decode_plan(piece):
            wrong = [*row.wrong, *([kept.late[row.row]] if row.row in kept.late else [])]
            errors = [CellError(column, say(why.key, locale, **why.params)) for column, why in wrong]
            rows.append(RowReport(row.row, "error" if errors else row.action, row.username, row.user_id, errors))
        await asyncio.sleep(0)  # others have their turn between the pieces
    counts = {**summary.counts}
    for row in (one for piece in pieces if kept.late for one in _decode_plan(piece)):
        if row.row in kept.late:
            counts[row.action] -= 1
            counts["error"] += 1
    shown = {name: getattr(summary, name) for name in ImportSummary.__struct_fields__}
    return ImportReport(**{**shown, "counts": counts}, dry_run=dry_run, rows=rows, ignored_columns=kept.ignored, kept_rows=kept.kept_rows)


def _summary(row: Any, kept: _Kept) -> ImportSummary:
    return ImportSummary(**{name: getattr(row, name) for name in _SUMMARY}, counts=kept.counts)


async def _row(ctx: Context, import_id: str, actor: Actor | None = None) -> Any:
    wanted = sa.select(user_imports).where(user_imports.c.id == import_id)
    row = await ctx.sql.read(lambda connection: connection.execute(wanted).one_or_none())
    if row is None:
        raise ImportNotFound()
    if actor is not None and actor.organizations("users:write") is not None and (actor.user_id is None or row.user_id != actor.user_id):
        raise ImportNotFound()
    return row


def _lock(connection: sa.Connection, import_id: str) -> _Kept:
    wanted = sa.select(user_imports.c.counts).where(user_imports.c.id == import_id).with_for_update()
    return _read_kept(connection.execute(wanted).scalar_one())


def _move(connection: sa.Connection, import_id: str, before: ImportState, after: ImportState, **values: Any) -> bool:
    """Change an import's state; False when it is in another one than `before`."""
    moving = user_imports.update().where(user_imports.c.id == import_id, user_imports.c.state == before.value)
    return connection.execute(moving.values(state=after.value, **values)).rowcount == 1


def _stored(kept: _Kept) -> Any:
    return msgspec.to_builtins(kept, str_keys=True)


def _read_kept(stored: Any) -> _Kept:
    return msgspec.convert(stored, _Kept, strict=False)
