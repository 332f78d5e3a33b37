"""Finds our own users for people of HR, and says whose they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from server.people.hr.accounts import owned_user_ids
from server.people.hr.desired import Seat
from server.people.hr.targets.target import Found, Sought
from server.people.tables import cas_links, organization_members, users
from server.people.user_schemas import UserState

# An account that was merged away leads to the one that took its place, and that perhaps to another.
MOST_MERGES = 5


class Local(Found, frozen=True, kw_only=True):
    """A user, with what writing needs: the row as it was read."""

    row: Any


def find(connection: sa.Connection, sought: Sequence[Sought], managed: Collection[int]) -> dict[int, Local]:
    """The users of people, by person. `managed`: the organizations where HR says who is a member.

    A user is the person's when it was linked or adopted before. One that has the employee number as its name is so too, unless it is
    another person's or both have a mail address and these differ.
    """
    numbers = {int(one.external_id) for one in sought if one.external_id} | {one.adopted_user_id or 0 for one in sought}
    by_id = _users(connection, users.c.id.in_(numbers - {0}))
    by_key = {
        row.username_key: row for row in _users(connection, users.c.username_key.in_({_key(one.username) for one in sought})).values()
    }
    rows = {one.person_id: row for one in sought if (row := _user_of(one, by_id, by_key)) is not None}
    ids = {row.id for row in rows.values()}
    if not ids:
        return {}
    owners = owned_user_ids(connection, ids)
    cas_ids = _cas_ids(connection, ids)
    seats = _seats(connection, ids, managed)
    found = {}
    for one in sought:
        row = rows.get(one.person_id)
        if row is None:
            continue
        others = owners.get(row.id, set()) - {one.person_id}
        known = one.person_id in owners.get(row.id, set()) or _is_merged(one, by_id)
        theirs = not others and (known or _is_by_name(one, row, cas_ids.get(row.id, set())))
        found[one.person_id] = Local(
            external_id=str(row.id),
            employee_no=one.employee_no if theirs else None,
            username=row.username,
            active=row.state == UserState.ACTIVE,
            fields={
                "name": row.name,
                "email": row.email,
                "organization_id": row.organization_id,
                "positions": seats.get(row.id, []),
            },
            row=row,
        )
    return found


def _users(connection: sa.Connection, condition: Any) -> dict[int, Any]:
    """Users by id, with those that took the place of merged ones."""
    found = {row.id: row for row in connection.execute(sa.select(users).where(condition))}
    for _ in range(MOST_MERGES):
        missing = {row.merged_into for row in found.values() if row.merged_into is not None} - set(found)
        if not missing:
            break
        found |= {row.id: row for row in connection.execute(sa.select(users).where(users.c.id.in_(missing)))}
    return found


def _user_of(one: Sought, by_id: Mapping[int, Any], by_key: Mapping[str, Any]) -> Any:
    for number in (int(one.external_id) if one.external_id else 0, one.adopted_user_id or 0):
        row = by_id.get(number)
        for _ in range(MOST_MERGES):
            if row is None or row.merged_into is None:
                break
            row = by_id.get(row.merged_into)
        if row is not None:
            return row
    return by_key.get(_key(one.username))


def _is_merged(one: Sought, by_id: Mapping[int, Any]) -> bool:
    """Whether the person's own account was merged into another, which is then the person's."""
    known = [int(one.external_id) if one.external_id else 0, one.adopted_user_id or 0]
    return any((row := by_id.get(number)) is not None and row.merged_into is not None for number in known)


def _is_by_name(one: Sought, row: Any, cas_ids: Collection[str]) -> bool:
    if row.kind != "person" or row.merged_into is not None:
        return False
    if one.employee_no in cas_ids:
        return True
    same_mail = not row.email_key or not one.email or row.email_key == one.email.casefold()
    return row.username_key == _key(one.employee_no) and same_mail


def _cas_ids(connection: sa.Connection, ids: Collection[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for row in connection.execute(sa.select(cas_links.c.user_id, cas_links.c.cas_id).where(cas_links.c.user_id.in_(ids))):
        found.setdefault(row.user_id, set()).add(row.cas_id)
    return found


def _seats(connection: sa.Connection, ids: Collection[int], managed: Collection[int]) -> dict[int, list[dict[str, Any]]]:
    table = organization_members.c
    held: dict[int, list[Seat]] = {}
    for row in connection.execute(sa.select(table.user_id, table.organization_id, table.position).where(table.user_id.in_(ids))):
        if row.organization_id in managed:
            held.setdefault(row.user_id, []).append(Seat(row.organization_id, row.position))
    return {
        user_id: [{"organization_id": seat.organization_id, "title": seat.title} for seat in sorted(seats)]
        for user_id, seats in held.items()
    }


def _key(name: str) -> str:
    return name.casefold()
