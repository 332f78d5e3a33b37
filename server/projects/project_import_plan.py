"""What an import would do with each row of a sheet of projects: propose, change, leave, or refuse, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.sheets import SheetRow
from server.actor import Actor
from server.messages import Text, text
from server.people.names import places_by_code
from server.people.organizations import home_of
from server.people.standing import people_called
from server.projects.access import AT_ONCE, MANAGE, WRITE, blind_ids, may_change, relations, visible
from server.projects.project_schemas import KINDS
from server.projects.project_sheets import HEADERS, KIND_NAMES, WrongBudget, read_budget
from server.projects.tables import projects

# Header in small letters -> column.
HEADER_NAMES: Mapping[str, str] = {
    name: column
    for column, titles in HEADERS.items()
    for name in {titles[0], titles[1], column, *{"title": ("项目名称", "name"), "organization": ("组织",)}.get(column, ())}
}
LONGEST = {"title": 300, "summary": 50_000}
_CELL_ERRORS = {name: f"users.cell_{name}" for name in ("formula", "error", "digits", "too_long", "twice")}


class Planned(msgspec.Struct, array_like=True):
    """One row's plan. `values`: what the project gets; `version`: that of a project which is to be changed."""

    row: int
    action: str  # create, update, unchanged, error
    title: str
    project_id: int | None = None
    version: int = 0
    values: dict[str, Any] = {}
    wrong: list[tuple[str, Text]] = []


class Surroundings(msgspec.Struct):
    """What rows refer to: the caller's home, and organizations by code."""

    home: int
    by_code: dict[str, int]


def read_surroundings(connection: sa.Connection, actor: Actor) -> Surroundings:
    return Surroundings(home_of(connection, actor.user_id), places_by_code(connection))


def plan(connection: sa.Connection, actor: Actor, around: Surroundings, rows: Sequence[SheetRow]) -> list[Planned]:
    """The plan of at most a piece of rows."""
    held = _held(connection, actor, rows)
    people = people_called(connection, {row.cells["owner"] for row in rows if "owner" in row.cells})
    return [_planned(connection, actor, around, row, held, people) for row in rows]


def _planned(
    connection: sa.Connection, actor: Actor, around: Surroundings, row: SheetRow, held: Mapping[int, Any], people: Mapping[str, int]
) -> Planned:
    wrong = [(column, text(_CELL_ERRORS[why], **({"row": other} if why == "twice" else {}))) for column, why, other in row.wrong]
    values = _values(row.cells, wrong)
    code, owner = row.cells.get("organization", "").casefold(), row.cells.get("owner", "").casefold()
    place = around.by_code.get(code) if code else None
    if code and place is None:
        wrong.append(("organization", text("project.cell_organization")))
    owner_id = people.get(owner) if owner else None
    if owner and owner_id is None:
        wrong.append(("owner", text("project.no_person")))
    made = Planned(row.number, "create", row.cells.get("title", ""), wrong=wrong)
    if "id" in row.cells:
        _plan_change(connection, actor, row.cells["id"], held, made, values)
        return made
    if not made.title:
        wrong.append(("title", text("project.cell_title")))
    home = place or around.home
    if not actor.may(WRITE, home):
        wrong.append(("organization", text("project.cell_organization")))
    if owner_id is not None and owner_id != actor.user_id and not actor.may(MANAGE, home):
        wrong.append(("owner", text("project.cell_owner")))
    made.values = {"kind": "research", **values, "organization_id": home, "owner_id": owner_id or actor.user_id}
    made.action = "error" if wrong else "create"
    return made


def _plan_change(
    connection: sa.Connection, actor: Actor, number: str, held: Mapping[int, Any], made: Planned, values: dict[str, Any]
) -> None:
    """Plan the change of a project that is there; its organization and owner are not changed by sheets."""
    project = held.get(int(number)) if number.isdecimal() and len(number) <= 15 else None
    if project is None:
        made.wrong.append(("id", text("project.no_other", id=number)))
    elif not may_change(actor, project, relations(connection, actor, project)):
        made.wrong.append(("id", text("project.cell_may_not")))
    if made.wrong or project is None:
        made.action = "error"
        return
    made.project_id, made.version, made.title = project.id, project.version, made.title or project.title
    made.values = {name: value for name, value in values.items() if value != getattr(project, name)}
    made.action = "update" if made.values else "unchanged"


def _values(cells: Mapping[str, str], wrong: list[tuple[str, Text]]) -> dict[str, Any]:
    """What the cells say, read; empty ones say nothing."""
    values: dict[str, Any] = {}
    for column, most in LONGEST.items():
        if column in cells:
            values[column] = cells[column]
            if len(cells[column]) > most:
                wrong.append((column, text("users.cell_too_long")))
    if "kind" in cells:
        values["kind"] = KIND_NAMES.get(cells["kind"], cells["kind"].casefold())
        if values["kind"] not in KINDS:
            wrong.append(("kind", text("project.cell_kind")))
    for column in ("starts_on", "ends_on"):
        if column in cells:
            values[column] = _day(cells[column])
            if values[column] is None:
                wrong.append((column, text("project.no_day", day=cells[column])))
    if values.get("starts_on") and values.get("ends_on") and values["ends_on"] < values["starts_on"]:
        wrong.append(("ends_on", text("project.ends_before")))
    if "budget" in cells:
        try:
            values["budget"] = read_budget(cells["budget"])
        except WrongBudget:
            wrong.append(("budget", text("project.cell_budget")))
    if "fields" in cells:
        try:
            values["fields"] = msgspec.json.decode(cells["fields"], type=dict[str, Any])
        except msgspec.MsgspecError:
            wrong.append(("fields", text("project.cell_fields")))
    return values


def _day(written: str) -> str | None:
    """An ISO date; Excel's own dates come with a time of midnight."""
    try:
        return date.fromisoformat(written.removesuffix("T00:00:00").replace("/", "-")).isoformat()
    except ValueError:
        return None


def _held(connection: sa.Connection, actor: Actor, rows: Sequence[SheetRow]) -> dict[int, Any]:
    """The projects that the rows name and the caller may see, but for those that it may only see blindly."""
    named = sorted({int(one) for row in rows if (one := row.cells.get("id", "")).isdecimal() and len(one) <= 15})
    found: dict[int, Any] = {}
    for first in range(0, len(named), AT_ONCE):
        wanted = sa.select(projects).where(projects.c.id.in_(named[first : first + AT_ONCE]), visible(actor))
        found |= {row.id: row for row in connection.execute(wanted)}
    hidden = blind_ids(connection, actor, found)
    return {project_id: row for project_id, row in found.items() if project_id not in hidden}
