"""Whom a step asks: those it names, or, when none of them is left, who may audit further up."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

import msgspec
import sqlalchemy as sa

from server.people import standing
from server.people.organization_tree import children_of, read_parents
from server.projects.access import AUDIT
from server.projects.audit_schemas import ChainStep, StepReviewers

# Without a chain: whoever may audit there.
ANYBODY = ChainStep(name="")


class Asked(msgspec.Struct, frozen=True):
    """Who is asked and where they are. `holders`: none of those named was left, so that any one of who may audit above decides."""

    how: Literal["named", "holders", "skipped", "nobody"]
    organization_id: int
    user_ids: tuple[int, ...] = ()


class Staff:
    """The people of a university as one transaction sees them; what is looked up once is kept for its other steps and cases."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._parents = read_parents(connection)
        self._auditing: list[int] | None = None
        self._named: dict[tuple[bytes, int], frozenset[int]] = {}
        self._holders: dict[int, frozenset[int]] = {}

    def upwards(self, organization_id: int) -> list[int]:
        """The organization and those above it, the nearest first."""
        found: list[int] = []
        here: int | None = organization_id
        while here is not None and here not in found:
            found.append(here)
            here = self._parents.get(here)
        return found

    def downwards(self, organization_id: int) -> list[int] | None:
        """The organization and all below it; None for the root: everywhere."""
        if self._parents.get(organization_id) is None:
            return None
        children, found = children_of(self._parents), [organization_id]
        for here in found:  # grows while it is read
            found += children.get(here, [])
        return found

    def place(self, where: str | int, organization_id: int) -> int:
        """Where a step looks for its reviewers; the root is its own parent."""
        up = self.upwards(organization_id)
        if isinstance(where, int):
            return where
        return {"organization": up[0], "parent": up[min(1, len(up) - 1)], "root": up[-1]}[where]

    def ask(self, step: ChainStep, organization_id: int, but: Collection[int], *, may_skip: bool = True) -> Asked:
        """Whom a step asks about a project of the organization; never those of `but`, its own people."""
        place = self.place(step.reviewers.where, organization_id)
        if step.reviewers.roles or step.reviewers.positions or step.reviewers.user_ids:
            if found := self._those_named(step.reviewers, place) - set(but):
                return Asked("named", place, tuple(sorted(found)))
            if step.skip_if_empty and may_skip:
                return Asked("skipped", place)
            up = self.upwards(place)
            return self._nearest(up[1:] or up, but, "holders")
        asked = self._nearest(self.upwards(place), but, "named")
        return Asked("skipped", place) if asked.how == "nobody" and step.skip_if_empty and may_skip else asked

    def holds_audit(self, user_ids: Iterable[int]) -> set[int]:
        """Those of the users who are active and hold projects:audit somewhere."""
        return standing.granted_anywhere(self._connection, self._audit_roles(), user_ids)

    def _nearest(self, up: list[int], but: Collection[int], how: Literal["named", "holders"]) -> Asked:
        """Who holds projects:audit in the nearest of the organizations where anybody does."""
        for here in up:
            if found := self._holders_at(here) - set(but):
                return Asked(how, here, tuple(sorted(found)))
        return Asked("nobody", up[0])

    def _holders_at(self, organization_id: int) -> frozenset[int]:
        """The active people to whom projects:audit is granted in that very organization."""
        if organization_id not in self._holders:
            self._holders[organization_id] = standing.granted_at(self._connection, self._audit_roles(), organization_id)
        return self._holders[organization_id]

    def _those_named(self, named: StepReviewers, place: int) -> frozenset[int]:
        key = (msgspec.json.encode(named), place)
        if key not in self._named:
            found = standing.placed_at(self._connection, place, named.roles, named.positions) | set(named.user_ids)
            self._named[key] = frozenset(self.holds_audit(found))
        return self._named[key]

    def _audit_roles(self) -> list[int]:
        if self._auditing is None:
            self._auditing = standing.roles_with(self._connection, AUDIT)
        return self._auditing
