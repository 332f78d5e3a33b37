"""Who people are to an organization, for the other wings: who is active, and who holds a scope, a role or a position where."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from server.people.pieces import in_pieces
from server.people.tables import organization_members as members
from server.people.tables import role_grants, roles, users
from server.people.user_schemas import UserState

_ACTIVE = (users.c.state == UserState.ACTIVE.value, users.c.kind == "person")


def role_names(connection: sa.Connection) -> set[str]:
    """What the roles are called."""
    return set(connection.execute(sa.select(roles.c.name)).scalars())


def is_active(column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """The condition that a user, as a column of another table, is an active person."""
    return column.in_(sa.select(users.c.id).where(*_ACTIVE))


def active_people(connection: sa.Connection, user_ids: Iterable[int]) -> set[int]:
    """Those of the users who are active people."""
    return _those(connection, sa.select(users.c.id), user_ids)


def people_called(connection: sa.Connection, usernames: Collection[str]) -> dict[str, int]:
    """The active people of these user names, by the names in small letters."""
    found: dict[str, int] = {}
    for some in in_pieces(name.strip().casefold() for name in usernames):
        called = sa.select(users.c.id, users.c.username_key).where(users.c.username_key.in_(some), *_ACTIVE)
        found |= {row.username_key: row.id for row in connection.execute(called)}
    return found


def find_active(connection: sa.Connection, *, user_id: int | None = None, username: str = "") -> int | None:
    """The active person of an id or, without one, of a user name; None when there is none."""
    one = users.c.id == user_id if user_id is not None else users.c.username_key == username.strip().casefold()
    return connection.execute(sa.select(users.c.id).where(one, *_ACTIVE)).scalar()


def roles_with(connection: sa.Connection, scope: str) -> list[int]:
    """The roles that have a scope."""
    return sorted(row.id for row in connection.execute(sa.select(roles.c.id, roles.c.scopes)) if scope in row.scopes)


def granted_at(connection: sa.Connection, role_ids: Collection[int], organization_id: int) -> frozenset[int]:
    """The active people to whom one of the roles was granted in that very organization."""
    granted = sa.select(users.c.id).join(role_grants, role_grants.c.user_id == users.c.id)
    granted = granted.where(role_grants.c.organization_id == organization_id, role_grants.c.role_id.in_(list(role_ids)), *_ACTIVE)
    return frozenset(connection.execute(granted).scalars())


def granted_anywhere(connection: sa.Connection, role_ids: Collection[int], user_ids: Iterable[int]) -> set[int]:
    """Those of the users who are active people and were granted one of the roles, wherever."""
    held = sa.select(users.c.id).join(role_grants, role_grants.c.user_id == users.c.id).where(role_grants.c.role_id.in_(list(role_ids)))
    return _those(connection, held, user_ids)


def placed_at(connection: sa.Connection, organization_id: int, named: Collection[str], positions: Collection[str]) -> set[int]:
    """Who was granted one of the roles, by name, in that very organization, and its members in one of the positions."""
    found: set[int] = set()
    if named:
        granted = sa.select(role_grants.c.user_id).join(roles, roles.c.id == role_grants.c.role_id)
        granted = granted.where(role_grants.c.organization_id == organization_id, roles.c.name.in_(sorted(named)))
        found |= set(connection.execute(granted).scalars())
    if positions:
        placed = sa.select(members.c.user_id).where(members.c.organization_id == organization_id, members.c.position.in_(sorted(positions)))
        found |= set(connection.execute(placed).scalars())
    return found


def _those(connection: sa.Connection, wanted: sa.Select[Any], user_ids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    for some in in_pieces(user_ids):
        found |= set(connection.execute(wanted.where(users.c.id.in_(some), *_ACTIVE)).scalars())
    return found
