"""A document's status changes only from where it may, and only for the generation that is being made."""

from __future__ import annotations

import itertools

import pytest
import sqlalchemy as sa

from server.knowledge.statuses import Status, move
from server.knowledge.tables import documents
from tests.unit.knowledge.conftest import NOW, Put

ALLOWED = {
    ("queued", "parsing"),
    ("parsing", "parsing"),
    ("embedding", "parsing"),
    ("parsing", "embedding"),
    ("embedding", "embedding"),
    ("parsing", "ready"),
    ("embedding", "ready"),
    ("queued", "failed"),
    ("parsing", "failed"),
    ("embedding", "failed"),
    ("parsing", "no_text"),
    ("embedding", "no_text"),
    ("ready", "queued"),
    ("failed", "queued"),
    ("no_text", "queued"),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(Status, Status)))
def test_a_status_follows_only_from_some(connection: sa.Connection, put: Put, old: Status, new: Status) -> None:
    number = put(status=old.value)
    allowed = (old.value, new.value) in ALLOWED
    assert move(connection, number, 1, new, NOW) is allowed
    assert connection.execute(sa.select(documents.c.status)).scalar() == (new if allowed else old)


def test_an_earlier_generation_moves_nothing(connection: sa.Connection, put: Put) -> None:
    number = put(generation=3)
    assert not move(connection, number, 2, Status.PARSING, NOW)
    assert move(connection, number, 3, Status.PARSING, NOW, progress=50)
    assert connection.execute(sa.select(documents.c.status, documents.c.progress)).one() == ("parsing", 50)


def test_a_document_that_is_gone_moves_nowhere(connection: sa.Connection) -> None:
    assert not move(connection, 5, 1, Status.PARSING, NOW)
