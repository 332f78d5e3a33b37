"""The closure of the tree against a model that walks from each organization up to the root."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from server.people import organization_tree as tree
from server.people.tables import organization_closure, organizations

ROOT = 1
# What is done: make one below `place`, move `place` below `other`, remove `place`; places count the organizations that there are.
STEPS = st.lists(
    st.tuples(st.sampled_from(["make", "make", "move", "remove"]), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=25
)


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    made = sa.create_engine("sqlite://")
    for table in (organizations, organization_closure):
        table.create(made)
    yield made
    made.dispose()


def walked(parents: dict[int, int | None]) -> set[tuple[int, int, int]]:
    """The closure, found the slow way."""
    found = set()
    for organization_id in parents:
        above: int | None = organization_id
        depth = 0
        while above is not None:
            found.add((above, organization_id, depth))
            above, depth = parents[above], depth + 1
    return found


def stored(connection: sa.Connection) -> set[tuple[int, int, int]]:
    return {(row.ancestor_id, row.descendant_id, row.depth) for row in connection.execute(sa.select(organization_closure))}


def put(connection: sa.Connection, organization_id: int, parent_id: int | None) -> None:
    from datetime import UTC, datetime

    values: dict[str, Any] = {"name": "n", "code": str(organization_id), "kind": "other", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
    connection.execute(organizations.insert().values(id=organization_id, parent_id=parent_id, **values))


@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_the_closure_is_that_of_the_tree(engine: sa.Engine, steps: list[tuple[str, int, int]]) -> None:
    parents: dict[int, int | None] = {ROOT: None}
    with engine.connect() as connection, connection.begin() as transaction:
        put(connection, ROOT, None)
        tree.attach(connection, ROOT, None)
        for number, (action, place, other) in enumerate(steps, start=2):
            ids = sorted(parents)
            one, two = ids[place % len(ids)], ids[other % len(ids)]
            if action == "make":
                parents[number] = one
                put(connection, number, one)
                tree.attach(connection, number, one)
            elif action == "move" and one != ROOT:
                cycle = (one, two) in {(above, below) for above, below, _ in walked(parents)}
                assert tree.is_within(connection, two, one) == cycle
                if not cycle:
                    parents[one] = two
                    connection.execute(organizations.update().where(organizations.c.id == one).values(parent_id=two))
                    tree.move(connection, one, two)
            elif action == "remove" and one != ROOT and one not in parents.values():
                del parents[one]
                connection.execute(organizations.delete().where(organizations.c.id == one))
                tree.detach(connection, one)
            assert stored(connection) == walked(parents) == tree.closure_of(parents)
        assert tree.read_parents(connection) == parents
        transaction.rollback()


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_closure_that_is_wrong_is_mended(engine: sa.Engine, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 12))
    parents: dict[int, int | None] = {ROOT: None} | {number: data.draw(st.integers(1, number - 1)) for number in range(2, size + 1)}
    wrong = data.draw(st.sets(st.tuples(st.integers(1, 14), st.integers(1, 14)), max_size=20))
    with engine.connect() as connection, connection.begin() as transaction:
        for organization_id, parent_id in parents.items():
            put(connection, organization_id, parent_id)
        for ancestor_id, descendant_id in wrong:
            connection.execute(organization_closure.insert().values(ancestor_id=ancestor_id, descendant_id=descendant_id, depth=1))
        different = len({(above, below, 1) for above, below in wrong} ^ walked(parents))
        assert tree.mend(connection) == different
        assert stored(connection) == walked(parents)
        assert tree.mend(connection) == 0
        transaction.rollback()


def test_a_circle_that_somebody_made_by_hand_ends() -> None:
    assert tree.closure_of({1: None, 2: 3, 3: 2}) == {(1, 1, 0), (2, 2, 0), (3, 3, 0), (2, 3, 1), (3, 2, 1)}
