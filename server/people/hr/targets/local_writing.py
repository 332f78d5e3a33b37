"""Writes our own users as HR wants them, many in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from server.actor import Actor
from server.events import Event
from server.people.hr.desired import Desired, Seat
from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.local_finding import Local
from server.people.identify import RightsChanged
from server.people.tables import organization_members, role_grants, roles, users
from server.people.user_changes import end_account
from server.people.user_fields import keys_of, wrong_fields
from server.people.user_rights import ADMINISTRATOR, LastAdministrator, check_not_last_administrator, grants_of
from server.people.user_schemas import UserState
from server.platform import audit

AT_ONCE = 100


class Writing:
    """One transaction's writes. `managed`: the organizations where HR says who is a member; `role_id`: granted in the home organization.

    What a person's account cannot be is kept in `refused`; `events` are to be published after the commit.
    """

    def __init__(
        self, connection: sa.Connection, now: datetime, actor: Actor, managed: Collection[int], role: str, protected: frozenset[str]
    ) -> None:
        self._connection = connection
        self._now = now
        self._actor = actor
        self._managed = managed
        self._protected = protected
        wanted = sa.select(roles.c.id).where(roles.c.name == role)
        self._role_id: int | None = connection.execute(wanted).scalar() if role else None
        self.refused: dict[int, TargetError] = {}
        self.events: list[Event] = []

    def check(self, people: Mapping[int, tuple[Desired, Local | None]]) -> None:
        """Refuse what HR must not touch, what a user cannot be, and names and addresses that others have."""
        wanted = {person_id: keys_of(desired.username, desired.email or None) for person_id, (desired, _) in people.items()}
        held = self._held({key for keys in wanted.values() for key in keys if key})
        for person_id, (desired, found) in people.items():
            keys = wanted[person_id]
            names = {keys.username, found.row.username_key if found else keys.username}
            if not self._protected.isdisjoint(names):
                self._refuse(person_id, ErrorClass.PROTECTED, f"{found.username if found else desired.username} is a break-glass account")
                continue
            if not desired.active:
                continue
            wrong = wrong_fields(found.row.username if found else desired.username, desired.name or "", desired.email or None)
            if wrong:
                told = "; ".join(f"{field}: {why[0].english()}" for field, why in wrong.items())
                self._refuse(person_id, ErrorClass.INVALID, told)
                continue
            own = found.row.id if found else -person_id
            taken = [key for key in ((keys.email,) if found else keys) if key and held.get(key, own) != own]
            if taken:
                self._refuse(person_id, ErrorClass.CONFLICT, f"{', '.join(taken)}: another account has it")
                continue
            held |= {key: own for key in keys if key}

    def _held(self, keys: Collection[str]) -> dict[str, int]:
        """Who has the user names and mail addresses."""
        wanted = sa.select(users.c.id, users.c.username_key, users.c.email_key)
        rows = self._connection.execute(wanted.where(sa.or_(users.c.username_key.in_(keys), users.c.email_key.in_(keys))))
        return {key: row.id for row in rows for key in (row.username_key, row.email_key) if key}

    def _refuse(self, person_id: int, error_class: ErrorClass, detail: str) -> None:
        self.refused[person_id] = TargetError(error_class, detail)

    def create(self, people: Mapping[int, Desired]) -> None:
        """New users without a password: they sign in by single sign-on or a mailed code."""
        if not people:
            return
        self._insert(users, [self._new(desired) for desired in people.values()])
        by_key = {keys_of(desired.username, None).username: desired for desired in people.values()}
        made = sa.select(users.c.id, users.c.username_key).where(users.c.username_key.in_(by_key))
        ids = {row.id: by_key[row.username_key] for row in self._connection.execute(made)}
        self._insert(role_grants, [grant for user_id, desired in ids.items() for grant in self._grants(user_id, desired.organization_id)])
        self._insert(organization_members, [row for user_id, desired in ids.items() for row in self._members(user_id, _seats(desired))])
        for user_id, desired in ids.items():
            self._note("user.create", user_id, username=desired.username, employee_no=desired.employee_no)

    def _new(self, desired: Desired) -> dict[str, Any]:
        keys = keys_of(desired.username, desired.email or None)
        return {
            "username": desired.username,
            "username_key": keys.username,
            "email": desired.email or None,
            "email_key": keys.email,
            "name": desired.name or desired.username,
            "kind": "person",
            "state": UserState.ACTIVE.value,
            "organization_id": desired.organization_id,
            "created_at": self._now,
            "updated_at": self._now,
        }

    def _grants(self, user_id: int, organization_id: Any) -> list[dict[str, Any]]:
        if self._role_id is None:
            return []
        return [{"user_id": user_id, "role_id": self._role_id, "organization_id": organization_id}]

    def _members(self, user_id: int, seats: Iterable[Seat]) -> list[dict[str, Any]]:
        return [
            {"organization_id": seat.organization_id, "user_id": user_id, "position": seat.title, "created_at": self._now} for seat in seats
        ]

    def update(self, person_id: int, desired: Desired, found: Local) -> None:
        """Change what differs; the user name and the password are the person's own."""
        row, values = found.row, _values(desired)
        changed = {name: value for name, value in values.items() if value != getattr(row, name)}
        if "email" in changed:
            if row.email and any(grant.name == ADMINISTRATOR for grant in grants_of(self._connection, [row.id]).get(row.id, ())):
                # Whoever has the mail address can have the account.
                self._refuse(person_id, ErrorClass.PROTECTED, "an administrator's mail address is not changed by HR")
                return
            changed["email_key"] = keys_of("", changed["email"]).email
        if changed:
            self._connection.execute(users.update().where(users.c.id == row.id).values(**changed, updated_at=self._now))
            before = {name: getattr(row, name) for name in changed if name != "email_key"}
            self._note("user.change", row.id, before=before, after={name: changed[name] for name in before})
        self._move_grant(row, desired)
        self._seat(row.id, found, _seats(desired))

    def _move_grant(self, row: Any, desired: Desired) -> None:
        """The role follows the home organization; where the person never had it, it is given."""
        if self._role_id is None or desired.organization_id is UNSET:
            return
        held = sa.select(role_grants.c.organization_id).where(role_grants.c.user_id == row.id, role_grants.c.role_id == self._role_id)
        places = set(self._connection.execute(held).scalars())
        if desired.organization_id not in places:
            self._insert(role_grants, self._grants(row.id, desired.organization_id))
            self.events.append(RightsChanged(row.id))
        left = row.organization_id != desired.organization_id and row.organization_id in places
        if left and row.organization_id in self._managed:  # elsewhere somebody else has granted it
            old = (role_grants.c.user_id == row.id, role_grants.c.role_id == self._role_id)
            self._connection.execute(role_grants.delete().where(*old, role_grants.c.organization_id == row.organization_id))
            self.events.append(RightsChanged(row.id))

    def _seat(self, user_id: int, found: Local, seats: Sequence[Seat]) -> None:
        before = {one["organization_id"]: one["title"] for one in found.fields["positions"]}
        after = {seat.organization_id: seat.title for seat in seats}
        if before == after:
            return
        table = organization_members.c
        gone = [organization_id for organization_id in before if organization_id not in after]
        if gone:
            self._connection.execute(organization_members.delete().where(table.user_id == user_id, table.organization_id.in_(gone)))
        present = sa.select(table.organization_id).where(table.user_id == user_id, table.organization_id.in_(after))
        there = set(self._connection.execute(present).scalars())
        for organization_id, title in after.items():
            if organization_id in there and before.get(organization_id) != title:
                one = organization_members.update().where(table.user_id == user_id, table.organization_id == organization_id)
                self._connection.execute(one.values(position=title))
        self._insert(organization_members, self._members(user_id, [seat for seat in seats if seat.organization_id not in there]))

    def disable(self, person_id: int, found: Local) -> None:
        """End the account everywhere at once, as an administrator would."""
        try:
            check_not_last_administrator(self._connection, found.row.id)
        except LastAdministrator as error:
            self._refuse(person_id, ErrorClass.PROTECTED, str(error))
            return
        ended = end_account(self._connection, self._now, found.row.id)
        if ended is not None:
            self._note("user.disable", found.row.id)
            self.events += ended

    def revive(self, person_id: int, desired: Desired, found: Local) -> None:
        """Let the user in again; keys and sessions stay ended."""
        disabled = (users.c.id == found.row.id, users.c.state == UserState.DISABLED.value, users.c.merged_into.is_(None))
        values = {"state": UserState.ACTIVE.value, "disabled_at": None, "updated_at": self._now}
        if self._connection.execute(users.update().where(*disabled).values(values)).rowcount:
            self._note("user.restore", found.row.id)
        self.update(person_id, desired, found)

    def _note(self, action: str, user_id: int, **detail: Any) -> None:
        audit.note(self._connection, self._now, self._actor, action, f"user:{user_id}", by_hr=True, **detail)

    def _insert(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        for first in range(0, len(rows), AT_ONCE):
            self._connection.execute(table.insert(), rows[first : first + AT_ONCE])


def _seats(desired: Desired) -> list[Seat]:
    return [] if isinstance(desired.positions, msgspec.UnsetType) else desired.positions


def _values(desired: Desired) -> dict[str, Any]:
    """The columns of users that HR says something of."""
    given = {"name": desired.name or UNSET, "email": desired.email, "organization_id": desired.organization_id}
    return {name: value for name, value in given.items() if value is not UNSET}
