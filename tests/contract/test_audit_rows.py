"""The audit log on each SQL database: filters, sealing by several at once, sweeping; and rows on MySQL that come late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pymysql
import pytest
import sqlalchemy as sa

from server.actor import Actor, ActorKind
from server.clock import HeldClock
from server.config import Settings
from server.context import Context
from server.engines.schema import metadata
from server.engines.sql import SqlDoor, open_sql
from server.platform import audit, audit_chain
from server.platform.audit_reading import AuditQuery, export_rows, list_rows
from server.platform.audit_verifying import verify
from server.platform.tables import audit_log, tasks
from tests.contract.waiting import until
from tests.peers.mariadb import MariaDb

ACTOR = Actor(kind=ActorKind.PERSON, name="王芳 ", user_id=7, address="::1")
READER = Actor(kind=ActorKind.PERSON, name="auditor", user_id=8, address="::2")


def context(sql: SqlDoor, clock: HeldClock) -> Context:
    settings = Settings(data_dir="unused")
    return cast("Context", SimpleNamespace(sql=sql, clock=clock, settings=settings))


def adding(clock: HeldClock, target: str) -> Callable[[sa.Connection], None]:
    now = clock.now()
    return lambda connection: audit.note(
        connection, now, ACTOR, "thing.make", target, name="手册😀", ratio=1.5e-7, many=[1, None, {"b": 1, "a": 2}]
    )


@pytest.mark.gen_test(timeout=60)
async def test_reading(sql: SqlDoor, clock: HeldClock) -> None:
    await sql.write(lambda connection: metadata.create_all(connection, tables=[audit_log, tasks]))
    ctx = context(sql, clock)
    await sql.write(adding(clock, "thing:1"))

    async def total(**filters: Any) -> int:
        found = await list_rows(ctx, READER, AuditQuery(**filters))
        pieces = [piece async for piece in export_rows(ctx, READER, AuditQuery(**filters))]
        assert len(b"".join(pieces).splitlines()) - 1 == found.total, "an export has what the list has"
        return found.total

    for filters in [
        {"action": "thing."},
        {"action": "thing", "actor": "王芳 "},
        {"user_id": 7, "action": "thing"},
        {"target": "thing:1"},
        {"address": "::1"},
        {"q": "手册😀", "action": "thing"},
        {"q": "THING:1", "action": "thing"},
        {"from_": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:01Z", "action": "thing"},
    ]:
        assert await total(**filters) == 1, filters
    for filters in [
        {"action": "事"},
        {"action": "THING"},
        {"address": "地址"},
        {"actor": "王"},
        {"target": "THING:1"},
        {"q": "没有😀", "action": "thing"},
        {"q": "%", "action": "thing"},
        {"to": "2026-01-01T00:00:00Z"},
    ]:
        assert await total(**filters) == 0, filters


@pytest.mark.gen_test(timeout=90)
async def test_several_seal_at_once_while_others_write(sql: SqlDoor, sql_settings: Settings, clock: HeldClock) -> None:
    await sql.write(lambda connection: metadata.create_all(connection, tables=[audit_log, tasks]))
    ctx = context(sql, clock)
    other = await open_sql(sql_settings)  # another instance
    try:
        for turn in range(4):
            await asyncio.gather(*(door.write(adding(clock, f"thing:{turn}.{number}")) for number in range(40) for door in (sql, other)))
            clock.advance(seconds=6)
            sealings = [
                door.write(lambda connection: audit_chain.seal(connection, clock.now(), 30)) for door in (sql, other) for _ in range(6)
            ]
            writings = [door.write(adding(clock, "new")) for door in (sql, other) for _ in range(10)]
            await asyncio.gather(*sealings, *writings)
            verdict = await verify(ctx)
            assert (verdict.state, verdict.first_broken) == ("whole", None)
    finally:
        await other.close()
    clock.advance(seconds=6)
    await verify(ctx)
    verdict = await verify(ctx)
    assert (verdict.state, verdict.checked, verdict.waiting) == ("whole", 4 * (80 + 20), 0)


@pytest.mark.gen_test(timeout=60)
async def test_sweeping_twice_at_once_keeps_the_chain(sql: SqlDoor, sql_settings: Settings, clock: HeldClock) -> None:
    await sql.write(lambda connection: metadata.create_all(connection, tables=[audit_log, tasks]))
    ctx = context(sql, clock)
    for number in range(50):
        await sql.write(adding(clock, f"thing:{number}"))
    clock.advance(seconds=6)
    await audit_chain.seal_all(ctx)
    now = clock.now()
    other = await open_sql(sql_settings)
    try:
        sweeps = [door.write(lambda connection: audit_chain.sweep(connection, now, now, 20)) for door in (sql, other) for _ in range(2)]
        assert sum(await asyncio.gather(*sweeps)) == 50
    finally:
        await other.close()
    clock.advance(seconds=6)
    await verify(ctx)
    verdict = await verify(ctx)
    assert (verdict.state, verdict.checked, verdict.waiting) == ("whole", 3, 0)


@pytest.mark.gen_test(timeout=60)
async def test_sealing_waits_for_a_row_that_is_not_committed_yet(mariadb: MariaDb, mariadb_settings: Settings, clock: HeldClock) -> None:
    """Its number is smaller, it comes later: sealed without it, the log would look as if somebody had put it in between."""
    sql = await open_sql(mariadb_settings)
    try:
        await sql.write(lambda connection: metadata.create_all(connection, tables=[audit_log, tasks]))
        await sql.write(adding(clock, "first"))
        late = await asyncio.to_thread(_written_but_not_committed, mariadb, mariadb_settings.mysql_db)
        try:
            await sql.write(adding(clock, "third"))
            clock.advance(seconds=6)
            sealing = asyncio.ensure_future(sql.write(lambda connection: audit_chain.seal(connection, clock.now())))
            waits = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"

            async def is_waiting() -> bool:
                return sealing.done() or (await asyncio.to_thread(mariadb.run, waits))[0][0] > 0

            await until(is_waiting)
            assert not sealing.done()
            await asyncio.to_thread(late.commit)
        finally:
            await asyncio.to_thread(late.close)
        assert (await sealing).sealed == 3
        verdict = await verify(context(sql, clock))
        assert (verdict.state, verdict.checked) == ("whole", 3)
    finally:
        await sql.close()


def _written_but_not_committed(mariadb: MariaDb, database: str) -> Any:
    connection = pymysql.connect(host="127.0.0.1", port=mariadb.port, user="root", database=database, autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_log (at, actor, action, target, address, request_id, detail)"
            " VALUES ('2026-01-01 00:00:00', 'late', 'thing.make', 'second', '', '', '{}')"
        )
    return connection
