"""Audits on MariaDB: decisions that meet, returns, delegations and replays; as on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tornado.ioloop import IOLoop

import server.engines.sql_mysql  # noqa: F401, the driver is imported here, off the loop, as it takes long
from server import migrating
from server.config import Settings
from server.context import Context
from server.people.setup import create_admin
from server.scopes import system_actor
from tests.api.client import Api
from tests.api.projects import test_audit_chains as of_chains
from tests.api.projects import test_audits as of_audits
from tests.api.projects import test_delegations as of_delegations
from tests.api.projects.conftest import School
from tests.api.projects.test_delegations import chained
from tests.embedded import ADMIN_PASSWORD, settings_in
from tests.peers.fixtures import mariadb
from tests.peers.mariadb import MariaDb

__all__ = ["chained", "mariadb"]


@pytest.fixture
def settings(mariadb: MariaDb, tmp_path: Path) -> Iterator[Settings]:
    for url in ("mysql+aiomysql://", "mysql+pymysql://"):
        sa.make_url(url).get_dialect().import_dbapi()
    with mariadb.database() as database:
        migrating.migrate(settings_in(tmp_path / "migrating", **database))
        yield settings_in(tmp_path / "data", **database)


@pytest.fixture
def api(ctx: Context, anonymous: Api, io_loop: IOLoop) -> Api:
    """`admin`, signed in; this database has none yet."""

    async def sign_in() -> Api:
        await create_admin(ctx, system_actor("test"), "admin", ADMIN_PASSWORD)
        answer = await anonymous.post("/api/auth/login", {"username": "admin", "password": ADMIN_PASSWORD})
        return anonymous.as_caller(answer.result["access_token"])

    made: Api = io_loop.run_sync(sign_in, timeout=30)
    return made


@pytest.mark.gen_test(timeout=120)
async def test_of_two_decisions_at_once_one_counts(api: Api, school: School, ctx: Context) -> None:
    await of_audits.test_of_two_decisions_at_once_one_counts(school, api, ctx)
    assert ctx.sql.dialect == "mysql"


@pytest.mark.gen_test(timeout=120)
async def test_all_who_approve_at_once_end_the_step_together(api: Api, school: School, ctx: Context) -> None:
    await of_audits.test_all_who_approve_at_once_end_the_step_together(school, api)
    assert ctx.sql.dialect == "mysql"


@pytest.mark.gen_test(timeout=120)
async def test_a_return_to_an_earlier_step_goes_on_from_there(api: Api, school: School, ctx: Context) -> None:
    await of_audits.test_a_return_to_an_earlier_step_goes_on_from_there(school, api)
    assert ctx.sql.dialect == "mysql"


@pytest.mark.gen_test(timeout=120)
async def test_the_queue_is_oldest_first_and_narrowed(api: Api, school: School, ctx: Context) -> None:
    await of_audits.test_the_queue_is_oldest_first_and_narrowed(school, api, ctx)
    assert ctx.sql.dialect == "mysql"


@pytest.mark.gen_test(timeout=120)
async def test_a_delegate_decides_within_its_times(api: Api, chained: School, ctx: Context) -> None:
    await of_delegations.test_it_begins_and_ends_at_its_times(chained, ctx)
    assert ctx.sql.dialect == "mysql"


@pytest.mark.gen_test(timeout=120)
async def test_a_replay_tells_what_could_not_have_ended(api: Api, school: School, ctx: Context) -> None:
    await of_chains.test_a_replay_tells_who_would_have_been_asked_and_what_could_not_have_ended(school, api)
    assert ctx.sql.dialect == "mysql"


@pytest.mark.gen_test(timeout=120)
async def test_of_two_drafts_and_two_publications_at_once_one_holds(api: Api, school: School, ctx: Context) -> None:
    await of_chains.test_of_two_drafts_and_two_publications_at_once_one_holds(school, ctx)
    assert ctx.sql.dialect == "mysql"
