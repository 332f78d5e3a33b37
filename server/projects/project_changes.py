"""Changing projects: proposed, changed with each value kept in the history, removed while they are drafts."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden, Invalid
from server.people.organizations import check_organization, home_of
from server.platform import audit
from server.projects import history, project_index
from server.projects.access import MANAGE, WRITE, access_project, relations
from server.projects.effects import Effects, commit
from server.projects.events import ProjectChanged
from server.projects.project_schemas import ProjectDetail, ProjectDraft, ProjectPatch
from server.projects.project_tags import put_tags
from server.projects.projects import detail
from server.projects.states import ProjectState, Who, count_day, state_text
from server.projects.tables import milestones, project_attachments, project_links, project_members, project_tags, projects

MOST_FIELDS_BYTES = 65_536


class VersionConflict(Conflict):
    """Somebody else has changed it; `version` is the present one."""

    type = "project_version"


class NotADraft(Conflict):
    """Only drafts are removed; `state` says what it is."""

    type = "project_no_draft"


async def create_project(ctx: Context, actor: Actor, draft: ProjectDraft) -> ProjectDetail:
    """Propose a project, as a draft of the caller. Raises Forbidden, Invalid."""

    def transaction(connection: sa.Connection, effects: Effects) -> ProjectDetail:
        place = draft.organization_id or home_of(connection, actor.user_id)
        check_organization(connection, place)
        if not actor.may(WRITE, place):
            raise Forbidden(scope=WRITE)
        values = {name: value for name, value in msgspec.to_builtins(draft).items() if name not in ("tags", "organization_id")}
        row = create(connection, effects, actor, **values, organization_id=place, owner_id=actor.user_id)
        put_tags(connection, row, [name.strip() for name in draft.tags if name.strip()])
        return detail(connection, actor, row)

    return await commit(ctx, transaction)


def create(
    connection: sa.Connection,
    effects: Effects,
    actor: Actor,
    *,
    kind: str,
    title: str,
    summary: str = "",
    organization_id: int,
    owner_id: int | None,
    fields: dict[str, Any] | None = None,
    budget: list[dict[str, Any]] | None = None,
    starts_on: str | None = None,
    ends_on: str | None = None,
    opening_id: int | None = None,
) -> Any:
    """Put a draft in, whoever asks; its row. Raises Invalid for days or fields that cannot be."""
    values: dict[str, Any] = {
        "kind": kind,
        "title": title.strip(),
        "summary": summary,
        "fields": fields or {},
        "budget": budget or [],
        "starts_on": starts_on,
        "ends_on": ends_on,
    }
    _check(values)
    now = effects.now
    made = connection.execute(
        projects.insert().values(
            **values,
            organization_id=organization_id,
            owner_id=owner_id,
            opening_id=opening_id,
            state=ProjectState.DRAFT.value,
            state_since=now,
            version=1,
            created_at=now,
            updated_at=now,
        )
    )
    assert made.inserted_primary_key
    row = connection.execute(sa.select(projects).where(projects.c.id == made.inserted_primary_key[0])).one()
    history.add(connection, now, actor, row.id, "created", to_state=row.state, title=row.title)
    count_day(connection, effects.today, row, "entered", row.state)
    audit.note(connection, now, actor, "project.create", f"project:{row.id}", title=row.title, organization_id=organization_id, kind=kind)
    effects.events.append(ProjectChanged(row.id, organization_id, row.state))
    return row


async def change_project(ctx: Context, actor: Actor, project_id: int, patch: ProjectPatch) -> ProjectDetail:
    """Change what is given; each value before and after goes into the history.

    Raises ProjectNotFound, Forbidden, VersionConflict, Invalid.
    """
    given = {name: value for name, value in msgspec.to_builtins(patch).items() if name != "version"}

    def transaction(connection: sa.Connection, effects: Effects) -> ProjectDetail:
        row = access_project(connection, actor, project_id, WRITE, lock=True)
        if patch.version is not None and patch.version != row.version:
            raise VersionConflict(version=row.version)
        return detail(connection, actor, change(connection, effects, actor, row, given))

    return await commit(ctx, transaction)


def change(connection: sa.Connection, effects: Effects, actor: Actor, row: Any, given: dict[str, Any]) -> Any:
    """Write what differs, whoever asks (but for another organization, where the actor must be able to propose); the row afterwards.

    Raises VersionConflict when the row is no longer as it was read, Forbidden, Invalid.
    """
    changed = {name: value for name, value in given.items() if value != getattr(row, name)}
    if "title" in changed:
        changed["title"] = changed["title"].strip()
    if not changed:
        return row
    _check({name: changed.get(name, getattr(row, name)) for name in ("fields", "starts_on", "ends_on")})
    if "organization_id" in changed:
        check_organization(connection, changed["organization_id"])
        if not (actor.may(WRITE, changed["organization_id"]) or actor.may(MANAGE, changed["organization_id"])):
            raise Forbidden(scope=WRITE)
        # Tags belong to the vocabulary of an organization.
        connection.execute(project_tags.delete().where(project_tags.c.project_id == row.id))
    if "ends_on" in changed and row.state == ProjectState.RUNNING:
        changed["due_at"] = effects.end_of(changed["ends_on"]) if changed["ends_on"] else None
    one = projects.update().where(projects.c.id == row.id, projects.c.version == row.version)
    if not connection.execute(one.values(**changed, version=row.version + 1, updated_at=effects.now)).rowcount:
        raise VersionConflict(version=row.version + 1)
    changed.pop("due_at", None)
    before = {name: getattr(row, name) for name in changed}
    history.add(connection, effects.now, actor, row.id, "changed", before=before, after=changed)
    audit.note(connection, effects.now, actor, "project.change", f"project:{row.id}", fields=sorted(changed))
    after = connection.execute(sa.select(projects).where(projects.c.id == row.id)).one()
    if {"title", "summary"} & set(changed) and row.state != ProjectState.DRAFT:
        project_index.queue(connection, effects, row.id, after.version)
    effects.events.append(ProjectChanged(row.id, after.organization_id, row.state))
    return after


async def remove_project(ctx: Context, actor: Actor, project_id: int) -> None:
    """Remove a draft with its parts; what happened to it stays in the audit log. Raises ProjectNotFound, Forbidden, NotADraft."""

    def transaction(connection: sa.Connection, effects: Effects) -> None:
        row = access_project(connection, actor, project_id, lock=True)
        if not {Who.PROPOSER, Who.MANAGER} & relations(connection, actor, row):
            raise Forbidden(scope=MANAGE)
        if row.state != ProjectState.DRAFT:
            raise NotADraft(state=state_text(row.state))
        remove(connection, effects, actor, row)

    await commit(ctx, transaction)


def remove(connection: sa.Connection, effects: Effects, actor: Actor, row: Any) -> None:
    """Take a draft away with all that is kept by it, whoever asks."""
    for table in (project_members, project_attachments, project_tags, milestones):
        connection.execute(table.delete().where(table.c.project_id == row.id))
    connection.execute(project_links.delete().where(sa.or_(project_links.c.project_id == row.id, project_links.c.other_id == row.id)))
    connection.execute(projects.delete().where(projects.c.id == row.id, projects.c.state == ProjectState.DRAFT.value))
    count_day(connection, effects.today, row, "left", row.state)
    audit.note(connection, effects.now, actor, "project.delete", f"project:{row.id}", title=row.title)
    project_index.queue(connection, effects, row.id, row.version)
    effects.events.append(ProjectChanged(row.id, row.organization_id, "deleted"))


def _check(values: dict[str, Any]) -> None:
    """Raise Invalid for days that are none or in the wrong order, and for fields that are too much."""
    for name in ("starts_on", "ends_on"):
        try:
            if values[name] is not None:
                date.fromisoformat(values[name])
        except ValueError:
            raise Invalid.field(name, "project.no_day", day=values[name]) from None
    if values["starts_on"] and values["ends_on"] and values["ends_on"] < values["starts_on"]:
        raise Invalid.field("ends_on", "project.ends_before")
    if len(msgspec.json.encode(values["fields"])) > MOST_FIELDS_BYTES:
        raise Invalid.field("fields", "project.fields_too_much", most=MOST_FIELDS_BYTES)
