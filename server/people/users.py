"""Users: the caller's own view, and the list."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import NotFound
from server.paging import Page, PageQuery, page_of
from server.people.schemas import Me, OrganizationRef, User
from server.people.tables import organizations, role_grants, roles, users


class UserNotFound(NotFound):
    type = "user_not_found"


def get_me(connection: sa.Connection, user_id: int) -> Me:
    """The user with roles, scopes and organizations."""
    user = connection.execute(sa.select(users).where(users.c.id == user_id)).one_or_none()
    if user is None:
        raise UserNotFound()
    granted = connection.execute(
        sa.select(roles.c.name, roles.c.scopes)
        .join(role_grants, role_grants.c.role_id == roles.c.id)
        .where(role_grants.c.user_id == user_id)
    ).all()
    home = connection.execute(sa.select(organizations.c.id, organizations.c.name).where(organizations.c.id == user.organization_id)).all()
    return Me(
        id=user.id,
        username=user.username,
        name=user.name,
        email=user.email,
        roles=sorted({row.name for row in granted}),
        scopes=sorted({scope for row in granted for scope in row.scopes}),
        organizations=[OrganizationRef(row.id, row.name) for row in home],
    )


async def get_own(ctx: Context, actor: Actor) -> Me:
    """The caller, seen with the scopes that this very request has."""
    if actor.user_id is None:
        raise UserNotFound()
    user_id = actor.user_id
    me = await ctx.sql.read_small(lambda connection: get_me(connection, user_id))
    me.scopes = sorted(actor.scopes)
    return me


async def list_users(ctx: Context, actor: Actor, query: PageQuery) -> Page[User]:
    """Users of the organizations where the caller may read users; `q` searches names and mail addresses."""
    places = actor.organizations("users:read")
    wanted = sa.select(users)
    if places is not None:
        wanted = wanted.where(users.c.organization_id.in_(places))
    columns = users.c

    def read(row: sa.Row[Any]) -> User:
        return User(
            id=row.id,
            username=row.username,
            name=row.name,
            email=row.email,
            kind=row.kind,
            state=row.state,
            organization_id=row.organization_id,
            roles=[],
            created_at=row.created_at,
            last_login_at=row.last_login_at,
        )

    def transaction(connection: sa.Connection) -> Page[User]:
        page = page_of(
            connection,
            wanted,
            query,
            read,
            sortable={"id": columns.id, "username": columns.username, "name": columns.name, "created_at": columns.created_at},
            searched=(columns.username, columns.name, columns.email),
            order="id",
        )
        if page.items:
            by_id = {user.id: user for user in page.items}
            held = sa.select(role_grants.c.user_id, roles.c.name).join(roles, roles.c.id == role_grants.c.role_id)
            for row in connection.execute(held.where(role_grants.c.user_id.in_(list(by_id)))):
                by_id[row.user_id].roles.append(row.name)
        return page

    return await ctx.sql.read_small(transaction)
