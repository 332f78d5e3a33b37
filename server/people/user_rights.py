"""Who may change whom: nobody grants, or gets at, what they do not hold themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.errors import Conflict, Forbidden, Invalid
from server.people.organizations import root_id
from server.people.tables import role_grants, roles, users
from server.people.user_schemas import UserState
from server.people.users import UserNotFound

ADMINISTRATOR = "administrator"


class RoleBeyond(Forbidden):
    """A role has scopes that the caller does not hold there."""

    type = "role_beyond"


class UserAbove(Forbidden):
    """The user holds scopes that the caller does not: whoever could set that user's password would have them."""

    type = "user_above"


class LastAdministrator(Conflict):
    """Without this user nobody could administer the system."""

    type = "last_administrator"


def access_user(connection: sa.Connection, actor: Actor, user_id: int, scope: str = "users:read") -> Any:
    """The user's row. Raises UserNotFound for one whom the caller may not see, Forbidden without `scope` in the user's organization."""
    user = connection.execute(sa.select(users).where(users.c.id == user_id)).one_or_none()
    if user is None or not (actor.may("users:read", user.organization_id) or actor.may(scope, user.organization_id)):
        raise UserNotFound()
    actor.require(scope, user.organization_id)
    return user


def lacking(actor: Actor, scopes: Iterable[str], organization_id: int, root: int) -> list[str]:
    """Those of the scopes that the caller does not hold in the organization; for the root, everywhere."""
    missing = []
    for scope in scopes:
        places = actor.organizations(scope)
        if places is not None and (organization_id == root or organization_id not in places):
            missing.append(scope)
    return sorted(missing)


def get_roles(connection: sa.Connection, names: Collection[str], field: str = "roles") -> list[Any]:
    """The roles of these names. Raises Invalid, naming the field, for one that there is not."""
    known = {row.name: row for row in connection.execute(sa.select(roles))}
    if set(names) - set(known):
        raise Invalid.field(field, "field.choice", choices=", ".join(sorted(known)))
    return [known[name] for name in dict.fromkeys(names)]


def check_may_grant(actor: Actor, granted: Iterable[Any], organization_id: int, root: int) -> None:
    """Raise RoleBeyond unless the caller holds every scope of the roles there."""
    missing = lacking(actor, {scope for role in granted for scope in role.scopes}, organization_id, root)
    if missing:
        raise RoleBeyond(scopes=", ".join(missing))


def grants_of(connection: sa.Connection, user_ids: Collection[int]) -> Mapping[int, list[Any]]:
    """What is granted to each of the users: rows of role_id, name, scopes, organization_id."""
    found: dict[int, list[Any]] = {}
    wanted = (
        sa.select(role_grants.c.user_id, role_grants.c.role_id, role_grants.c.organization_id, roles.c.name, roles.c.scopes)
        .join(roles, roles.c.id == role_grants.c.role_id)
        .where(role_grants.c.user_id.in_(list(user_ids)))
    )
    for row in connection.execute(wanted) if user_ids else ():
        found.setdefault(row.user_id, []).append(row)
    return found


def is_above(actor: Actor, granted: Iterable[Any], root: int) -> list[str]:
    """The scopes among some user's grants that the caller does not hold where they hold."""
    return sorted({scope for grant in granted for scope in lacking(actor, grant.scopes, grant.organization_id, root)})


def check_not_above(connection: sa.Connection, actor: Actor, user_id: int) -> None:
    """Raise UserAbove when the user holds anything that the caller does not."""
    missing = is_above(actor, grants_of(connection, [user_id]).get(user_id, ()), root_id(connection))
    if missing:
        raise UserAbove(scopes=", ".join(missing))


def check_not_last_administrator(connection: sa.Connection, user_id: int) -> None:
    """Raise LastAdministrator when no other active person administers everything. Locks the administrators' rows: of two who would
    disable each other at once, one waits and then finds himself the last."""
    if user_id in administrators(connection) and not administrators(connection) - {user_id}:
        raise LastAdministrator()


def administrators(connection: sa.Connection) -> set[int]:
    """The active users who administer everything; their rows are locked."""
    wanted = (
        sa.select(users.c.id)
        .join(role_grants, role_grants.c.user_id == users.c.id)
        .join(roles, roles.c.id == role_grants.c.role_id)
        .where(
            roles.c.name == ADMINISTRATOR,
            role_grants.c.organization_id == root_id(connection),
            users.c.state == UserState.ACTIVE.value,
        )
        .order_by(users.c.id)
        .with_for_update()
    )
    return set(connection.execute(wanted).scalars())
