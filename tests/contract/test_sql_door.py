"""The SQL door's contract, on SQLite and on MariaDB."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from server.config import Settings
from server.engines.sql import SqlDoor, open_sql, sync_url
from server.engines.sql_sqlite import SqliteDoor
from server.errors import EngineAway
from tests.contract.waiting import until
from tests.peers.mariadb import MariaDb

tables = sa.MetaData()
counters = sa.Table("counters", tables, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("n", sa.Integer))


@pytest.fixture
def door(sql: SqlDoor, on_loop: Any) -> SqlDoor:
    on_loop(lambda: sql.write(tables.create_all))
    return sql


def insert(id: int, n: int = 0) -> Any:
    return lambda connection: connection.execute(sa.insert(counters).values(id=id, n=n)).rowcount


def add_one(connection: sa.Connection) -> None:
    n = connection.execute(sa.select(counters.c.n).where(counters.c.id == 1).with_for_update()).scalar_one()
    connection.execute(sa.update(counters).where(counters.c.id == 1).values(n=n + 1))


def ids(connection: sa.Connection) -> list[int]:
    return list(connection.execute(sa.select(counters.c.id).order_by(counters.c.id)).scalars())


@pytest.mark.gen_test(timeout=60)
async def test_what_is_written_is_read(door: SqlDoor) -> None:
    assert await door.write(insert(1)) == 1
    assert await door.read(ids) == [1]
    assert await door.read_small(ids) == [1]


@pytest.mark.gen_test(timeout=60)
async def test_an_error_undoes_its_own_transaction_only(door: SqlDoor) -> None:
    class OwnError(Exception):
        pass

    def fails(connection: sa.Connection) -> None:
        insert(100)(connection)
        raise OwnError

    outcomes = await asyncio.gather(*(door.write(fails if n == 5 else insert(n)) for n in range(10)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OwnError if n == 5 else int for n in range(10)]
    assert await door.read(ids) == [0, 1, 2, 3, 4, 6, 7, 8, 9]


@pytest.mark.gen_test(timeout=60)
async def test_a_broken_constraint_is_the_callers(door: SqlDoor) -> None:
    await door.write(insert(1))
    outcomes = await asyncio.gather(door.write(insert(1)), door.write(insert(2)), return_exceptions=True)
    assert isinstance(outcomes[0], sa.exc.IntegrityError)
    assert outcomes[1] == 1


@pytest.mark.gen_test(timeout=120)
async def test_200_writers_lose_nothing(door: SqlDoor) -> None:
    await door.write(insert(1))
    await asyncio.gather(*(door.write(add_one) for _ in range(200)))
    assert await door.read(lambda connection: connection.execute(sa.select(counters.c.n)).scalar_one()) == 200


@pytest.mark.gen_test(timeout=60)
async def test_a_read_cannot_write(door: SqlDoor) -> None:
    for read in (door.read, door.read_small):
        with pytest.raises((sa.exc.DBAPIError, EngineAway)):
            await read(insert(1))
    assert await door.read(ids) == []
    assert await door.write(insert(2)) == 1


@pytest.mark.holds_loop
@pytest.mark.gen_test(timeout=60)
async def test_a_read_sees_one_moment(door: SqlDoor, sql_settings: Settings) -> None:
    await door.write(insert(1))
    # Apart from the door, because on MySQL a read runs on the loop.
    other = sa.create_engine(sync_url(sql_settings), poolclass=sa.pool.NullPool)

    def reads(connection: sa.Connection) -> tuple[list[int], list[int]]:
        before = ids(connection)
        with other.begin() as meanwhile:
            insert(2)(meanwhile)
        return before, ids(connection)

    assert await door.read(reads) == ([1], [1])
    assert await door.read(ids) == [1, 2]


@pytest.mark.gen_test(timeout=120)
async def test_those_who_lock_in_opposite_orders_all_succeed(door: SqlDoor) -> None:
    await asyncio.gather(door.write(insert(1)), door.write(insert(2)))

    def in_order(*rows: int) -> Any:
        def transaction(connection: sa.Connection) -> None:
            for row in rows:
                connection.execute(sa.update(counters).where(counters.c.id == row).values(n=counters.c.n + 1))

        return transaction

    await asyncio.gather(*(door.write(in_order(*order)) for order in [(1, 2), (2, 1)] * 5))
    assert await door.read(lambda connection: connection.execute(sa.select(counters.c.n)).scalars().all()) == [10, 10]


@pytest.mark.gen_test(timeout=60)
async def test_a_cancelled_caller_leaves_all_or_nothing(door: SqlDoor) -> None:
    def both(n: int) -> Any:
        def transaction(connection: sa.Connection) -> None:
            insert(2 * n)(connection)
            insert(2 * n + 1)(connection)

        return transaction

    callers = [asyncio.create_task(door.write(both(n))) for n in range(50)]
    for n, caller in enumerate(callers):
        await asyncio.sleep(0)
        if n % 2:
            caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await door.write(insert(1000))
    rows = set(await door.read(ids))
    assert all((2 * n in rows) == (2 * n + 1 in rows) for n in range(50))
    assert all(2 * n in rows for n in range(0, 50, 2))


@pytest.mark.gen_test(timeout=60)
async def test_a_statement_that_cannot_be_understood_is_not_the_engine_away(door: SqlDoor) -> None:
    for ask in (door.read, door.write, door.read_small):
        with pytest.raises(sa.exc.DBAPIError):
            await ask(lambda connection: connection.exec_driver_sql("SELECT * FROM no_such_table").all())
    await door.ping()


@pytest.mark.gen_test(timeout=60)
async def test_closed(sql_settings: Settings) -> None:
    door = await open_sql(sql_settings)
    await door.ping()
    await door.close()
    await door.close()


# SQLite alone.


@pytest.mark.gen_test(timeout=60)
async def test_a_commit_that_fails_fails_all_and_the_next_one_works(tmp_path: Path) -> None:
    door = await SqliteDoor.open(tmp_path / "zhihui.db")
    parents = sa.Table("parents", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    await door.write(lambda connection: parents.create(connection))
    await door.write(
        lambda connection: connection.exec_driver_sql(
            "CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED)"
        ).close()
    )
    begun, going = threading.Event(), threading.Event()

    def blocks(_connection: sa.Connection) -> None:
        begun.set()
        going.wait(30)

    # What waits behind the first goes into one commit, which the orphan makes fail.
    first = asyncio.create_task(door.write(blocks))
    assert await asyncio.to_thread(begun.wait, 30)
    batch = [
        asyncio.create_task(door.write(lambda connection: connection.execute(sa.insert(parents).values(id=1)).rowcount)),
        asyncio.create_task(door.write(lambda connection: connection.exec_driver_sql("INSERT INTO children VALUES (1, 99)").rowcount)),
    ]
    await asyncio.sleep(0)
    going.set()
    await first
    outcomes = await asyncio.gather(*batch, return_exceptions=True)
    assert all(isinstance(outcome, Exception) for outcome in outcomes)
    assert await door.read(lambda connection: connection.execute(sa.select(parents.c.id)).all()) == []
    assert await door.write(lambda connection: connection.execute(sa.insert(parents).values(id=2)).rowcount) == 1
    await door.close()


@pytest.mark.gen_test(timeout=60)
async def test_a_closed_door_takes_nothing(tmp_path: Path) -> None:
    door = await SqliteDoor.open(tmp_path / "zhihui.db")
    await door.write(tables.create_all)
    last = asyncio.create_task(door.write(insert(1)))
    await asyncio.sleep(0)
    await door.close()
    assert await last == 1
    with pytest.raises(EngineAway):
        await door.write(insert(2))
    with pytest.raises(EngineAway):
        await door.read(ids)
    with pytest.raises(EngineAway):
        await door.ping()


# MariaDB alone.


@pytest.mark.gen_test(timeout=120)
async def test_mariadb_stopped_and_started_again(mariadb: MariaDb, mariadb_settings: Settings) -> None:
    door = await open_sql(mariadb_settings)
    await door.write(tables.create_all)
    await asyncio.gather(*(door.write(insert(n)) for n in range(20)))
    await asyncio.to_thread(mariadb.stop)
    try:
        for ask in (door.ping, lambda: door.read(ids), lambda: door.write(insert(100))):
            with pytest.raises(EngineAway):
                await ask()
    finally:
        await asyncio.to_thread(mariadb.start)
    assert await door.read(ids) == list(range(20))
    await asyncio.gather(*(door.write(insert(n)) for n in range(20, 40)))
    assert await door.read(ids) == list(range(40))
    await door.close()


@pytest.mark.gen_test(timeout=120)
async def test_mariadb_that_answers_nothing(mariadb: MariaDb, mariadb_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.engines.sql_mysql.TIMEOUT_S", 1.0)
    door = await open_sql(mariadb_settings)
    await door.write(tables.create_all)
    mariadb.freeze()
    try:
        outcomes = await asyncio.gather(*(door.write(insert(n)) for n in range(3)), door.read(ids), return_exceptions=True)
    finally:
        mariadb.thaw()
    assert [type(outcome) for outcome in outcomes] == [EngineAway] * 4
    monkeypatch.undo()
    assert await door.write(insert(100)) == 1
    assert 100 in await door.read(ids)
    await door.close()


@pytest.mark.gen_test(timeout=120)
async def test_mariadb_away_from_the_start(mariadb: MariaDb, mariadb_settings: Settings) -> None:
    await asyncio.to_thread(mariadb.stop)
    try:
        door = await open_sql(mariadb_settings)
        with pytest.raises(EngineAway):
            await door.ping()
    finally:
        await asyncio.to_thread(mariadb.start)
    await until(lambda: _answers(door))
    await door.close()


async def _answers(door: SqlDoor) -> bool:
    try:
        await door.ping()
    except EngineAway:
        return False
    return True
