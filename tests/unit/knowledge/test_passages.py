"""How chunks are kept: stable ids, generations that follow one another without a gap, and nothing left behind."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from jobs.cpu.shapes import Block, Carry, Chunk, Line, Page
from server.knowledge import passages
from server.knowledge.chunk_states import ChunkState, set_state
from server.knowledge.removals import remove_document
from server.knowledge.tables import chunks, document_pages, documents, vector_removals
from server.platform.tables import tasks
from tests.unit.knowledge.conftest import NOW, Put


def chunk(text: str, page: int = 1, path: list[str] | None = None) -> Chunk:
    return Chunk(page, path or ["One"], text, [(1.0, 2.0, 3.0, 4.0)], "en")


def page(number: int) -> Page:
    return Page(number, 595.0, 842.0, [Block("text", [Line("words", (1.0, 2.0, 3.0, 4.0))])], "en")


def store(connection: sa.Connection, document_id: int, generation: int, *found: Chunk, last: int = 1) -> bool:
    return passages.store_pages(connection, document_id, generation, [page(last)], found, Carry(tail="t"), last, NOW)


def states(connection: sa.Connection) -> dict[str, str]:
    return {row.text: row.state for row in connection.execute(sa.select(chunks.c.text, chunks.c.state))}


def embed(connection: sa.Connection, document_id: int, state: ChunkState) -> None:
    ids = [row.id for row in passages.pending(connection, document_id, 0, 100)]
    assert set_state(connection, ids, ChunkState.PENDING, state) == len(ids)


def test_the_same_passage_has_the_same_id() -> None:
    assert passages.with_ids(1, [chunk("a"), chunk("b")]) == passages.with_ids(1, [chunk("a"), chunk("b")])


@pytest.mark.parametrize("other", [chunk("b"), chunk("a", page=2), chunk("a", path=["Two"]), chunk("a", path=["One", "One"])])
def test_another_passage_has_another_id(other: Chunk) -> None:
    [(one, _)], [(two, _)] = passages.with_ids(1, [chunk("a")]), passages.with_ids(1, [other])
    assert one != two


def test_equal_passages_of_a_page_and_of_other_documents_are_told_apart() -> None:
    ids = [named for named, _ in (*passages.with_ids(1, [chunk("a"), chunk("a")]), *passages.with_ids(2, [chunk("a")]))]
    assert len(set(ids)) == 3
    assert all(len(named) == 32 for named in ids)


def test_pages_and_chunks_are_kept_with_how_far_reading_came(connection: sa.Connection, put: Put) -> None:
    number = put(pages=2, status="parsing")
    assert store(connection, number, 1, chunk("a"), chunk("b"))
    assert store(connection, number, 1, chunk("c", page=2), last=2)
    row = connection.execute(sa.select(documents)).one()
    assert (row.pages_read, row.carry) == (2, {"headings": [], "tail": "t"})
    assert [row.text for row in passages.pending(connection, number, 0, 100)] == ["a", "b", "c"]
    assert [row.text for row in passages.pending(connection, number, 1, 1)] == ["b"]
    assert passages.counts(connection, number, 1) == (0, 3)
    assert connection.execute(sa.select(sa.func.count()).select_from(document_pages)).scalar() == 2


def test_reading_a_page_again_after_a_crash_changes_nothing(connection: sa.Connection, put: Put) -> None:
    number = put(pages=1, status="parsing")
    store(connection, number, 1, chunk("a"))
    embed(connection, number, ChunkState.LIVE)
    store(connection, number, 1, chunk("a"))
    assert states(connection) == {"a": "live"}
    assert connection.execute(sa.select(sa.func.count()).select_from(document_pages)).scalar() == 1


def test_a_document_that_was_begun_anew_takes_nothing_of_before(connection: sa.Connection, put: Put) -> None:
    number = put(pages=1, generation=2, status="parsing")
    assert not store(connection, number, 1, chunk("a"))
    assert states(connection) == {}


@pytest.mark.parametrize("status", ["queued", "ready", "failed", "no_text"])
def test_a_document_that_has_ended_meanwhile_takes_nothing(connection: sa.Connection, put: Put, status: str) -> None:
    assert not store(connection, put(pages=1, status=status), 1, chunk("a"))
    assert states(connection) == {}


def indexed(connection: sa.Connection, put: Put) -> int:
    """A document whose first generation of a and b is searched, and whose second is to begin."""
    number = put(pages=1, status="parsing")
    store(connection, number, 1, chunk("a"), chunk("b"))
    embed(connection, number, ChunkState.LIVE)
    connection.execute(documents.update().values(built=1, generation=2))
    return number


def test_a_new_generation_serves_when_it_is_complete_and_not_before(connection: sa.Connection, put: Put) -> None:
    number = indexed(connection, put)
    store(connection, number, 2, chunk("b"), chunk("c"))
    assert states(connection) == {"a": "live", "b": "live", "c": "pending"}
    embed(connection, number, ChunkState.WAITING)
    assert passages.counts(connection, number, 2) == (2, 2)
    assert states(connection) == {"a": "live", "b": "live", "c": "waiting"}
    passages.show_generation(connection, number, 2, NOW)
    assert states(connection) == {"b": "live", "c": "live"}
    [removal] = connection.execute(sa.select(vector_removals)).all()
    assert removal.chunk_ids == [named for named, found in passages.with_ids(number, [chunk("a")])]


def test_a_generation_that_fails_leaves_what_there_was(connection: sa.Connection, put: Put) -> None:
    number = indexed(connection, put)
    store(connection, number, 2, chunk("b"), chunk("c"))
    passages.forget_generation(connection, number, 2, NOW)
    assert states(connection) == {"a": "live", "b": "live"}
    connection.execute(documents.update().values(generation=3))
    store(connection, number, 3, chunk("b"))
    passages.show_generation(connection, number, 3, NOW)
    assert states(connection) == {"b": "live"}


def test_deleting_leaves_only_the_order_to_remove_the_vectors(connection: sa.Connection, put: Put) -> None:
    number, other = indexed(connection, put), put(sha256=64 * "b")
    for table in ("document_tags", "refused_tags"):
        connection.execute(sa.text(f"CREATE TABLE {table} (document_id INTEGER, tag_id INTEGER)"))
    remove_document(connection, number, NOW)
    assert states(connection) == {}
    assert connection.execute(sa.select(documents.c.id)).scalars().all() == [other]
    left: list[Any] = connection.execute(sa.select(vector_removals.c.document_id, vector_removals.c.chunk_ids)).all()  # type: ignore[assignment]
    assert left == [(number, None)]
    assert connection.execute(sa.select(tasks.c.kind)).scalars().all() == ["remove_vectors"]
