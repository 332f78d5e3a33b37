"""Tags of projects: words of the vocabulary that documents have too."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.knowledge.document_tags import tags_named
from server.knowledge.naming import tag_words, tags_named_as
from server.platform import audit
from server.projects import history
from server.projects.access import WRITE, access_project
from server.projects.effects import Effects, commit
from server.projects.events import ProjectChanged
from server.projects.project_schemas import Listed, ProjectTag
from server.projects.tables import project_tags as table

MOST_TAGS = 20


async def list_tags(ctx: Context, actor: Actor, project_id: int) -> Listed:
    """Raises ProjectNotFound."""

    def transaction(connection: sa.Connection) -> Listed:
        access_project(connection, actor, project_id)
        return _listed(connection, project_id)

    return await ctx.sql.read(transaction)


async def add_tag(ctx: Context, actor: Actor, project_id: int, name: str) -> Listed:
    """Put a tag of the organization's vocabulary on; all that it has then. Raises ProjectNotFound, Forbidden, Invalid."""

    def transaction(connection: sa.Connection, effects: Effects) -> Listed:
        project = access_project(connection, actor, project_id, WRITE, lock=True)
        if put_tags(connection, project, [name.strip()], field="name"):
            _note(connection, effects, actor, project, "add", name.strip())
        return _listed(connection, project_id)

    return await commit(ctx, transaction)


async def remove_tag(ctx: Context, actor: Actor, project_id: int, name: str) -> Listed:
    """Take a tag off; one that is not there is fine. Raises ProjectNotFound, Forbidden."""

    def transaction(connection: sa.Connection, effects: Effects) -> Listed:
        project = access_project(connection, actor, project_id, WRITE, lock=True)
        gone = table.delete().where(table.c.project_id == project_id, table.c.tag_id.in_(tags_named_as(name.strip())))
        if connection.execute(gone).rowcount:
            _note(connection, effects, actor, project, "remove", name.strip())
        return _listed(connection, project_id)

    return await commit(ctx, transaction)


def put_tags(connection: sa.Connection, project: Any, names: list[str], *, field: str = "tags") -> int:
    """Put tags on by name; how many were not there. Raises Invalid, naming the field, for a word that the vocabulary does not have."""
    try:
        wanted = tags_named(connection, project.organization_id, names)
    except Invalid as wrong:
        raise Invalid(fields={field: wrong.fields["tags"]}) from None
    held = set(connection.execute(sa.select(table.c.tag_id).where(table.c.project_id == project.id)).scalars())
    new = [tag_id for tag_id in wanted if tag_id not in held]
    if len(held) + len(new) > MOST_TAGS:
        raise Invalid.field(field, "project.too_many_tags", most=MOST_TAGS)
    if new:
        connection.execute(table.insert(), [{"project_id": project.id, "tag_id": tag_id} for tag_id in new])
    return len(new)


def tag_names(connection: sa.Connection, project_ids: Collection[int]) -> dict[int, list[str]]:
    """The names of the tags of at most a page of projects, by project."""
    if not project_ids:
        return {}
    rows = connection.execute(sa.select(table).where(table.c.project_id.in_(list(project_ids)))).all()
    words = tag_words(connection, {row.tag_id for row in rows})
    found: dict[int, list[str]] = {}
    for row in rows:
        if row.tag_id in words:
            found.setdefault(row.project_id, []).append(words[row.tag_id])
    return {project_id: sorted(names) for project_id, names in found.items()}


def tagged(name: str) -> sa.Select[Any]:
    """The ids of the projects that have a tag of that name."""
    return sa.select(table.c.project_id).where(table.c.tag_id.in_(tags_named_as(name)))


def _note(connection: sa.Connection, effects: Effects, actor: Actor, project: Any, action: str, name: str) -> None:
    history.add(connection, effects.now, actor, project.id, "tag", action=action, name=name)
    audit.note(connection, effects.now, actor, f"project.{action}_tag", f"project:{project.id}", name=name)
    effects.events.append(ProjectChanged(project.id, project.organization_id, project.state))


def _listed(connection: sa.Connection, project_id: int) -> Listed:
    held = connection.execute(sa.select(table.c.tag_id).where(table.c.project_id == project_id)).scalars()
    words = tag_words(connection, list(held))
    items = [ProjectTag(tag_id, name) for tag_id, name in sorted(words.items(), key=lambda one: one[1])]
    return Listed(items, len(items))
