"""What must exist before anybody can sign in: the root organization, the system roles and `admin`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.people.organization_tree import mend
from server.people.organizations import root_id
from server.people.passwords import Passwords
from server.people.tables import organizations, role_grants, roles, sessions, users
from server.platform import audit
from server.scopes import SYSTEM_ROLES

ADMIN = "admin"


async def set_up(ctx: Context, actor: Actor) -> None:
    """Create what is missing, and give the system roles the scopes that this version knows; safe to run at every start."""
    exists = sa.select(users.c.id).where(users.c.username_key == ADMIN)
    hashed = None
    if await ctx.sql.read(lambda connection: connection.execute(exists).first()) is None:
        hashed = await ctx.services.get(Passwords).hash(ctx.secrets.admin_password)

    def transaction(connection: sa.Connection) -> None:
        _root(connection, ctx.clock.now())
        mend(connection)
        _roles(connection)
        if hashed is not None and connection.execute(exists).first() is None:
            user_id = _admin(connection, hashed, ctx.clock.now())
            audit.note(connection, ctx.clock.now(), actor, "user.create", f"user:{user_id}", username=ADMIN)

    try:
        await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # another instance starts at the same moment
        await ctx.sql.write(transaction)


async def create_admin(ctx: Context, actor: Actor, username: str, password: str) -> int:
    """Create an administrator, or give an existing user that role, this password and life; ends the user's sessions. Answers the id."""
    hashed, now = await ctx.services.get(Passwords).hash(password), ctx.clock.now()

    def transaction(connection: sa.Connection) -> int:
        found = connection.execute(sa.select(users.c.id).where(users.c.username_key == username.casefold())).scalar()
        if found is None:
            found = _admin(connection, hashed, now, username)
        else:
            connection.execute(users.update().where(users.c.id == found).values(password_hash=hashed, state="active", updated_at=now))
            _grant_administrator(connection, found)
            ending = sessions.update().where(sessions.c.user_id == found, sessions.c.ended_at.is_(None))
            connection.execute(ending.values(ended_at=now, end_reason="password_change"))
        audit.note(connection, now, actor, "user.create_admin", f"user:{found}", username=username)
        return int(found)

    return await ctx.sql.write(transaction)


def _root(connection: sa.Connection, now: Any) -> None:
    if not root_id(connection):
        connection.execute(organizations.insert().values(parent_id=None, name="智汇", code="root", kind="root", created_at=now))


def _roles(connection: sa.Connection) -> None:
    present = {row.name: row for row in connection.execute(sa.select(roles))}
    for name, scopes in SYSTEM_ROLES.items():
        if name not in present:
            connection.execute(roles.insert().values(name=name, system=True, scopes=sorted(scopes)))
        elif present[name].scopes != sorted(scopes):
            connection.execute(roles.update().where(roles.c.name == name).values(scopes=sorted(scopes)))


def _admin(connection: sa.Connection, hashed: str, now: Any, username: str = ADMIN) -> int:
    made = connection.execute(
        users.insert().values(
            username=username,
            username_key=username.casefold(),
            name="管理员",
            kind="person",
            state="active",
            password_hash=hashed,
            organization_id=root_id(connection),
            created_at=now,
            updated_at=now,
        )
    )
    assert made.inserted_primary_key
    _grant_administrator(connection, made.inserted_primary_key[0])
    return int(made.inserted_primary_key[0])


def _grant_administrator(connection: sa.Connection, user_id: int) -> None:
    role_id = connection.execute(sa.select(roles.c.id).where(roles.c.name == "administrator")).scalar_one()
    grant = {"user_id": user_id, "role_id": role_id, "organization_id": root_id(connection)}
    held = sa.select(role_grants).where(*(role_grants.c[name] == value for name, value in grant.items()))
    if connection.execute(held).first() is None:
        connection.execute(role_grants.insert().values(**grant))
