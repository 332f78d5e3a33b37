"""Who may see and change which document."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import sqlalchemy as sa

from server.actor import NOBODY, Actor, ActorKind, Grant
from server.context import Context, Services
from server.errors import Forbidden
from server.knowledge.access import MANAGE, READ, WRITE, Ways, access_document, visible_ids
from server.knowledge.errors import DocumentNotFound
from server.scopes import system_actor
from tests.unit.knowledge.conftest import Put

HERE, THERE = 1, 2
SERVICES = Services()
SERVICES.add(Ways())
# All that access asks of a context.
CTX = cast("Context", SimpleNamespace(services=SERVICES))
OWNER, OTHER = 7, 8


def person(user_id: int, *scopes: str, at: int | None = HERE) -> Actor:
    places = None if at is None else frozenset({at})
    return Actor(kind=ActorKind.PERSON, name="p", user_id=user_id, grants=(Grant(frozenset(scopes), places),))


READER_HERE = person(OTHER, READ)
READER_THERE = person(OTHER, READ, at=THERE)
MANAGER_HERE = person(OTHER, READ, MANAGE)
MANAGER_THERE = person(OTHER, READ, MANAGE, at=THERE)
THE_OWNER = person(OWNER, READ, WRITE)
OWNER_WHO_MAY_ONLY_READ = person(OWNER, READ)
OWNER_AT_HOME_ELSEWHERE = person(OWNER, READ, WRITE, at=THERE)
READS_EVERYTHING = person(OTHER, READ, at=None)
WRITES_HERE = person(OTHER, READ, WRITE)


@pytest.mark.parametrize(
    ("actor", "private", "organization", "public"),
    [
        (NOBODY, False, False, False),
        (person(OTHER, "users:read"), False, False, False),
        (READER_HERE, False, True, True),
        (READER_THERE, False, False, True),
        (READS_EVERYTHING, False, True, True),
        (MANAGER_HERE, True, True, True),
        (MANAGER_THERE, False, False, True),
        (THE_OWNER, True, True, True),
        (OWNER_AT_HOME_ELSEWHERE, True, True, True),
        (person(OWNER), False, False, False),
        (system_actor("job"), True, True, True),
    ],
)
def test_who_sees_what(connection: sa.Connection, put: Put, actor: Actor, private: bool, organization: bool, public: bool) -> None:
    ids = [put(visibility=name, organization_id=HERE, owner_id=OWNER) for name in ("private", "organization", "public")]
    expected = {number for number, sees in zip(ids, (private, organization, public), strict=True) if sees}
    assert visible_ids(CTX, connection, actor, ids) == expected
    for number in ids:
        if number in expected:
            assert access_document(CTX, connection, actor, number).id == number
        else:
            with pytest.raises(DocumentNotFound):
                access_document(CTX, connection, actor, number)
            with pytest.raises(DocumentNotFound):
                access_document(CTX, connection, actor, number, to_change=True)


@pytest.mark.parametrize(
    ("actor", "may"),
    [
        (THE_OWNER, True),
        (OWNER_WHO_MAY_ONLY_READ, False),
        (READER_HERE, False),
        (WRITES_HERE, False),
        (MANAGER_HERE, True),
        (MANAGER_THERE, False),
        (system_actor("job"), True),
    ],
)
def test_who_changes_what(connection: sa.Connection, put: Put, actor: Actor, may: bool) -> None:
    number = put(visibility="public", organization_id=HERE, owner_id=OWNER)
    if may:
        assert access_document(CTX, connection, actor, number, to_change=True).id == number
    else:
        with pytest.raises(Forbidden):
            access_document(CTX, connection, actor, number, to_change=True)


def test_a_document_without_an_owner_belongs_to_no_caller_without_an_account(connection: sa.Connection, put: Put) -> None:
    number = put(visibility="private", owner_id=None)
    module = Actor(kind=ActorKind.MODULE, name="m", grants=(Grant(frozenset({READ, WRITE})),))
    assert visible_ids(CTX, connection, module, [number]) == set()


def test_no_ids_are_no_documents(connection: sa.Connection) -> None:
    assert visible_ids(CTX, connection, system_actor("job"), []) == set()
