"""How projects belong together: one follows another, is part of it, or is related."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid, NotFound
from server.platform import audit
from server.projects import history
from server.projects.access import WRITE, access_project, blind_ids, visible
from server.projects.effects import Effects, commit
from server.projects.events import ProjectChanged
from server.projects.project_schemas import Id, Link, LinkBody, LinkKind, Listed
from server.projects.tables import project_links as table
from server.projects.tables import projects

MOST_LINKS = 100


class LinkQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which link; without a kind every one to that project."""

    other_id: Id
    kind: LinkKind | Annotated[str, msgspec.Meta(max_length=0)] = ""


class LinkNotFound(NotFound):
    type = "project_link_not_found"


async def list_links(ctx: Context, actor: Actor, project_id: int) -> Listed:
    """The links in both directions, to projects that the caller may see; none for who reviews it blindly. Raises ProjectNotFound."""

    def transaction(connection: sa.Connection) -> Listed:
        access_project(connection, actor, project_id)
        return _listed(connection, actor, project_id)

    return await ctx.sql.read(transaction)


async def add_link(ctx: Context, actor: Actor, project_id: int, body: LinkBody) -> Listed:
    """Link a project to one that the caller may see; all its links then. Raises ProjectNotFound, Forbidden, Invalid."""
    if body.other_id == project_id:
        raise Invalid.field("other_id", "project.link_itself")

    def transaction(connection: sa.Connection, effects: Effects) -> Listed:
        project = access_project(connection, actor, project_id, WRITE, lock=True)
        seen = sa.select(projects.c.id).where(projects.c.id == body.other_id, visible(actor))
        if connection.execute(seen).first() is None:
            raise Invalid.field("other_id", "project.no_other", id=body.other_id)
        held = {(row.other_id, row.kind) for row in connection.execute(sa.select(table).where(table.c.project_id == project_id))}
        if (body.other_id, body.kind) not in held:
            if len(held) >= MOST_LINKS:
                raise Invalid.field("other_id", "project.too_many_links", most=MOST_LINKS)
            connection.execute(table.insert().values(project_id=project_id, other_id=body.other_id, kind=body.kind, created_at=effects.now))
            _note(connection, effects, actor, project, "add", body.other_id, body.kind)
        return _listed(connection, actor, project_id)

    return await commit(ctx, transaction)


async def remove_link(ctx: Context, actor: Actor, project_id: int, query: LinkQuery) -> Listed:
    """Remove a link that this project has to the other. Raises ProjectNotFound, Forbidden, LinkNotFound."""

    def transaction(connection: sa.Connection, effects: Effects) -> Listed:
        project = access_project(connection, actor, project_id, WRITE, lock=True)
        gone = table.delete().where(table.c.project_id == project_id, table.c.other_id == query.other_id)
        if not connection.execute(gone.where(table.c.kind == query.kind) if query.kind else gone).rowcount:
            raise LinkNotFound()
        _note(connection, effects, actor, project, "remove", query.other_id, query.kind)
        return _listed(connection, actor, project_id)

    return await commit(ctx, transaction)


def _note(connection: sa.Connection, effects: Effects, actor: Actor, project: Any, action: str, other_id: int, kind: str) -> None:
    history.add(connection, effects.now, actor, project.id, "link", action=action, other_id=other_id, kind=kind)
    audit.note(connection, effects.now, actor, f"project.{action}_link", f"project:{project.id}", other_id=other_id, kind=kind)
    effects.events.append(ProjectChanged(project.id, project.organization_id, project.state))


def _listed(connection: sa.Connection, actor: Actor, project_id: int) -> Listed:
    if blind_ids(connection, actor, [project_id]):
        return Listed([], 0)
    found = []
    for here, there, inbound in ((table.c.project_id, table.c.other_id, False), (table.c.other_id, table.c.project_id, True)):
        wanted = sa.select(projects.c.id, projects.c.title, projects.c.state, table.c.kind, table.c.created_at)
        wanted = wanted.join(table, there == projects.c.id).where(here == project_id, visible(actor)).order_by(projects.c.id, table.c.kind)
        found += [
            Link(other_id=row.id, title=row.title, state=row.state, kind=row.kind, inbound=inbound, created_at=row.created_at)
            for row in connection.execute(wanted.limit(MOST_LINKS))
        ]
    return Listed(found, len(found))
