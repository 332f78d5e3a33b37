"""Who works on a project, and as what."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Forbidden, Invalid, NotFound
from server.people.names import Named, users_named
from server.people.standing import find_active, people_called
from server.platform import audit
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import notify
from server.projects import history
from server.projects.access import WRITE, access_project, blind_ids, roles_of
from server.projects.effects import Effects, commit
from server.projects.events import ProjectChanged
from server.projects.project_schemas import Listed, MemberBody, ProjectMember
from server.projects.tables import project_members as table

MOST_MEMBERS = 100


class ProjectMemberNotFound(NotFound):
    type = "project_member_not_found"


async def list_members(ctx: Context, actor: Actor, project_id: int) -> Listed:
    """The members; none for who reviews the project blindly. Raises ProjectNotFound."""

    def transaction(connection: sa.Connection) -> Listed:
        access_project(connection, actor, project_id)
        if blind_ids(connection, actor, [project_id]):
            return Listed([], 0)
        members = sa.select(table).where(table.c.project_id == project_id).order_by(table.c.created_at, table.c.user_id)
        rows = connection.execute(members).all()
        named = users_named(connection, [row.user_id for row in rows])
        items = [_member(row, named[row.user_id]) for row in rows if row.user_id in named]
        return Listed(items, len(items))

    return await ctx.sql.read(transaction)


async def put_member(ctx: Context, actor: Actor, project_id: int, body: MemberBody) -> ProjectMember:
    """Make somebody a member, or give a member another role. Raises ProjectNotFound, Forbidden, Invalid naming the field."""
    if (body.user_id is None) == (not body.username.strip()):
        raise Invalid.field("user_id", "project.member_one_of")

    def transaction(connection: sa.Connection, effects: Effects) -> ProjectMember:
        project = access_project(connection, actor, project_id, WRITE, lock=True)
        user_id = _person(connection, body)
        put(connection, effects, actor, project, user_id, body.role)
        one = sa.select(table).where(table.c.project_id == project_id, table.c.user_id == user_id)
        return _member(connection.execute(one).one(), users_named(connection, [user_id])[user_id])

    return await commit(ctx, transaction)


def put(connection: sa.Connection, effects: Effects, actor: Actor, project: Any, user_id: int, role: str) -> None:
    """Make a user a member with a role, whoever asks, and tell the user. Raises Invalid when there are too many."""
    held = roles_of(connection, project.id, user_id)
    if held == [role]:
        return
    if held:
        one = table.update().where(table.c.project_id == project.id, table.c.user_id == user_id)
        connection.execute(one.values(role=role))
    else:
        counted = sa.select(sa.func.count()).select_from(table).where(table.c.project_id == project.id)
        if connection.execute(counted).scalar_one() >= MOST_MEMBERS:
            raise Invalid.field("user_id", "project.too_many_members", most=MOST_MEMBERS)
        connection.execute(table.insert().values(project_id=project.id, user_id=user_id, role=role, created_at=effects.now))
    entry = _note(connection, effects, actor, project, "put", user_id, role=role)
    if user_id != actor.user_id:
        params = {"title": project.title, "role": {"key": f"project.role.{role}", "params": {}}}
        told = notify(connection, effects.now, [user_id], Kind.PROJECT_MEMBER, str(entry), params, f"/projects/{project.id}")
        effects.told.append(told)


async def remove_member(ctx: Context, actor: Actor, project_id: int, user_id: int) -> None:
    """Take a member out; a member may always leave a project of which it is not in charge.

    Raises ProjectNotFound, Forbidden, ProjectMemberNotFound.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> None:
        try:
            project = access_project(connection, actor, project_id, WRITE, lock=True)
        except Forbidden:
            if user_id != actor.user_id:
                raise
            project = access_project(connection, actor, project_id, lock=True)
        gone = table.delete().where(table.c.project_id == project_id, table.c.user_id == user_id)
        if not connection.execute(gone).rowcount:
            raise ProjectMemberNotFound()
        _note(connection, effects, actor, project, "remove", user_id)

    await commit(ctx, transaction)


def _person(connection: sa.Connection, body: MemberBody) -> int:
    """The active person who is meant."""
    if body.user_id is not None:
        if find_active(connection, user_id=body.user_id) is None:
            raise Invalid.field("user_id", "project.no_person")
        return body.user_id
    for user_id in people_called(connection, [body.username]).values():
        return user_id
    raise Invalid.field("username", "project.no_person")


def _note(connection: sa.Connection, effects: Effects, actor: Actor, project: Any, action: str, user_id: int, **detail: Any) -> int:
    entry = history.add(connection, effects.now, actor, project.id, "member", action=action, member_id=user_id, **detail)
    audit.note(connection, effects.now, actor, f"project.{action}_member", f"project:{project.id}", member_id=user_id, **detail)
    effects.events.append(ProjectChanged(project.id, project.organization_id, project.state))
    return entry


def _member(row: Any, named: Named) -> ProjectMember:
    return ProjectMember(user_id=row.user_id, username=named.username, name=named.name, role=row.role, created_at=row.created_at)
