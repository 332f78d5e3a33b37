"""Roles: sets of scopes; the system's own, and those that administrators make."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Invalid, NotFound
from server.paging import Page, PageQuery, page_of
from server.people.identify import RightsChanged
from server.people.tables import role_grants, roles
from server.platform import audit
from server.scopes import ALL

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Description = Annotated[str, msgspec.Meta(max_length=500)]
Scopes = Annotated[list[str], msgspec.Meta(max_length=200)]


class RoleNotFound(NotFound):
    type = "role_not_found"


class SystemRole(Conflict):
    """The system's roles are as they are."""

    type = "system_role"


class RoleInUse(Conflict):
    type = "role_in_use"


class Role(msgspec.Struct, kw_only=True):
    """A role. `grants`: how often it is granted, to anybody anywhere."""

    id: int
    name: str
    description: str
    system: bool
    scopes: list[str]
    grants: int


class RoleBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: Name
    scopes: Scopes
    description: Description = ""


class RolePatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    scopes: Scopes | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET


_GRANTS = sa.select(sa.func.count()).select_from(role_grants).where(role_grants.c.role_id == roles.c.id).correlate(roles).scalar_subquery()
_SHOWN = sa.select(roles, _GRANTS.label("grants"))
_SORTABLE = {"id": roles.c.id, "name": roles.c.name}


async def list_roles(ctx: Context, query: PageQuery) -> Page[Role]:
    """All roles; `q` searches names and descriptions."""
    searched = (roles.c.name, roles.c.description)
    return await ctx.sql.read(
        lambda connection: page_of(connection, _SHOWN, query, _shown, sortable=_SORTABLE, searched=searched, order="id")
    )


async def get_role(ctx: Context, role_id: int) -> Role:
    """Raises RoleNotFound."""
    return await ctx.sql.read(lambda connection: _get(connection, role_id))


async def create_role(ctx: Context, actor: Actor, body: RoleBody) -> Role:
    """A role of scopes that the caller holds everywhere. Raises Invalid naming the field."""
    now = ctx.clock.now()
    name, scopes = _cleaned(body.name), _checked(actor, body.scopes, frozenset())
    values = {"name": name, "description": body.description.strip(), "scopes": scopes}

    def transaction(connection: sa.Connection) -> Role:
        _check_free(connection, name, None)
        made = connection.execute(roles.insert().values(**values, system=False)).inserted_primary_key
        assert made is not None
        audit.note(connection, now, actor, "role.create", f"role:{made[0]}", **values)
        return _get(connection, int(made[0]))

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # made by somebody else at the same moment
        raise Invalid.field("name", "field.taken") from None


async def change_role(ctx: Context, actor: Actor, role_id: int, patch: RolePatch) -> Role:
    """What the role's holders may do changes with their next request, and on their open sockets.

    A scope that comes to it must be one that the caller holds everywhere. Raises RoleNotFound, SystemRole, Invalid naming the field.
    """
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> tuple[Role, bool]:
        row = _own(connection, role_id)
        changes: dict[str, Any] = {}
        if patch.name is not msgspec.UNSET:
            changes["name"] = _cleaned(patch.name)
            _check_free(connection, changes["name"], role_id)
        if patch.description is not msgspec.UNSET:
            changes["description"] = patch.description.strip()
        if patch.scopes is not msgspec.UNSET:
            changes["scopes"] = _checked(actor, patch.scopes, frozenset(row.scopes))
        if changes:
            connection.execute(roles.update().where(roles.c.id == role_id).values(**changes))
            before = {name: getattr(row, name) for name in changes}
            audit.note(connection, now, actor, "role.change", f"role:{role_id}", before=before, after=changes)
        return _get(connection, role_id), changes.get("scopes", row.scopes) != row.scopes

    try:
        changed, rights = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        raise Invalid.field("name", "field.taken") from None
    if rights:
        await ctx.events.publish(RightsChanged())
    return changed


async def remove_role(ctx: Context, actor: Actor, role_id: int) -> None:
    """Raises RoleNotFound, SystemRole, RoleInUse."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        row = _own(connection, role_id)
        if granted := _get(connection, role_id).grants:
            raise RoleInUse(count=granted)
        connection.execute(roles.delete().where(roles.c.id == role_id))
        audit.note(connection, now, actor, "role.delete", f"role:{role_id}", name=row.name, scopes=row.scopes)

    await ctx.sql.write(transaction)


def _own(connection: sa.Connection, role_id: int) -> Any:
    """The row of a role that is not the system's, locked: nobody grants it meanwhile."""
    row = connection.execute(sa.select(roles).where(roles.c.id == role_id).with_for_update()).one_or_none()
    if row is None:
        raise RoleNotFound()
    if row.system:
        raise SystemRole()
    return row


def _get(connection: sa.Connection, role_id: int) -> Role:
    row = connection.execute(_SHOWN.where(roles.c.id == role_id)).one_or_none()
    if row is None:
        raise RoleNotFound()
    return _shown(row)


def _shown(row: Any) -> Role:
    return Role(
        id=row.id,
        name=row.name,
        description=row.description or "",
        system=bool(row.system),
        scopes=sorted(row.scopes),
        grants=row.grants,
    )


def _checked(actor: Actor, scopes: list[str], present: frozenset[str]) -> list[str]:
    wanted = frozenset(scopes)
    if wanted - ALL:
        raise Invalid.field("scopes", "field.choice", choices=", ".join(sorted(ALL)))
    beyond = sorted(scope for scope in wanted - present if actor.organizations(scope) is not None)
    if beyond:
        raise Invalid.field("scopes", "people.scope_not_held", scopes=", ".join(beyond))
    return sorted(wanted)


def _cleaned(name: str) -> str:
    cleaned = name.strip()
    if not cleaned:
        raise Invalid.field("name", "field.empty")
    if not cleaned.isprintable():
        raise Invalid.field("name", "organization.unprintable")
    return cleaned


def _check_free(connection: sa.Connection, name: str, but: int | None) -> None:
    taken = connection.execute(sa.select(roles.c.id).where(roles.c.name == name)).scalar()
    if taken is not None and taken != but:
        raise Invalid.field("name", "field.taken")
