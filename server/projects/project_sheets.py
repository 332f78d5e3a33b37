"""Projects as a spreadsheet: those of a query, and an empty one to fill in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.project_sheets import write_project_sheet
from jobs.cpu.sheets import PIECE
from server.actor import Actor
from server.context import Context
from server.messages import Locale, say
from server.people.names import Named, Place, places_named, users_named
from server.platform import audit
from server.projects.access import blind_ids
from server.projects.project_schemas import MOST_CENTS, ProjectFilter
from server.projects.project_tags import tag_names
from server.projects.projects import narrow
from server.projects.tables import project_members, projects

# Column -> (Chinese header, English header). What a sheet is exported with can be imported again.
HEADERS: dict[str, tuple[str, str]] = {
    "id": ("编号", "id"),
    "title": ("名称", "title"),
    "kind": ("类型", "kind"),
    "summary": ("简介", "summary"),
    "organization": ("组织代码", "organization"),
    "owner": ("申报人", "owner"),
    "starts_on": ("开始日期", "starts on"),
    "ends_on": ("结束日期", "ends on"),
    "budget": ("预算", "budget"),
    "fields": ("其他字段", "fields"),
}
SHOWN_ALONE: dict[str, tuple[str, str]] = {
    "state": ("状态", "state"),
    "members": ("成员", "members"),
    "tags": ("标签", "tags"),
    "due_at": ("到期时间", "due at"),
    "created_at": ("创建时间", "created at"),
}
KIND_NAMES: Mapping[str, str] = {"科研": "research", "教学": "teaching", "学生": "student"}
WRITE_S = 300.0
_BETWEEN_LINES = re.compile(r"[;；\n]")
_BEFORE_AMOUNT = re.compile(r"[:：=]")


class WrongBudget(ValueError):
    """It is not written as lines of what and how much."""


async def template(ctx: Context, actor: Actor) -> bytes:
    """An xlsx with headers and, on a second sheet, what goes where."""
    header = _titles(actor.locale, HEADERS)
    notes = [[title, say(f"project.guide.{name}", actor.locale)] for name, title in zip(HEADERS, header, strict=True)]
    title = "说明" if actor.locale == "zh" else "guide"
    return await ctx.compute.run(write_project_sheet, header, [], notes, title, time_limit_s=WRITE_S, urgent=True)


async def export(ctx: Context, actor: Actor, query: ProjectFilter) -> bytes:
    """The projects of a query that the caller may see, as an xlsx."""
    pieces: list[bytes] = []
    now = ctx.clock.now()
    after = count = 0
    while True:
        rows, after = await ctx.sql.read(lambda connection, after=after: _piece(connection, actor, query, now, after))  # type: ignore[misc]
        if not rows:
            break
        pieces.append(msgspec.json.encode(rows))
        count += len(rows)
    await ctx.sql.write(lambda connection: audit.note(connection, now, actor, "project.export", "project", count=count))
    header = _titles(actor.locale, HEADERS, SHOWN_ALONE)
    return await ctx.compute.run(write_project_sheet, header, pieces, time_limit_s=WRITE_S, urgent=True)


def budget_text(lines: Sequence[Mapping[str, Any]]) -> str:
    """`books: 1200.50; travel: 300.00`."""
    return "; ".join(f"{line['what']}: {line['amount'] // 100}.{line['amount'] % 100:02}" for line in lines)


def read_budget(written: str) -> list[dict[str, Any]]:
    """The lines of a budget as `budget_text` writes them. Raises WrongBudget."""
    lines = []
    for part in filter(None, (one.strip() for one in _BETWEEN_LINES.split(written))):
        *what, amount = _BEFORE_AMOUNT.split(part)
        try:
            cents = Decimal(amount.strip().replace(",", "")) * 100
        except InvalidOperation:
            raise WrongBudget() from None
        name = ":".join(what).strip()
        if not name or not cents.is_finite() or cents != int(cents) or not 0 <= cents <= MOST_CENTS or len(name) > 200:
            raise WrongBudget()
        lines.append({"what": name, "amount": int(cents)})
    return lines


def _titles(locale: Locale, *columns: dict[str, tuple[str, str]]) -> list[str]:
    return [title[0 if locale == "zh" else 1] for part in columns for title in part.values()]


def _piece(connection: sa.Connection, actor: Actor, query: ProjectFilter, now: Any, after: int) -> tuple[list[list[str]], int]:
    """The next projects by id, as rows, and the last id."""
    wanted = narrow(sa.select(projects), actor, query, now).where(projects.c.id > after).order_by(projects.c.id).limit(PIECE)
    found = connection.execute(wanted).all()
    ids = [row.id for row in found]
    hidden, tags, members = blind_ids(connection, actor, ids), tag_names(connection, ids), _members(connection, ids)
    people = {user_id for joined in members.values() for user_id, _ in joined}
    named = users_named(connection, people | {row.owner_id for row in found if row.owner_id is not None})
    places = places_named(connection, {row.organization_id for row in found})
    rows = [_row(row, row.id in hidden, members.get(row.id, []), tags.get(row.id, []), named, places) for row in found]
    return rows, ids[-1] if ids else after


def _members(connection: sa.Connection, ids: Sequence[int]) -> dict[int, list[tuple[int, str]]]:
    """User ids with their roles, by project."""
    found: dict[int, list[tuple[int, str]]] = {}
    if ids:
        for row in connection.execute(sa.select(project_members).where(project_members.c.project_id.in_(ids))):
            found.setdefault(row.project_id, []).append((row.user_id, row.role))
    return found


def _row(
    project: Any,
    hidden: bool,
    members: Sequence[tuple[int, str]],
    tags: Sequence[str],
    named: Mapping[int, Named],
    places: Mapping[int, Place],
) -> list[str]:
    people = sorted(f"{named[user_id].username} ({role})" for user_id, role in members if user_id in named)
    return [
        str(project.id),
        project.title,
        project.kind,
        project.summary,
        "" if hidden or project.organization_id not in places else places[project.organization_id].code,
        "" if hidden or project.owner_id not in named else named[project.owner_id].username,
        project.starts_on or "",
        project.ends_on or "",
        budget_text(project.budget),
        msgspec.json.encode(project.fields).decode() if project.fields else "",
        project.state,
        "" if hidden else ", ".join(people),
        ", ".join(tags),
        project.due_at.isoformat(timespec="seconds") if project.due_at else "",
        project.created_at.isoformat(timespec="seconds"),
    ]
