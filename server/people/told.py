"""Who is told: those who hold a scope everywhere, whom an organization names for a kind, and the webhooks of what is above."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.people.organization_notifications import setting_of
from server.people.organizations import root_id
from server.people.tables import organization_closure as closure
from server.people.tables import organization_members as members
from server.people.tables import role_grants, roles, users
from server.people.user_schemas import UserState
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, notify, notify_places

_ACTIVE = (users.c.state == UserState.ACTIVE.value, users.c.kind == "person")


def tell_holders(
    connection: sa.Connection, now: datetime, scope: str, kind: Kind, event_key: str, params: Mapping[str, Any], link: str = ""
) -> Told:
    """Tell every active person who holds a scope at the root, and so everywhere."""
    return notify(connection, now, holders(connection, scope), kind, event_key, params, link)


def tell_organization(
    connection: sa.Connection,
    now: datetime,
    organization_id: int,
    kind: Kind,
    event_key: str,
    params: Mapping[str, Any],
    link: str = "",
    *,
    also: Iterable[int] = (),
    but: Iterable[int] = (),
) -> Told:
    """Tell those whom the organization names for the kind, and `also` whom it concerns; never those of `but`, who know.

    The row does not name the organization: one that is removed must not be held by what was once told of it.
    """
    wanted = (recipients(connection, organization_id, kind) | set(also)) - set(but)
    found = notify(connection, now, wanted, kind, event_key, params, link)
    if not setting_of(connection, organization_id, kind).enabled:
        return found
    places = tell_place(connection, now, organization_id, kind, event_key, params, link)
    return msgspec.structs.replace(found, posted=found.posted + places.posted)


def tell_place(
    connection: sa.Connection,
    now: datetime,
    organization_id: int,
    kind: Kind,
    event_key: str,
    params: Mapping[str, Any],
    link: str = "",
) -> Told:
    """Tell the webhooks of the organization and of each one above it, each once of an event."""
    above = sa.select(closure.c.ancestor_id).where(closure.c.descendant_id == organization_id)
    places = {organization_id, *connection.execute(above).scalars()}
    return notify_places(connection, now, places, kind, event_key, params, link)


def holders(connection: sa.Connection, scope: str) -> set[int]:
    """The active people who hold a scope at the root."""
    held = [row.id for row in connection.execute(sa.select(roles.c.id, roles.c.scopes)) if scope in row.scopes]
    wanted = (
        sa.select(users.c.id)
        .join(role_grants, role_grants.c.user_id == users.c.id)
        .where(role_grants.c.organization_id == root_id(connection), role_grants.c.role_id.in_(held), *_ACTIVE)
    )
    return set(connection.execute(wanted).scalars())


def recipients(connection: sa.Connection, organization_id: int, kind: Kind) -> set[int]:
    """The active people whom an organization names for a kind, by role or by position; nobody when it has turned the kind off."""
    setting = setting_of(connection, organization_id, kind)
    if not setting.enabled:
        return set()
    return _by_role(connection, organization_id, setting.roles) | _by_position(connection, organization_id, setting.positions)


def is_active(connection: sa.Connection, user_id: int) -> bool:
    """Whether somebody may be told of anything: an active person."""
    return connection.execute(sa.select(users.c.id).where(users.c.id == user_id, *_ACTIVE)).first() is not None


def find_person(connection: sa.Connection, username: str) -> int | None:
    """The active person of a name, or None."""
    one = sa.select(users.c.id).where(users.c.username_key == username.casefold(), *_ACTIVE)
    return connection.execute(one).scalar()


def _by_role(connection: sa.Connection, organization_id: int, names: Collection[str]) -> set[int]:
    """Who holds one of the roles in the organization: by a grant there or, when nobody has one, by the nearest one above.

    What is granted above holds here too; but the head of the university is told of a class only when nobody nearer is there to be told.
    """
    if not names:
        return set()
    granted = (
        sa.select(users.c.id, closure.c.depth)
        .join(role_grants, role_grants.c.user_id == users.c.id)
        .join(roles, roles.c.id == role_grants.c.role_id)
        .join(closure, closure.c.ancestor_id == role_grants.c.organization_id)
        .where(closure.c.descendant_id == organization_id, roles.c.name.in_(sorted(names)), *_ACTIVE)
    )
    rows = connection.execute(granted).all()
    nearest = min((row.depth for row in rows), default=0)
    return {row.id for row in rows if row.depth == nearest}


def _by_position(connection: sa.Connection, organization_id: int, positions: Collection[str]) -> set[int]:
    """The organization's own members in one of the positions."""
    if not positions:
        return set()
    placed = (
        sa.select(users.c.id)
        .join(members, members.c.user_id == users.c.id)
        .where(members.c.organization_id == organization_id, members.c.position.in_(sorted(positions)), *_ACTIVE)
    )
    return set(connection.execute(placed).scalars())
