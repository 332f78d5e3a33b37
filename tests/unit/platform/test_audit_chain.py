"""The seal on the audit log: whatever is changed, removed or put in between shows, and retention may take the front."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from server.engines.schema import metadata
from server.platform import audit, audit_chain
from server.platform.audit_chain import SETTLED, SKEW, SWEPT, find_anchor
from server.platform.audit_verifying import Walk
from server.platform.tables import audit_log
from server.scopes import system_actor

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
LATER = NOW + SETTLED
ACTOR = system_actor("test")


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.connect() as opened:
        metadata.create_all(opened, tables=[audit_log])
        yield opened
    engine.dispose()


def add(connection: sa.Connection, number: int, at: datetime = NOW) -> None:
    for each in range(number):
        audit.note(connection, at, ACTOR, "test.done", f"thing:{each}", ratio=0.1, name="张三", ids=[each, None])


def seal(connection: sa.Connection, now: datetime = LATER, limit: int = 250) -> int:
    return audit_chain.seal(connection, now, limit).sealed


def hashes(connection: sa.Connection) -> dict[int, str | None]:
    return {row.id: row.hash for row in connection.execute(sa.select(audit_log.c.id, audit_log.c.hash).order_by(audit_log.c.id))}


def walk(connection: sa.Connection, witnesses: Mapping[int, str] | None = None) -> Walk:
    walked = Walk(find_anchor(connection), witnesses or {})
    walked.step(connection.execute(sa.select(audit_log).order_by(audit_log.c.id)).all())
    walked.end()
    return walked


def change(connection: sa.Connection, row_id: int, **values: Any) -> None:
    connection.execute(audit_log.update().where(audit_log.c.id == row_id).values(**values))


def remove(connection: sa.Connection, *row_ids: int) -> None:
    connection.execute(audit_log.delete().where(audit_log.c.id.in_(row_ids)))


def test_each_hash_covers_the_row_and_the_one_before(connection: sa.Connection) -> None:
    """The recipe that the documentation gives to those who check it by other means."""
    audit.note(connection, NOW, ACTOR, "test.done", "thing:1", name="b", a=1)
    audit.note(connection, NOW, ACTOR, "test.done", "thing:2")
    seal(connection)
    import hashlib

    first = '[1,"2026-03-02T08:00:00.000000+00:00",null,"test","test.done","thing:1","","",{"a":1,"name":"b"}]'
    second = '[2,"2026-03-02T08:00:00.000000+00:00",null,"test","test.done","thing:2","","",{}]'
    one = hashlib.sha256(first.encode()).hexdigest()
    assert hashes(connection) == {1: one, 2: hashlib.sha256((one + second).encode()).hexdigest()}


def test_sealing_goes_on_where_it_ended(connection: sa.Connection) -> None:
    add(connection, 5)
    assert [seal(connection, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    in_pieces = hashes(connection)
    connection.execute(audit_log.update().values(hash=None))
    assert seal(connection) == 5
    assert hashes(connection) == in_pieces
    assert (walk(connection).checked, walk(connection).first_broken, walk(connection).head) == (5, None, in_pieces[5])


def test_what_has_not_settled_waits_and_so_does_all_after_it(connection: sa.Connection) -> None:
    add(connection, 1)
    add(connection, 1, LATER)
    add(connection, 1)
    assert seal(connection, NOW) == 0
    assert seal(connection) == 1
    assert (walk(connection).waiting, walk(connection).first_broken) == (2, None)
    assert seal(connection, LATER + SETTLED) == 2


def test_a_time_far_ahead_does_not_hold_up_the_others(connection: sa.Connection) -> None:
    add(connection, 1, LATER + SKEW)
    add(connection, 1)
    assert seal(connection) == 0
    connection.execute(audit_log.update().where(audit_log.c.id == 1).values(at=NOW + timedelta(days=400)))
    assert seal(connection) == 2


def test_a_gap_that_was_never_a_row_is_no_break(connection: sa.Connection) -> None:
    add(connection, 3)
    remove(connection, 2)
    seal(connection)
    assert (walk(connection).checked, walk(connection).first_broken) == (2, None)


TAMPERINGS: dict[str, tuple[Callable[[sa.Connection], object], int]] = {
    "a changed time": (lambda connection: change(connection, 3, at=NOW - timedelta(microseconds=1)), 3),
    "a changed user": (lambda connection: change(connection, 3, user_id=7), 3),
    "a changed name": (lambda connection: change(connection, 3, actor="somebody"), 3),
    "a changed action": (lambda connection: change(connection, 3, action="test.undone"), 3),
    "a changed target": (lambda connection: change(connection, 3, target="thing:9"), 3),
    "a changed address": (lambda connection: change(connection, 3, address="10.0.0.1"), 3),
    "a changed request": (lambda connection: change(connection, 3, request_id="r"), 3),
    "a changed detail": (lambda connection: change(connection, 3, detail={"ratio": 0.2}), 3),
    "a changed hash": (lambda connection: change(connection, 3, hash="0" * 64), 3),
    "the first row changed": (lambda connection: change(connection, 1, actor="somebody"), 1),
    "the last row changed": (lambda connection: change(connection, 6, actor="somebody"), 6),
    "a row renumbered": (lambda connection: change(connection, 6, id=60), 60),
    "a row removed": (lambda connection: remove(connection, 3), 4),
    "the first row removed": (lambda connection: remove(connection, 1), 2),
    "a seal taken away": (lambda connection: change(connection, 3, hash=None), 3),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_shows_with_the_first_row_that_does_not_fit(connection: sa.Connection, tampering: str) -> None:
    add(connection, 6)
    seal(connection)
    assert walk(connection).first_broken is None
    tamper, broken = TAMPERINGS[tampering]
    tamper(connection)
    walked = walk(connection)
    assert walked.first_broken == broken
    assert walked.checked == len([row_id for row_id in hashes(connection) if row_id < broken])


@pytest.mark.parametrize("hash_", [None, "f" * 64])
def test_a_row_put_in_between_shows(connection: sa.Connection, hash_: str | None) -> None:
    add(connection, 5)
    remove(connection, 3)
    seal(connection)
    values = {"at": NOW, "actor": "x", "action": "x", "target": "x", "address": "", "request_id": "", "detail": {}}
    connection.execute(audit_log.insert().values(id=3, hash=hash_, **values))
    assert walk(connection).first_broken == 3


@pytest.mark.parametrize("resealed", [False, True])
def test_an_end_that_was_cut_off_shows_by_what_is_known_of_it_elsewhere(connection: sa.Connection, resealed: bool) -> None:
    add(connection, 5)
    seal(connection)
    known = {5: str(hashes(connection)[5])}
    remove(connection, 4, 5)
    assert walk(connection).first_broken is None, "the chain alone does not know"
    if resealed:
        add(connection, 3)  # SQLite gives the numbers out again
        seal(connection)
    assert walk(connection, known).first_broken == 5
    assert walk(connection, {3: str(hashes(connection)[3])}).first_broken is None


def test_a_log_that_was_sealed_anew_shows_by_what_is_known_of_it_elsewhere(connection: sa.Connection) -> None:
    add(connection, 4)
    seal(connection)
    known = {2: str(hashes(connection)[2]), 4: str(hashes(connection)[4])}
    change(connection, 2, actor="somebody")
    connection.execute(audit_log.update().values(hash=None))
    seal(connection)
    assert walk(connection).first_broken is None
    assert walk(connection, known).first_broken == 2


def test_old_rows_go_from_the_front_and_the_chain_holds(connection: sa.Connection) -> None:
    add(connection, 4)
    add(connection, 2, NOW + timedelta(days=1))
    seal(connection, NOW + timedelta(days=2))
    known = {2: str(hashes(connection)[2]), 6: str(hashes(connection)[6])}
    swept_at = NOW + timedelta(days=3)
    assert [audit_chain.sweep(connection, swept_at, NOW + timedelta(hours=1), 3) for _ in range(3)] == [3, 1, 0]
    assert find_anchor(connection).through_id == 4
    assert list(hashes(connection)) == [5, 6, 7, 8]
    assert seal(connection, swept_at + SETTLED) == 2
    assert (walk(connection, known).checked, walk(connection, known).first_broken) == (4, None)
    remove(connection, 5)
    assert walk(connection, known).first_broken == 6
    row = connection.execute(sa.select(audit_log).where(audit_log.c.action == SWEPT).order_by(audit_log.c.id)).first()
    assert row is not None
    assert (row.actor, row.detail["rows"]) == ("maintenance", 3)


def test_all_sealed_rows_may_go(connection: sa.Connection) -> None:
    add(connection, 3)
    seal(connection)
    assert audit_chain.sweep(connection, LATER, LATER, 10) == 3
    assert seal(connection, LATER + SETTLED) == 1
    assert (walk(connection).checked, walk(connection).first_broken) == (1, None)
    change(connection, 4, detail={"through_id": 3, "hash": "0" * 64, "rows": 3})
    assert walk(connection).first_broken == 4


def test_nothing_goes_that_is_not_sealed_or_comes_after_what_stays(connection: sa.Connection) -> None:
    add(connection, 2)
    add(connection, 1, NOW + timedelta(days=9))
    add(connection, 1)
    assert audit_chain.sweep(connection, LATER, LATER, 10) == 0
    seal(connection, NOW + timedelta(days=10))
    assert audit_chain.sweep(connection, LATER, LATER, 10) == 2
    assert list(hashes(connection)) == [3, 4, 5]


def test_rows_from_before_the_anchor_do_not_come_back(connection: sa.Connection) -> None:
    add(connection, 3)
    seal(connection)
    first = connection.execute(sa.select(audit_log).where(audit_log.c.id == 1)).one()._asdict()
    audit_chain.sweep(connection, LATER, LATER, 10)
    connection.execute(audit_log.insert().values(**first))
    assert walk(connection).first_broken == 1
