"""Where people belong, and what lies above it, for wings that ask how near two are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import sqlalchemy as sa

from server.people.organizations import root_id
from server.people.pieces import in_pieces
from server.people.tables import organization_closure as closure
from server.people.tables import organization_members as members
from server.people.tables import users


def homes_of(connection: sa.Connection, user_ids: Collection[int]) -> dict[int, int]:
    """The organization of each user."""
    found: dict[int, int] = {}
    for some in in_pieces(user_ids):
        rows = connection.execute(sa.select(users.c.id, users.c.organization_id).where(users.c.id.in_(some)))
        found.update({row.id: row.organization_id for row in rows})
    return found


def affiliations_of(connection: sa.Connection, user_ids: Collection[int]) -> dict[int, set[int]]:
    """The organization of each user with those in which they are members."""
    found = {one: {home} for one, home in homes_of(connection, user_ids).items()}
    for some in in_pieces(user_ids):
        wanted = sa.select(members.c.user_id, members.c.organization_id).where(members.c.user_id.in_(some))
        for row in connection.execute(wanted):
            found.setdefault(row.user_id, set()).add(row.organization_id)
    return found


def near_above(connection: sa.Connection, places: Collection[int], depth: int) -> dict[int, set[int]]:
    """Each organization with itself and with what is at most `depth` above it; never with the root, in which everybody is."""
    root = root_id(connection)
    found: dict[int, set[int]] = defaultdict(set)
    for some in in_pieces(places):
        found.update({place: {place} for place in some if place != root})
        wanted = sa.select(closure.c.descendant_id, closure.c.ancestor_id)
        wanted = wanted.where(closure.c.descendant_id.in_(some), closure.c.depth <= depth, closure.c.ancestor_id != root)
        for row in connection.execute(wanted):
            found[row.descendant_id].add(row.ancestor_id)
    return dict(found)
