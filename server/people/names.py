"""What people and organizations are called, for wings that keep only their ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec
import sqlalchemy as sa

from server.people.pieces import in_pieces
from server.people.tables import organization_closure as closure
from server.people.tables import organizations, users


class Named(msgspec.Struct, frozen=True):
    """A person or service: the name that one signs in with, and the full name."""

    username: str
    name: str


class Place(msgspec.Struct, frozen=True):
    """An organization."""

    code: str
    name: str


def users_named(connection: sa.Connection, user_ids: Collection[int]) -> dict[int, Named]:
    """Users by id; unknown ones are left out."""
    wanted = sa.select(users.c.id, users.c.username, users.c.name)
    return {row.id: Named(row.username, row.name) for row in _rows(connection, wanted, users.c.id, user_ids)}


def places_named(connection: sa.Connection, organization_ids: Collection[int]) -> dict[int, Place]:
    """Organizations by id; unknown ones are left out."""
    wanted = sa.select(organizations.c.id, organizations.c.code, organizations.c.name)
    return {row.id: Place(row.code, row.name) for row in _rows(connection, wanted, organizations.c.id, organization_ids)}


def places_by_code(connection: sa.Connection) -> dict[str, int]:
    """Every organization by its code in small letters."""
    return {row.code.casefold(): row.id for row in connection.execute(sa.select(organizations.c.id, organizations.c.code))}


def user_names(connection: sa.Connection, user_ids: Iterable[int | None]) -> dict[int, str]:
    """The full names of users, by id."""
    return {user_id: one.name for user_id, one in users_named(connection, {one for one in user_ids if one is not None}).items()}


def organization_names(connection: sa.Connection, organization_ids: Iterable[int | None]) -> dict[int, str]:
    """The names of organizations, by id."""
    return {place_id: one.name for place_id, one in places_named(connection, {one for one in organization_ids if one is not None}).items()}


def within(column: sa.ColumnElement[Any], organization_id: int) -> sa.ColumnElement[bool]:
    """The condition that a column of organizations is this one or one below it."""
    below = sa.select(closure.c.descendant_id).where(closure.c.ancestor_id == organization_id)
    return sa.or_(column == organization_id, column.in_(below))


def _rows(connection: sa.Connection, wanted: sa.Select[Any], column: sa.Column[Any], keys: Collection[Any]) -> Iterator[Any]:
    """The rows whose column is one of the keys, some hundreds a statement."""
    for some in in_pieces(keys):
        yield from connection.execute(wanted.where(column.in_(some)))
