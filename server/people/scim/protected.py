"""The accounts that a SCIM client never changes: those that could lock everybody out, or open everything."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.config import Settings, listed
from server.people.scim.errors import ScimProtected
from server.people.user_rights import ADMINISTRATOR, grants_of

# Whoever holds one of these could give themselves everything: a client that sets such a user's password would have it, too.
POWERS = frozenset({"roles:write", "scim:manage", "hr:write", "hr:approve"})


def break_glass(settings: Settings) -> frozenset[str]:
    """The user names of the accounts that are kept for emergencies, as they are compared."""
    return frozenset(name.casefold() for name in listed(settings.break_glass_users))


def is_powerful(name: str, scopes: list[str]) -> bool:
    """Whether a role makes its holder an account that no SCIM client changes."""
    return name == ADMINISTRATOR or not POWERS.isdisjoint(scopes)


def check_name(settings: Settings, username: str) -> None:
    """Raise ScimProtected for the user name of a break-glass account, whether there is one already or not."""
    if username.casefold() in break_glass(settings):
        raise ScimProtected()


def check_changeable(connection: sa.Connection, settings: Settings, user: Any) -> None:
    """Raise ScimProtected for a break-glass account and for one whose roles are powerful."""
    check_name(settings, user.username)
    granted = grants_of(connection, [user.id]).get(user.id, ())
    if any(is_powerful(one.name, one.scopes) for one in granted):
        raise ScimProtected()
