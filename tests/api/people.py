"""People and organizations put in by SQL, to ask as somebody else than `admin`."""

from __future__ import annotations

import sqlalchemy as sa

from server.context import Context
from server.people.passwords import Passwords
from server.people.tables import organizations, role_grants, roles, users
from tests.api.client import Api


async def user(ctx: Context, anonymous: Api, name: str, role: str | None, organization: int = 1) -> Api:
    """A user put in by SQL, with one role somewhere or none, signed in."""
    hashed, now = await ctx.services.get(Passwords).hash("a password"), ctx.clock.now()
    row = {"username": name, "username_key": name, "name": name, "kind": "person", "state": "active", "password_hash": hashed}

    def transaction(connection: sa.Connection) -> None:
        made = connection.execute(users.insert().values(**row, organization_id=organization, created_at=now, updated_at=now))
        assert made.inserted_primary_key
        if role is not None:
            role_id = connection.execute(sa.select(roles.c.id).where(roles.c.name == role)).scalar_one()
            grant = {"user_id": made.inserted_primary_key[0], "role_id": role_id, "organization_id": organization}
            connection.execute(role_grants.insert().values(**grant))

    await ctx.sql.write(transaction)
    pair = (await anonymous.post("/api/auth/login", {"username": name, "password": "a password"})).result
    return anonymous.as_caller(pair["access_token"])


async def organization(ctx: Context, code: str) -> int:
    now = ctx.clock.now()
    values = {"parent_id": 1, "name": code, "code": code, "kind": "school", "created_at": now}
    made = await ctx.sql.write(lambda connection: connection.execute(organizations.insert().values(**values)).inserted_primary_key)
    assert made
    return int(made[0])
