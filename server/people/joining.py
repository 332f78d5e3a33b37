"""What other wings join their own rows with: people by what they are called, and organizations by what lies above others."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from server.people.tables import organization_closure as closure
from server.people.tables import users


def people() -> sa.Subquery:
    """Users as `id`, `username` and `name`, which is the user name for who has no other."""
    named = sa.func.coalesce(sa.func.nullif(users.c.name, ""), users.c.username)
    return sa.select(users.c.id, users.c.username, named.label("name")).subquery("people")


def is_at_or_above(column: sa.ColumnElement[int], places: Collection[int]) -> sa.ColumnElement[bool]:
    """The condition that an organization, as a column of another table, is one of the places or above one of them."""
    wanted = sorted(places)
    above = sa.select(closure.c.ancestor_id).where(closure.c.descendant_id.in_(wanted), closure.c.depth > 0)
    return sa.or_(column.in_(wanted), column.in_(above))
