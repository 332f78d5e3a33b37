"""Importing projects from a spreadsheet: looked at first, then written, row by row in the report, and to be taken back."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.project_sheets import read_project_sheet
from jobs.cpu.sheets import MOST_ROWS, ReadSheet, SheetError, SheetRow
from server.actor import Actor
from server.context import Context
from server.engines.compute import ComputeCrashed, ComputeOutOfMemory, ComputeTimedOut
from server.errors import Conflict, DomainError, Invalid, NotFound
from server.ids import new_id
from server.messages import Locale, Text, say, text
from server.people.identify import act_for
from server.platform import audit
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import notify
from server.platform.tasks import Queue, TaskQueued, enqueue
from server.projects.access import ProjectNotFound, access_project
from server.projects.effects import Effects, commit
from server.projects.project_changes import change, create, remove
from server.projects.project_import_plan import HEADER_NAMES, Planned, plan, read_surroundings
from server.projects.states import ProjectState
from server.projects.tables import project_imports as table
from server.projects.tables import projects

IMPORT_PROJECTS, UNDO_IMPORT = "projects.import", "projects.undo_import"
READ_S = 60.0
Progress = Callable[[int, str], Awaitable[None]]


class ImportState(StrEnum):
    QUEUED = "queued"  # planned; a task writes it
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"


class ProjectImportNotFound(NotFound):
    type = "project_import_not_found"


class ProjectImportInOtherState(Conflict):
    """The import's state does not allow it; `state` says which it is."""

    type = "project_import_state"


class CellError(msgspec.Struct):
    column: str
    message: str


class RowReport(msgspec.Struct):
    """A row by its number in the sheet; `action` is create, update, unchanged or error."""

    row: int
    action: str
    title: str
    project_id: int | None
    errors: list[CellError]


class ProjectImportReport(msgspec.Struct, kw_only=True):
    """What an import does, or would do. `counts` by action; after an undo also undone and kept (changed since, and left alone)."""

    id: str | None
    filename: str
    state: str
    dry_run: bool
    counts: dict[str, int]
    rows: list[RowReport]
    ignored_columns: list[str]
    kept_rows: list[int]
    task_id: str | None = None
    created_at: datetime
    undone_at: datetime | None


class _Written(msgspec.Struct, array_like=True):
    """What was written of a row: the project, its version then, what it had before; or why nothing was."""

    row: int
    project_id: int | None = None
    version: int = 0
    before: dict[str, Any] | None = None
    late: Text | None = None
    kept: bool = False  # an undo left it alone


_decode_rows = msgspec.json.Decoder(list[SheetRow]).decode
_decode_plan = msgspec.json.Decoder(list[Planned]).decode


async def import_sheet(ctx: Context, actor: Actor, filename: str, data: bytes, *, dry_run: bool) -> ProjectImportReport:
    """Propose a draft for each row, or change the project whose number it has: at once when there are few, by a task when there are many.

    Rows with errors are left out. Raises Invalid for a file that is no sheet.
    """
    sheet = await _read(ctx, data)
    around = await ctx.sql.read(lambda connection: read_surroundings(connection, actor))
    plans: list[list[Planned]] = []
    counts = {"create": 0, "update": 0, "unchanged": 0, "error": 0}
    for piece in sheet.pieces:
        rows = _decode_rows(piece)
        planned = await ctx.sql.read(lambda connection, rows=rows: plan(connection, actor, around, rows))  # type: ignore[misc]
        for row in planned:
            counts[row.action] += 1
        plans.append(planned)
    if dry_run:
        rows_shown = [_shown(row, None, actor.locale) for planned in plans for row in planned]
        return ProjectImportReport(
            id=None,
            filename=filename,
            state="planned",
            dry_run=True,
            counts=counts,
            rows=rows_shown,
            ignored_columns=sheet.ignored,
            kept_rows=[],
            created_at=ctx.clock.now(),
            undone_at=None,
        )
    import_id, pieces = new_id(), [_pack(planned) for planned in plans]
    kept = {"counts": counts, "ignored": sheet.ignored}

    def transaction(connection: sa.Connection, effects: Effects) -> str | None:
        values: dict[str, Any] = {
            "id": import_id,
            "user_id": actor.user_id,
            "filename": filename[:255],
            "counts": kept,
            "rows": pieces,
            "written": [],
        }
        values |= {"state": ImportState.QUEUED.value, "taken_back": 0, "created_at": effects.now}
        connection.execute(table.insert().values(values))
        audit.note(connection, effects.now, actor, "project.import", f"project_import:{import_id}", filename=filename[:255], **counts)
        if len(pieces) == 1 or actor.user_id is None:
            for number in range(len(pieces)):
                _write_piece(connection, effects, actor, import_id, number, plans[number])
            _move(connection, import_id, ImportState.QUEUED, ImportState.DONE)
            return None
        payload = {"import_id": import_id, "user_id": actor.user_id, "key_id": actor.key_id}
        effects.events.append(TaskQueued(Queue.ACCOUNT_TASKS.value))
        return enqueue(connection, Queue.ACCOUNT_TASKS, IMPORT_PROJECTS, payload, now=effects.now, max_attempts=20)

    task_id = await commit(ctx, transaction)
    report = await get_import(ctx, actor, import_id)
    report.task_id = task_id
    return report


async def carry_out(ctx: Context, import_id: str, user_id: int, key_id: int | None, progress: Progress) -> dict[str, Any]:
    """Write an import that waits, piece by piece, by what whoever imports may do now; one that was broken off goes on where it was.

    Raises NotSignedIn, ProjectImportNotFound.
    """
    actor = await act_for(ctx, user_id, key_id)
    row = await _row(ctx, import_id)
    for number, packed in enumerate(row.rows):
        planned = _unpack(packed)

        def write(connection: sa.Connection, effects: Effects, number: int = number, planned: list[Planned] = planned) -> None:
            _write_piece(connection, effects, actor, import_id, number, planned)

        await commit(ctx, write)
        await progress(100 * (number + 1) // len(row.rows), "")
    await commit(ctx, lambda connection, effects: _finish(connection, effects, user_id, row))
    return {"written": True, "pieces": len(row.rows)}


async def undo_import(ctx: Context, actor: Actor, import_id: str) -> ProjectImportReport:
    """Remove the drafts that the import made and restore what it changed, but for projects that were changed since.

    At once when the import is short; else by a task, whose id the answer has. Raises ProjectImportNotFound, ProjectImportInOtherState.
    """
    row = await _row(ctx, import_id, actor)

    def begin(connection: sa.Connection, effects: Effects) -> str | None:
        if not _move(connection, import_id, ImportState.DONE, ImportState.UNDOING):
            state = connection.execute(sa.select(table.c.state).where(table.c.id == import_id)).scalar_one()
            if state != ImportState.UNDOING:
                raise ProjectImportInOtherState(state=text(f"project.import.{state}"))
        if len(row.rows) == 1 or actor.user_id is None:
            return None
        payload = {"import_id": import_id, "user_id": actor.user_id, "key_id": actor.key_id}
        effects.events.append(TaskQueued(Queue.ACCOUNT_TASKS.value))
        return enqueue(connection, Queue.ACCOUNT_TASKS, UNDO_IMPORT, payload, now=effects.now, unique_key=f"{UNDO_IMPORT}:{import_id}")

    task_id = await commit(ctx, begin)
    if len(row.rows) == 1 or actor.user_id is None:
        await _take_back_all(ctx, actor, row)
    report = await get_import(ctx, actor, import_id)
    report.task_id = task_id
    return report


async def carry_out_undo(ctx: Context, import_id: str, user_id: int, key_id: int | None, progress: Progress) -> dict[str, Any]:
    """Go on with an undo that was begun, by what whoever asked may do now. Raises NotSignedIn, ProjectImportNotFound."""
    actor = await act_for(ctx, user_id, key_id)
    row = await _row(ctx, import_id)
    if row.state == ImportState.UNDOING.value:
        await _take_back_all(ctx, actor, row, progress)
    return {"undone": True, "pieces": len(row.rows)}


async def get_import(ctx: Context, actor: Actor, import_id: str) -> ProjectImportReport:
    """An import's report, row by row; only for whoever imported. Raises ProjectImportNotFound."""
    row = await _row(ctx, import_id, actor)
    written = {one.row: one for piece in _written_of(row) for one in piece}
    shown = []
    for packed in row.rows:
        shown += [_shown(planned, written.get(planned.row), actor.locale) for planned in _unpack(packed)]
        await asyncio.sleep(0)  # others have their turn between the pieces
    counts = dict.fromkeys(("create", "update", "unchanged", "error"), 0)
    for one in shown:
        counts[one.action] += 1
    if row.undone_at is not None:
        acted = [one for one in written.values() if one.project_id is not None]
        counts |= {"undone": sum(not one.kept for one in acted), "kept": sum(one.kept for one in acted)}
    return ProjectImportReport(
        id=row.id,
        filename=row.filename,
        state=row.state,
        dry_run=False,
        counts=counts,
        rows=shown,
        ignored_columns=row.counts["ignored"],
        kept_rows=[one.row for one in written.values() if one.kept],
        created_at=row.created_at,
        undone_at=row.undone_at,
    )


def _write_piece(
    connection: sa.Connection, effects: Effects, actor: Actor, import_id: str, number: int, planned: Sequence[Planned]
) -> None:
    """Write a piece, unless that has been done."""
    pieces = _lock(connection, import_id)
    if len(pieces) > number:
        return
    pieces.append([_write(connection, effects, actor, row) for row in planned if row.action in ("create", "update")])
    _store(connection, import_id, pieces)


def _write(connection: sa.Connection, effects: Effects, actor: Actor, row: Planned) -> _Written:
    """Write one row by what the actor may do now; one that cannot be written any more is told, and harms no other."""
    try:
        if row.action == "create":
            actor.require("projects:write", row.values["organization_id"])
            made = create(connection, effects, actor, **{"title": row.title, **row.values})
            return _Written(row.row, made.id, made.version)
        project = access_project(connection, actor, row.project_id or 0, "projects:write", lock=True)
        if project.version != row.version:
            return _Written(row.row, late=text("users.row_changed"))
        before = {name: getattr(project, name) for name in row.values}
        after = change(connection, effects, actor, project, row.values)
        return _Written(row.row, project.id, after.version, before)
    except Invalid as wrong:
        return _Written(row.row, late=next(iter(wrong.fields.values()))[0])
    except DomainError as error:
        return _Written(row.row, late=error.text)


async def _take_back_all(ctx: Context, actor: Actor, row: Any, progress: Progress | None = None) -> None:
    for number in range(len(row.rows)):
        await commit(ctx, lambda connection, effects, number=number: _take_back(connection, effects, actor, row.id, number))  # type: ignore[misc]
        if progress is not None:
            await progress(100 * (number + 1) // len(row.rows), "")

    def end(connection: sa.Connection, effects: Effects) -> None:
        if _move(connection, row.id, ImportState.UNDOING, ImportState.UNDONE, undone_at=effects.now):
            audit.note(connection, effects.now, actor, "project.import_undo", f"project_import:{row.id}")

    await commit(ctx, end)


def _take_back(connection: sa.Connection, effects: Effects, actor: Actor, import_id: str, number: int) -> None:
    """Take one piece back, unless that has been done."""
    pieces = _lock(connection, import_id)
    done = connection.execute(sa.select(table.c.taken_back).where(table.c.id == import_id)).scalar_one()
    if done > number or len(pieces) <= number:
        return
    for one in pieces[number]:
        if one.project_id is not None:
            one.kept = not _undo(connection, effects, actor, one)
    _store(connection, import_id, pieces, taken_back=number + 1)


def _undo(connection: sa.Connection, effects: Effects, actor: Actor, one: _Written) -> bool:
    """Whether what was written is as it was before; not when somebody has changed it since, or the actor may not any more."""
    try:
        project = access_project(connection, actor, one.project_id or 0, "projects:write", lock=True)
        if project.version != one.version:
            return False
        if one.before is not None:
            change(connection, effects, actor, project, one.before)
        elif project.state == ProjectState.DRAFT:
            remove(connection, effects, actor, project)
        else:
            return False
    except ProjectNotFound:
        held = sa.select(projects.c.id).where(projects.c.id == one.project_id)
        return one.before is None and connection.execute(held).first() is None
    except DomainError:
        return False
    return True


def _finish(connection: sa.Connection, effects: Effects, user_id: int, row: Any) -> None:
    """End an import and tell whoever imported."""
    if not _move(connection, row.id, ImportState.QUEUED, ImportState.DONE):
        return
    written = [one for piece in _lock(connection, row.id) for one in piece]
    counts = row.counts["counts"]
    params = {
        "filename": row.filename,
        "created": sum(one.late is None and one.before is None for one in written),
        "updated": sum(one.late is None and one.before is not None for one in written),
        "errors": counts["error"] + sum(one.late is not None for one in written),
    }
    told = notify(connection, effects.now, [user_id], Kind.PROJECTS_IMPORTED, row.id, params, f"/projects/imports/{row.id}")
    effects.told.append(told)


async def _read(ctx: Context, data: bytes) -> ReadSheet:
    try:
        return await ctx.compute.run(read_project_sheet, data, dict(HEADER_NAMES), time_limit_s=READ_S, urgent=True)
    except SheetError as error:
        key = {"too_large": "users.sheet_too_large", "too_long": "users.sheet_too_long", "empty": "users.sheet_empty"}.get(error.code)
        key = key or ("project.sheet_header" if error.code == "header" else "users.sheet_not_xlsx")
        raise Invalid.field("file", key, most=MOST_ROWS) from None
    except (ComputeCrashed, ComputeTimedOut, ComputeOutOfMemory) as error:
        raise Invalid.field("file", "users.sheet_too_large") from error


def _shown(row: Planned, written: _Written | None, locale: Locale) -> RowReport:
    errors = [CellError(column, say(why.key, locale, **why.params)) for column, why in row.wrong]
    if written is not None and written.late is not None:
        errors.append(CellError("", say(written.late.key, locale, **written.late.params)))
    project_id = row.project_id if written is None else written.project_id or row.project_id
    return RowReport(row.row, "error" if errors else row.action, row.title, project_id, errors)


async def _row(ctx: Context, import_id: str, actor: Actor | None = None) -> Any:
    wanted = sa.select(table).where(table.c.id == import_id)
    row = await ctx.sql.read(lambda connection: connection.execute(wanted).one_or_none())
    if row is None or (actor is not None and (actor.user_id is None or row.user_id != actor.user_id)):
        raise ProjectImportNotFound()
    return row


def _lock(connection: sa.Connection, import_id: str) -> list[list[_Written]]:
    """What is written so far, by pieces; nobody else writes until the transaction ends."""
    return _written_of(connection.execute(sa.select(table.c.written).where(table.c.id == import_id).with_for_update()).one())


def _written_of(row: Any) -> list[list[_Written]]:
    return msgspec.convert(row.written, list[list[_Written]])


def _store(connection: sa.Connection, import_id: str, pieces: list[list[_Written]], **values: Any) -> None:
    connection.execute(table.update().where(table.c.id == import_id).values(written=msgspec.to_builtins(pieces), **values))


def _move(connection: sa.Connection, import_id: str, before: ImportState, after: ImportState, **values: Any) -> bool:
    """Change an import's state; False when it is in another one than `before`."""
    moving = table.update().where(table.c.id == import_id, table.c.state == before.value)
    return connection.execute(moving.values(state=after.value, **values)).rowcount == 1


def _pack(planned: Sequence[Planned]) -> str:
    return base64.b64encode(zlib.compress(msgspec.json.encode(planned), 1)).decode()


def _unpack(packed: str) -> list[Planned]:
    return _decode_plan(zlib.decompress(base64.b64decode(packed)))
