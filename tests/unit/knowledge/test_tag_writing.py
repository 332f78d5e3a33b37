"""What the tagging job writes on a document and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from server.engines.schema import metadata
from server.knowledge.tables import document_tags, documents, refused_tags, tags
from server.knowledge.tag_suggestions import Fit
from server.knowledge.tag_writing import MOST_WRITTEN, _write
from server.messages import text
from tests.unit.knowledge.conftest import NOW, Put

Found = dict[int, tuple[str, float | None]]


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.connect() as opened:
        metadata.create_all(opened, tables=[documents, tags, document_tags, refused_tags])
        for number in range(1, 15):
            row = {"id": number, "organization_id": 1 if number < 14 else 2, "name": f"t{number}", "description": "", "keywords": []}
            opened.execute(tags.insert().values(**row, created_at=NOW, updated_at=NOW))
        yield opened
    engine.dispose()


def fit(tag_id: int, score: float = 0.9) -> Fit:
    return Fit(tag_id, f"t{tag_id}", score, text("tag.reason.meaning", page=3))


def held(connection: sa.Connection) -> Found:
    return {row.tag_id: (row.source, row.score) for row in connection.execute(sa.select(document_tags))}


def put_on(connection: sa.Connection, document_id: int, tag_id: int, source: str) -> None:
    values = {"document_id": document_id, "tag_id": tag_id, "source": source, "created_at": NOW}
    connection.execute(document_tags.insert().values(values))


def test_what_fits_is_written_with_score_and_reason(connection: sa.Connection, put: Put) -> None:
    document, written, removed = _write(connection, put(), [fit(1, 0.91234), fit(2, 0.8)], NOW)
    assert (document is not None, written, removed) == (True, 2, 0)
    assert held(connection) == {1: ("job", 0.912), 2: ("job", 0.8)}
    assert connection.execute(sa.select(document_tags.c.reason)).scalars().first() == {"key": "tag.reason.meaning", "params": {"page": 3}}


def test_a_persons_tag_is_left_as_it_is(connection: sa.Connection, put: Put) -> None:
    document_id = put()
    put_on(connection, document_id, 1, "person")
    put_on(connection, document_id, 2, "person")
    assert _write(connection, document_id, [fit(1)], NOW) == (None, 0, 0)
    assert held(connection) == {1: ("person", None), 2: ("person", None)}


def test_a_refused_tag_is_not_written_again(connection: sa.Connection, put: Put) -> None:
    document_id = put()
    connection.execute(refused_tags.insert().values(document_id=document_id, tag_id=1))
    assert _write(connection, document_id, [fit(1), fit(2)], NOW)[1:] == (1, 0)
    assert set(held(connection)) == {2}


def test_the_jobs_own_tag_goes_when_it_holds_no_longer(connection: sa.Connection, put: Put) -> None:
    document_id = put()
    put_on(connection, document_id, 1, "job")
    put_on(connection, document_id, 2, "job")
    document, written, removed = _write(connection, document_id, [fit(2, 0.75)], NOW)
    assert (document.id, written, removed) == (document_id, 1, 1)
    assert held(connection) == {2: ("job", 0.75)}
    assert _write(connection, document_id, [fit(2, 0.8)], NOW) == (None, 1, 0)  # nothing came or went
    assert held(connection) == {2: ("job", 0.8)}


def test_there_is_a_most_and_the_best_are_written(connection: sa.Connection, put: Put) -> None:
    _document, written, _removed = _write(connection, put(), [fit(number, 1 - number / 100) for number in range(1, 13)], NOW)
    assert written == MOST_WRITTEN
    assert set(held(connection)) == set(range(1, MOST_WRITTEN + 1))


def test_tags_of_others_or_that_are_gone_are_not_written(connection: sa.Connection, put: Put) -> None:
    assert _write(connection, put(), [fit(14), fit(99)], NOW) == (None, 0, 0)
    assert _write(connection, 12345, [fit(1)], NOW) == (None, 0, 0)
    assert held(connection) == {}
