"""Accounts that a plan must not end unseen: those for emergencies are never touched, administrators are looked at first."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from server.config import Settings
from server.people.hr.tables import hr_accounts, hr_persons
from server.people.organizations import root_id
from server.people.tables import role_grants, roles, users

ADMINISTRATOR = "administrator"


class Protected(msgspec.Struct, frozen=True):
    """People of HR's by number: whose account is for emergencies, and whose administers everything."""

    break_glass: frozenset[int] = frozenset()
    administrators: frozenset[int] = frozenset()


def break_glass(settings: Settings) -> frozenset[str]:
    """The names of the accounts that HR never touches, case folded."""
    return frozenset(name.strip().casefold() for name in settings.break_glass_users.split(",") if name.strip())


def read_protected(connection: sa.Connection, names: frozenset[str]) -> Protected:
    """Which people have such accounts; there are few of either."""
    kept = sa.select(users.c.id).where(users.c.username_key.in_(sorted(names)))
    ruling = (
        sa.select(role_grants.c.user_id)
        .join(roles, roles.c.id == role_grants.c.role_id)
        .where(roles.c.name == ADMINISTRATOR, role_grants.c.organization_id == root_id(connection))
    )
    return Protected(_people(connection, kept), _people(connection, ruling))


def _people(connection: sa.Connection, accounts: sa.Select[Any]) -> frozenset[int]:
    ids = list(connection.execute(accounts).scalars())[:500]
    if not ids:
        return frozenset()
    linked = connection.execute(sa.select(hr_accounts.c.person_id).where(hr_accounts.c.user_id.in_(ids))).scalars()
    adopted = connection.execute(sa.select(hr_persons.c.id).where(hr_persons.c.adopted_user_id.in_(ids))).scalars()
    return frozenset(linked) | frozenset(adopted)
