"""Which roles a user has, and in which organizations with all below them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Forbidden, Invalid
from server.messages import text
from server.people.identify import RightsChanged
from server.people.organizations import Id, check_organization
from server.people.tables import role_grants, roles, users
from server.people.user_rights import ADMINISTRATOR, LastAdministrator, administrators
from server.people.users import UserNotFound
from server.platform import audit
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce, notify

WRITE = "roles:write"


class RoleGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """A role by its name, and the organization where it holds, with all below it."""

    role: str
    organization_id: Id


class RoleGrants(msgspec.Struct, forbid_unknown_fields=True):
    """All roles of a user."""

    roles: Annotated[list[RoleGrant], msgspec.Meta(max_length=200)]


async def get_grants(ctx: Context, actor: Actor, user_id: int) -> RoleGrants:
    """Raises UserNotFound for one whom the caller may not see."""

    def transaction(connection: sa.Connection) -> RoleGrants:
        _access_user(connection, actor, user_id)
        return RoleGrants(sorted(grants_of(connection, user_id)))

    return await ctx.sql.read(transaction)


async def put_grants(ctx: Context, actor: Actor, user_id: int, wanted: RoleGrants) -> RoleGrants:
    """Set the roles of a user; they hold with the next request, and on open sockets.

    For each that comes or goes the caller must hold roles:write and every scope of the role there.
    Raises UserNotFound, Forbidden, Invalid naming the field, LastAdministrator.
    """
    now, after = ctx.clock.now(), frozenset(wanted.roles)

    def transaction(connection: sa.Connection) -> Told | None:
        _access_user(connection, actor, user_id)
        # Locked, in one order: none of them is removed meanwhile, and two last administrators cannot both go.
        found = connection.execute(sa.select(roles).order_by(roles.c.id).with_for_update()).all()
        by_name = {row.name: row for row in found}
        before = grants_of(connection, user_id)
        for grant in sorted(after ^ before):
            role = by_name.get(grant.role)
            if role is None:
                raise Invalid.field("roles", "role.unknown", name=grant.role)
            check_may_grant(actor, frozenset(role.scopes), grant.organization_id)
            if grant in after:
                check_organization(connection, grant.organization_id, "roles")
        for grant in before - after:
            connection.execute(role_grants.delete().where(*_same(user_id, by_name[grant.role].id, grant.organization_id)))
        for grant in after - before:
            values = {"user_id": user_id, "role_id": by_name[grant.role].id, "organization_id": grant.organization_id}
            connection.execute(role_grants.insert().values(**values))
        if any(grant.role == ADMINISTRATOR for grant in before - after):
            check_administrator_remains(connection)
        if after == before:
            return None
        told = {"before": msgspec.to_builtins(sorted(before)), "after": msgspec.to_builtins(sorted(after))}
        audit.note(connection, now, actor, "user.roles", f"user:{user_id}", **told)
        names = ", ".join(sorted({grant.role for grant in after})) or msgspec.to_builtins(text("notification.no_roles"))
        return notify(connection, now, [user_id], Kind.ROLE_CHANGED, f"{user_id}:{now.isoformat()}", {"roles": names})

    told = await ctx.sql.write(transaction)
    if told is not None:
        await ctx.events.publish(RightsChanged(user_id))
        await announce(ctx, told)
    return RoleGrants(sorted(after))


def check_may_grant(actor: Actor, scopes: frozenset[str], organization_id: int) -> None:
    """Raise Forbidden unless the caller may grant and take a role of these scopes in the organization: it holds all of them there."""
    for scope in (WRITE, *sorted(scopes)):
        if not actor.may(scope, organization_id):
            raise Forbidden(scope=scope)


def check_administrator_remains(connection: sa.Connection) -> None:
    """Raise LastAdministrator unless an active user is administrator at the root; asked after a change, in its transaction."""
    if not administrators(connection):
        raise LastAdministrator()


def grants_of(connection: sa.Connection, user_id: int) -> frozenset[RoleGrant]:
    """The roles that a user has, wherever."""
    held = sa.select(roles.c.name, role_grants.c.organization_id).join(role_grants, role_grants.c.role_id == roles.c.id)
    return frozenset(RoleGrant(row.name, row.organization_id) for row in connection.execute(held.where(role_grants.c.user_id == user_id)))


def _access_user(connection: sa.Connection, actor: Actor, user_id: int) -> None:
    home = connection.execute(sa.select(users.c.organization_id).where(users.c.id == user_id)).scalar()
    if home is None or not any(actor.may(scope, home) for scope in ("users:read", "roles:read", WRITE)):
        raise UserNotFound()


def _same(user_id: int, role_id: int, organization_id: int) -> list[Any]:
    return [role_grants.c.user_id == user_id, role_grants.c.role_id == role_id, role_grants.c.organization_id == organization_id]
