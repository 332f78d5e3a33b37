"""The whole way of a sync on MariaDB: planned, applied, undone, asked about; as on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import server.engines.sql_mysql  # noqa: F401, the driver is imported here, off the loop, as it takes long
from server import migrating
from server.config import Settings
from server.context import Context
from server.people import retention
from server.people.hr import changes, runs, syncing, undoing
from server.people.hr.run_schemas import ChangeQuery, Decision, HrRun, RunQuery, SyncRequest
from server.people.hr.source_schemas import SourceBody
from server.people.hr.sources import create_source
from server.people.hr.tables import hr_changes, hr_rows, hr_runs
from server.people.tables import organization_closure, users
from server.scopes import system_actor
from tests.api.hr.syncs import quiet, stored
from tests.embedded import settings_in
from tests.peers.fixtures import mariadb
from tests.peers.hr_server import HrPeer, department, person
from tests.peers.mariadb import MariaDb

__all__ = ["mariadb"]

ACTOR = system_actor("test")


@pytest.fixture
def settings(mariadb: MariaDb, tmp_path: Path) -> Iterator[Settings]:
    for url in ("mysql+aiomysql://", "mysql+pymysql://"):
        sa.make_url(url).get_dialect().import_dbapi()
    with mariadb.database() as database:
        migrating.migrate(settings_in(tmp_path / "migrating", **database))
        yield settings_in(tmp_path / "data", **database)


async def sync(ctx: Context, source_id: int) -> HrRun:
    return await done(ctx, (await runs.start(ctx, ACTOR, SyncRequest(source=source_id))).id)


async def done(ctx: Context, run_id: str) -> HrRun:
    await syncing.carry_out(ctx, run_id, quiet, last_try=False)
    return await runs.get_run(ctx, ACTOR, run_id)


async def count(ctx: Context, table: sa.Table) -> int:
    wanted = sa.select(sa.func.count()).select_from(table)
    return await ctx.sql.read(lambda connection: connection.execute(wanted).scalar_one())


async def rules(ctx: Context, run: HrRun, **asked: Any) -> dict[str, str]:
    page = await changes.list_changes(ctx, ACTOR, run.id, ChangeQuery(page_size=200, **asked))
    return {one.key: one.rule for one in page.items}


@pytest.mark.gen_test(timeout=120)
async def test_planned_applied_undone_and_swept(ctx: Context, hr: HrPeer) -> None:
    hr.persons = [person(number, department_code=f"D{number % 3:03}") for number in range(230)]
    body = SourceBody(name="人事", kind="rest", url=hr.url, departments_url=hr.departments_url)
    source = await create_source(ctx, ACTOR, body)
    first = await sync(ctx, source.id)
    assert (first.state, first.counts["create"], first.applied) == ("succeeded", 230, 233)
    before = await stored(ctx)
    hr.persons[0] |= {"name": "改名"}
    hr.persons[1] |= {"department_code": "D002"}
    del hr.persons[2]
    hr.departments[2] = department(2, parent_code="D001", name="移动")
    second = await sync(ctx, source.id)
    assert await rules(ctx, second) == {"E000000": "changed", "E000001": "moved", "E000002": "not_in_snapshot", "D002": "department_moved"}
    assert (second.state, second.counts["unchanged"]) == ("succeeded", 227)
    undo = await done(ctx, (await undoing.undo(ctx, ACTOR, second.id)).id)
    assert (undo.state, undo.applied) == ("succeeded", 4)
    after = await stored(ctx)
    assert {key: (row.state, row.hash, row.row) for key, row in after.items()} == {
        key: (row.state, row.hash, row.row) for key, row in before.items()
    }
    assert await count(ctx, organization_closure) == 1 + 2 + 2 * 3
    assert (await sync(ctx, source.id)).state == "awaiting_approval"
    assert (await runs.list_runs(ctx, ACTOR, RunQuery(q="人事"))).total == 4
    now = ctx.clock.now()
    assert await ctx.sql.write(lambda connection: retention.sweep_hr_rows(connection, 1000)) == 0
    assert await ctx.sql.write(lambda connection: retention.sweep_hr_changes(connection, now, now, 1000)) == 233 + 4 + 4
    assert await ctx.sql.write(lambda connection: retention.sweep_hr_runs(connection, now, 1000)) == 3
    left = [await count(ctx, table) for table in (hr_runs, hr_changes, hr_rows)]
    assert left == [1, 4, 0], "a plan that waits stays"


@pytest.mark.gen_test(timeout=120)
async def test_a_newcomer_is_adopted_or_asked_about(ctx: Context, hr: HrPeer) -> None:
    now = ctx.clock.now()
    row = {"kind": "person", "organization_id": 1, "created_at": now, "updated_at": now}

    def add(connection: sa.Connection) -> list[int]:
        made = []
        for name, state in (("one", "active"), ("two", "disabled")):
            mail = f"{name}@x.cn"
            values = {**row, "username": name, "username_key": name, "name": name, "state": state, "email": mail, "email_key": mail}
            key = connection.execute(users.insert().values(values)).inserted_primary_key
            assert key is not None
            made.append(int(key[0]))
        return made

    one, two = await ctx.sql.write(add)
    hr.persons[0] |= {"email": "ONE@x.cn"}
    hr.persons[1] |= {"email": "two@x.cn"}
    source = await create_source(ctx, ACTOR, SourceBody(name="人事", kind="rest", url=hr.url))
    run = await sync(ctx, source.id)
    assert (await stored(ctx))["E000000"].adopted_user_id == one
    [asked] = (await changes.list_changes(ctx, ACTOR, run.id, ChangeQuery(state="needs_person"))).items  # type: ignore[arg-type]
    assert (asked.key, asked.rule, asked.candidates) == ("E000001", "account_disabled", [two])
    decided = await changes.decide(ctx, ACTOR, asked.id, Decision(user_id=two))
    assert (decided.state, (await stored(ctx))["E000001"].adopted_user_id) == ("applied", two)
