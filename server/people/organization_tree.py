"""The tree of organizations: its closure, kept with each change, and what lies below each one, known in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from server.context import Context
from server.events import Event, Resync
from server.people.tables import organization_closure as closure
from server.people.tables import organizations

# While the bus is away no other instance's change is heard of, and rights follow the tree.
KNOWN_FOR_S = 30.0
AT_ONCE = 500


class OrganizationsChanged(Event, frozen=True):
    """An organization was made, moved or removed."""


class OrganizationTree:
    """Knows what lies below each organization; asks the database again after a change."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._parents: dict[int, int | None] | None = None
        self._children: dict[int, list[int]] = {}
        self._within: dict[int, frozenset[int]] = {}
        self._changes = 0
        self._read_at = 0.0
        self._lock = asyncio.Lock()
        ctx.events.listen(OrganizationsChanged, lambda _event: self.forget())
        ctx.events.listen(Resync, lambda _event: self.forget())

    def forget(self) -> None:
        self._changes += 1
        self._parents = None

    async def within(self, organization_id: int) -> frozenset[int]:
        """The organization and all below it; one that is not known is alone. Raises EngineAway."""
        if self._parents is None or (self._ctx.bus.mode == "distributed" and time.monotonic() - self._read_at > KNOWN_FOR_S):
            await self._read()
        found = self._within.get(organization_id)
        if found is None:
            found = frozenset(_below(self._children, organization_id))
            if self._parents is not None and organization_id in self._parents:  # strangers' ids must not fill the memory
                self._within[organization_id] = found
        return found

    async def _read(self) -> None:
        before = self._read_at
        async with self._lock:
            if self._parents is not None and self._read_at != before:
                return  # somebody else has read it meanwhile
            while True:
                changes, began = self._changes, time.monotonic()
                parents = await self._ctx.sql.read(read_parents)
                if changes == self._changes:  # else it changed while it was read
                    break
            self._children = children_of(parents)
            self._within = {}
            self._parents, self._read_at = parents, began


def tree_of(ctx: Context) -> OrganizationTree:
    """The tree as this process knows it; made when it is first asked for."""
    try:
        return ctx.services.get(OrganizationTree)
    except KeyError:
        return ctx.services.add(OrganizationTree(ctx))


def read_parents(connection: sa.Connection) -> dict[int, int | None]:
    """Each organization's id and that of the one above it."""
    return {row.id: row.parent_id for row in connection.execute(sa.select(organizations.c.id, organizations.c.parent_id))}


def children_of(parents: Mapping[int, int | None]) -> dict[int, list[int]]:
    """The ids right below each organization that has any."""
    children: dict[int, list[int]] = {}
    for organization_id, parent_id in parents.items():
        if parent_id is not None:
            children.setdefault(parent_id, []).append(organization_id)
    return children


def _below(children: Mapping[int, Iterable[int]], organization_id: int) -> dict[int, int]:
    """The organization and all below it, each with its depth below it."""
    found, waiting = {organization_id: 0}, [organization_id]
    while waiting:
        above = waiting.pop()
        for child in children.get(above, ()):
            if child not in found:
                found[child] = found[above] + 1
                waiting.append(child)
    return found


def closure_of(parents: Mapping[int, int | None]) -> set[tuple[int, int, int]]:
    """The closure of a tree: ancestor, descendant, depth."""
    children = children_of(parents)
    return {(above, below, depth) for above in parents for below, depth in _below(children, above).items()}


def lock_tree(connection: sa.Connection) -> None:
    """Nobody else changes the tree until this transaction ends (SQLite has one writer anyway)."""
    connection.execute(sa.select(organizations.c.id).where(organizations.c.parent_id.is_(None)).with_for_update()).all()


def attach(connection: sa.Connection, organization_id: int, parent_id: int | None) -> None:
    """Put a new organization without children into the closure."""
    above = connection.execute(sa.select(closure.c.ancestor_id, closure.c.depth).where(closure.c.descendant_id == (parent_id or 0))).all()
    rows = [(organization_id, organization_id, 0), *((row.ancestor_id, organization_id, row.depth + 1) for row in above)]
    _insert(connection, rows)


def detach(connection: sa.Connection, organization_id: int) -> None:
    """Take an organization without children out of the closure."""
    connection.execute(closure.delete().where(closure.c.descendant_id == organization_id))


def is_within(connection: sa.Connection, organization_id: int, above_id: int) -> bool:
    """Whether the organization is `above_id` or below it."""
    found = sa.select(closure.c.depth).where(closure.c.ancestor_id == above_id, closure.c.descendant_id == organization_id)
    return organization_id == above_id or connection.execute(found).first() is not None


def move(connection: sa.Connection, organization_id: int, parent_id: int) -> None:
    """Put an organization with all below it under another one, which must not be within it."""
    below = connection.execute(sa.select(closure.c.descendant_id, closure.c.depth).where(closure.c.ancestor_id == organization_id)).all()
    old = sa.select(closure.c.ancestor_id).where(closure.c.descendant_id == organization_id, closure.c.depth > 0)
    ids = [row.descendant_id for row in below]
    for ancestor_id in connection.execute(old).scalars().all():
        for first in range(0, len(ids), AT_ONCE):
            gone = closure.c.descendant_id.in_(ids[first : first + AT_ONCE])
            connection.execute(closure.delete().where(closure.c.ancestor_id == ancestor_id, gone))
    above = connection.execute(sa.select(closure.c.ancestor_id, closure.c.depth).where(closure.c.descendant_id == parent_id)).all()
    _insert(connection, [(up.ancestor_id, down.descendant_id, up.depth + 1 + down.depth) for up in above for down in below])


def mend(connection: sa.Connection) -> int:
    """Bring the closure into line with the parents; how many rows it had too many or too few."""
    lock_tree(connection)
    wanted = closure_of(read_parents(connection))
    present = {(row.ancestor_id, row.descendant_id, row.depth) for row in connection.execute(sa.select(closure))}
    for ancestor_id, descendant_id, _depth in present - wanted:
        connection.execute(closure.delete().where(closure.c.ancestor_id == ancestor_id, closure.c.descendant_id == descendant_id))
    _insert(connection, sorted(wanted - present))
    return len(wanted ^ present)


def _insert(connection: sa.Connection, rows: Iterable[tuple[int, int, int]]) -> None:
    given = [{"ancestor_id": above, "descendant_id": below, "depth": depth} for above, below, depth in rows]
    if given:
        connection.execute(closure.insert(), given)
