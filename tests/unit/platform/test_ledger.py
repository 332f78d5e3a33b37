"""The fire ledger: one planner at a time, one row an instant, and storage that refuses whoever was overtaken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from server.engines.schema import metadata
from server.platform.schedules import ledger
from server.platform.schedules.ledger import Entry, LeaseLost, Outcome, TakenOver
from server.platform.tables import fires, planner

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with engine.connect() as opened:
        metadata.create_all(opened, tables=[fires, planner])
        yield opened
    engine.dispose()


def entry(minute: int = 0, *, schedule: int = 1, outcome: Outcome = Outcome.FIRED, **more: object) -> Entry:
    at = NOW + minute * MINUTE
    return Entry(id=f"{schedule}-{minute}-{len(more)}", schedule_id=schedule, planned_at=at, starts_at=at, outcome=outcome, **more)  # type: ignore[arg-type]


def test_the_first_planner_begins_now(connection: sa.Connection) -> None:
    assert ledger.latest_epoch(connection) == 0
    assert ledger.take_over(connection, 5, "a", NOW) == TakenOver(NOW, None)
    assert ledger.latest_epoch(connection) == 5


def test_a_successor_goes_on_where_the_ledger_ends(connection: sa.Connection) -> None:
    ledger.take_over(connection, 5, "a", NOW)
    ledger.planned_until(connection, 5, NOW + MINUTE)
    assert ledger.take_over(connection, 6, "b", NOW + 9 * MINUTE) == TakenOver(NOW + MINUTE, None)
    ledger.planned_until(connection, 5, NOW + 30 * MINUTE)  # the one before, not knowing
    assert ledger.take_over(connection, 7, "c", NOW + 9 * MINUTE) == TakenOver(NOW + MINUTE, None)


def test_a_stop_in_good_order_is_told_from_a_crash(connection: sa.Connection) -> None:
    ledger.take_over(connection, 5, "a", NOW)
    ledger.stop(connection, 4, NOW)  # somebody of long ago
    assert ledger.take_over(connection, 6, "b", NOW).stopped_at is None
    ledger.stop(connection, 6, NOW + MINUTE)
    assert ledger.take_over(connection, 7, "c", NOW + 2 * MINUTE).stopped_at == NOW + MINUTE
    assert ledger.take_over(connection, 8, "d", NOW + 3 * MINUTE).stopped_at is None


@pytest.mark.parametrize("epoch", [5, 4, 0])
def test_an_epoch_that_is_over_cannot_take_over(connection: sa.Connection, epoch: int) -> None:
    ledger.take_over(connection, 5, "a", NOW)
    with pytest.raises(LeaseLost):
        ledger.take_over(connection, epoch, "b", NOW)


def test_whoever_was_overtaken_writes_nothing(connection: sa.Connection) -> None:
    with pytest.raises(LeaseLost):
        ledger.check_epoch(connection, 5)
    ledger.take_over(connection, 5, "a", NOW)
    ledger.check_epoch(connection, 5)
    ledger.take_over(connection, 6, "b", NOW)
    with pytest.raises(LeaseLost):
        ledger.check_epoch(connection, 5)


def test_two_rows_for_one_instant_are_refused(connection: sa.Connection) -> None:
    ledger.write(connection, [entry(0)], epoch=5, now=NOW)
    with pytest.raises(sa.exc.IntegrityError):
        ledger.write(connection, [entry(0, outcome=Outcome.OVERLAP, reason="x")], epoch=6, now=NOW)
    ledger.write(connection, [entry(0, schedule=2)], epoch=5, now=NOW)


def test_what_is_recorded_is_found(connection: sa.Connection) -> None:
    ledger.write(connection, [entry(0), entry(2), entry(1, schedule=2)], epoch=5, now=NOW)
    asked = [entry(0), entry(1), entry(2), entry(1, schedule=2), entry(2, schedule=2)]
    assert ledger.find_recorded(connection, asked) == {(1, NOW), (1, NOW + 2 * MINUTE), (2, NOW + MINUTE)}
    assert ledger.find_recorded(connection, []) == set()


def test_many_schedules_are_asked_for_in_pieces(connection: sa.Connection) -> None:
    many = [entry(0, schedule=number) for number in range(1200)]
    ledger.write(connection, many[::2], epoch=5, now=NOW)
    assert len(ledger.find_recorded(connection, many)) == 600


def test_a_row_is_widened_by_its_neighbours(connection: sa.Connection) -> None:
    first = entry(0, outcome=Outcome.DISABLED)
    ledger.write(connection, [first], epoch=5, now=NOW)
    ledger.write(connection, [entry(1, outcome=Outcome.DISABLED, widen=first.id)], epoch=5, now=NOW)
    ledger.write(connection, [entry(2, outcome=Outcome.DISABLED, widen=first.id, through=NOW + 9 * MINUTE, count=8)], epoch=5, now=NOW)
    [row] = connection.execute(sa.select(fires)).all()
    assert (row.count, row.through, row.planned_at) == (10, NOW + 9 * MINUTE, NOW)


def test_lag_and_length_of_a_reason(connection: sa.Connection) -> None:
    ledger.write(
        connection,
        [entry(0, reason="r" * 900), entry(1), entry(2, schedule=2, outcome=Outcome.MISFIRE, count=4, through=NOW + 5 * MINUTE)],
        epoch=5,
        now=NOW + timedelta(milliseconds=250),
    )
    rows = {(row.schedule_id, row.planned_at): row for row in connection.execute(sa.select(fires))}
    assert rows[1, NOW].lag_ms == 250
    assert len(rows[1, NOW].reason) == 500
    assert rows[1, NOW + MINUTE].lag_ms == 0, "never negative"
    assert rows[2, NOW + 2 * MINUTE].lag_ms == 0


def test_sweep(connection: sa.Connection) -> None:
    ledger.write(connection, [entry(number) for number in range(5)], epoch=5, now=NOW)
    assert ledger.sweep(connection, NOW) == 0
    assert ledger.sweep(connection, NOW + MINUTE, limit=3) == 3
    assert ledger.sweep(connection, NOW + MINUTE) == 2
