"""Runs of HR sync: planned by rules, held back by thresholds, applied once, aborted at any doubt."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.context import Context
from server.people.hr import syncing
from server.people.hr.tables import hr_changes, hr_persons, hr_rows, hr_runs
from server.people.tables import organizations
from server.platform.tables import tasks
from tests.api.client import Api
from tests.api.hr.syncs import changes, fresh, persons, quiet, source, stored, sync
from tests.peers.hr_server import HrPeer, department, held, html, person


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(datetime(2026, 3, 2, 4, tzinfo=UTC))


@pytest.mark.gen_test(timeout=60)
async def test_a_dry_run_plans_and_writes_nothing_else(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr)
    run = await sync(api, ctx, made["name"], dry_run=True)
    assert (run["state"], run["dry_run"], run["exceeded"], run["error"]) == ("planned", True, [], None)
    assert run["counts"] == {"create": 12, "update": 0, "disable": 0, "revive": 0, "move": 0, "unchanged": 0, "ambiguous": 0}
    assert run["departments"]["create"] == 3
    assert (run["snapshot"]["persons"], run["snapshot"]["departments"]) == (12, 3)
    assert await persons(api) == {}
    assert await ctx.sql.read(lambda connection: connection.execute(sa.select(hr_rows)).all()) == []
    listed = await changes(api, run, "&what=person&q=E000003")
    assert [(one["kind"], one["state"], one["rule"], one["name"]) for one in listed] == [("create", "pending", "new", "教师3")]
    assert {field["field"]: field["after"] for field in listed[0]["fields"]}["email"] == "e000003@example.edu.cn"


@pytest.mark.gen_test(timeout=60)
async def test_a_first_sync_makes_people_and_organizations_and_a_second_changes_nothing(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr)
    run = await sync(api, ctx, made["id"])
    assert (run["state"], run["progress"], run["applied"], run["counts"]["create"]) == ("succeeded", 100, 15, 12)
    assert len(await persons(api)) == 12
    some = (await persons(api))["E000004"]
    assert (some["state"], some["department"], some["title"]) == ("active", "部门1", "副教授")
    place = (await api.get(f"/api/organizations/{some['organization_id']}")).result
    assert (place["name"], place["code"], place["kind"], place["depth"]) == ("部门1", f"hr{made['id']}-D001", "department", 2)
    waiting = sa.select(tasks.c.kind, tasks.c.payload).where(tasks.c.kind == "accounts.derive")
    assert [tuple(row) for row in await ctx.sql.read(lambda c: c.execute(waiting).all())] == [
        ("accounts.derive", {"source_id": made["id"]})
    ]
    again = await sync(api, ctx, made["id"])
    assert (again["state"], again["applied"], again["counts"]["unchanged"]) == ("succeeded", 0, 12)
    assert await changes(api, again) == []
    one = (await api.get(f"/api/hr/persons/{some['id']}")).result
    assert (one["row"]["phone"], one["run_id"], len(one["changes"])) == ("13800000004", run["id"], 1)
    assert one["changes"][0]["why"] != "new"


@pytest.mark.gen_test(timeout=60)
async def test_each_rule_in_one_plan(api: Api, ctx: Context, hr: HrPeer, clock: HeldClock) -> None:
    hr.persons[7] |= {"end_date": "2026-03-10"}
    hr.persons[8] |= {"start_date": "2026-03-10"}
    made = await source(api, hr)
    await sync(api, ctx, made["id"])
    before = await stored(ctx)
    assert (before["E000008"].state, before["E000008"].revision) == ("later", 1)
    hr.persons[0] |= {"name": "改名"}
    hr.persons[1] |= {"department_code": "D002"}
    hr.persons[2] |= {"status": "left"}
    del hr.persons[3]
    hr.departments[1] = department(1, name="新名")
    hr.departments[2] = department(2, parent_code="D001")
    clock.advance(days=9)
    api = await fresh(api)
    run = await sync(api, ctx, made["id"])
    assert run["state"] == "succeeded", run
    assert {one["key"]: (one["kind"], one["rule"]) for one in await changes(api, run)} == {
        "E000000": ("update", "changed"),
        "E000001": ("move", "moved"),
        "E000002": ("disable", "left_status"),
        "E000003": ("disable", "not_in_snapshot"),
        "E000007": ("disable", "end_date_passed"),
        "E000008": ("update", "started"),
        "D001": ("update", "department_renamed"),
        "D002": ("move", "department_moved"),
    }
    assert run["counts"] == {"create": 0, "update": 2, "disable": 3, "revive": 0, "move": 1, "unchanged": 6, "ambiguous": 0}
    after = await stored(ctx)
    assert {key: row.state for key, row in after.items() if row.state != "active"} == {
        "E000002": "left",
        "E000003": "gone",
        "E000007": "left",
    }
    assert {key for key, row in after.items() if row.revision == 2} == {f"E{number:06}" for number in (0, 1, 2, 3, 7, 8)}
    names = await ctx.sql.read(lambda c: {row.code: row for row in c.execute(sa.select(organizations)).all()})
    one, two = names[f"hr{made['id']}-D001"], names[f"hr{made['id']}-D002"]
    assert (one.name, two.parent_id) == ("新名", one.id)
    hr.persons.append(person(3, department_code="D000"))
    run = await sync(api, ctx, made["id"])
    assert [(one["key"], one["kind"], one["rule"]) for one in await changes(api, run)] == [("E000003", "revive", "reappeared")]
    assert (await stored(ctx))["E000003"].id == before["E000003"].id, "who comes back is the same person"


@pytest.mark.gen_test(timeout=60)
async def test_a_department_that_is_gone_keeps_its_organization(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr)
    await sync(api, ctx, made["id"])
    del hr.departments[2]
    hr.persons = [{**one, "department_code": "D001" if one["department_code"] == "D002" else one["department_code"]} for one in hr.persons]
    run = await sync(api, ctx, made["id"])
    assert run["departments"]["disable"] == 1
    code = f"hr{made['id']}-D002"
    found = await ctx.sql.read(lambda c: c.execute(sa.select(organizations.c.id).where(organizations.c.code == code)).scalar())
    assert found is not None
    hr.departments.append(department(2, name="又来"))
    run = await sync(api, ctx, made["id"])
    assert [one["rule"] for one in await changes(api, run, "&what=department")] == ["department_back"]
    row = await ctx.sql.read(lambda c: c.execute(sa.select(organizations).where(organizations.c.code == code)).one())
    assert (row.id, row.name) == (found, "又来")


@pytest.mark.gen_test(timeout=60)
async def test_a_source_without_departments_marks_none_as_gone(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr, departments_url="")
    run = await sync(api, ctx, made["id"])
    assert (run["state"], run["counts"]["create"], sum(run["departments"].values())) == ("succeeded", 12, 0)
    assert (await persons(api))["E000004"]["organization_id"] is None


@pytest.mark.gen_test(timeout=60)
async def test_a_snapshot_in_doubt_aborts_the_run_and_touches_nothing(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr)
    await sync(api, ctx, made["id"])
    before = await stored(ctx)
    hr.mischief.extend([html] * 10)
    run = await sync(api, ctx, made["id"])
    assert (run["state"], run["error"]["type"]) == ("aborted", "hr_source_not_json")
    english = (await api.get(f"/api/hr/runs/{run['id']}", headers={"Accept-Language": "en"})).result
    assert english["error"]["message"] != run["error"]["message"]
    assert await stored(ctx) == before
    assert await ctx.sql.read(lambda connection: connection.execute(sa.select(hr_rows)).all()) == []
    hr.mischief.clear()
    assert (await sync(api, ctx, made["id"]))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_a_source_that_hangs_aborts_the_run(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr, timeout_s=0.2, total_timeout_s=1)
    never = asyncio.Event()
    hr.mischief.extend([held(never)] * 20)
    run = await sync(api, ctx, made["id"])
    never.set()
    assert (run["state"], run["error"]["type"]) == ("aborted", "hr_source_away")
    hr.mischief.clear()
    assert (await sync(api, ctx, made["id"]))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_one_run_at_a_time_and_a_lost_one_is_not_waited_for(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr)
    first = (await api.post("/api/hr/sync", {"source": made["id"]})).result
    assert first["state"] == "reading"
    refused = await api.post("/api/hr/sync", {"source": made["id"]}, headers={"Accept-Language": "en"})
    assert (refused.status, refused.type) == (409, "hr_busy")
    assert first["id"] in refused.envelope["message"]
    await ctx.sql.write(lambda c: c.execute(tasks.update().where(tasks.c.id == first["task_id"]).values(state="cancelled")))
    assert (await sync(api, ctx, made["id"]))["state"] == "succeeded"
    ended = (await api.get(f"/api/hr/runs/{first['id']}")).result
    assert (ended["state"], ended["error"]["type"]) == ("aborted", "hr_run_lost")


@pytest.mark.gen_test(timeout=60)
async def test_bad_requests(api: Api, hr: HrPeer) -> None:
    made = await source(api, hr, enabled=False)
    assert (await api.post("/api/hr/sync", {"source": "nobody"})).type == "hr_source_not_found"
    assert (await api.post("/api/hr/sync", {"source": made["id"]})).type == "hr_source_off"
    assert (await api.post("/api/hr/sync", {"source": made["id"], "dry": True})).status == 422
    assert (await api.get(f"/api/hr/runs/{32 * '0'}")).type == "hr_run_not_found"
    assert (await api.get(f"/api/hr/runs/{32 * '0'}/changes")).type == "hr_run_not_found"
    assert (await api.get("/api/hr/persons/99")).type == "hr_person_not_found"
    assert (await api.post("/api/hr/changes/99/decide", {"skip": True})).type == "hr_change_not_found"
    assert (await api.get("/api/hr/runs?sort=nothing")).fields == ["sort"]


@pytest.mark.gen_test(timeout=60)
async def test_an_apply_that_is_broken_off_goes_on_and_does_nothing_twice(
    api: Api, ctx: Context, hr: HrPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hr.persons = [person(number, department_code="D000") for number in range(250)]
    made = await source(api, hr)
    run = (await api.post("/api/hr/sync", {"source": made["id"]})).result

    async def die(_percent: int, _message: str) -> None:
        if (await get_run(ctx, run["id"])).progress >= 100:
            raise ConnectionAbortedError("the process was killed here")

    with pytest.raises(ConnectionAbortedError):
        await syncing.carry_out(ctx, run["id"], die, last_try=False)
    half = await get_run(ctx, run["id"])
    assert half.state == "applying"
    assert 100 <= half.progress < 253
    await syncing.carry_out(ctx, run["id"], quiet, last_try=False)
    done = await get_run(ctx, run["id"])
    assert (done.state, done.progress) == ("succeeded", 253)
    assert {row.revision for row in (await stored(ctx)).values()} == {1}
    assert len(await stored(ctx)) == 250
    left = sa.select(sa.func.count()).select_from(hr_changes).where(hr_changes.c.state != "applied")
    assert await ctx.sql.read(lambda connection: connection.execute(left).scalar_one()) == 0


async def get_run(ctx: Context, run_id: str) -> Any:
    return await ctx.sql.read(lambda connection: connection.execute(sa.select(hr_runs).where(hr_runs.c.id == run_id)).one())


@pytest.mark.gen_test(timeout=60)
async def test_who_was_changed_since_the_plan_is_skipped(api: Api, ctx: Context, hr: HrPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await source(api, hr)
    await sync(api, ctx, made["id"])
    hr.persons[0] |= {"name": "甲"}
    hr.persons[1] |= {"name": "乙"}
    settle = syncing.settle

    def meddle(connection: sa.Connection, *rest: Any) -> Any:
        connection.execute(hr_persons.update().where(hr_persons.c.employee_no == "E000001").values(hash=64 * "0"))
        return settle(connection, *rest)

    monkeypatch.setattr(syncing, "settle", meddle)
    run = await sync(api, ctx, made["id"])
    states = {one["key"]: (one["state"], one["strange"]) for one in await changes(api, run)}
    assert states == {"E000000": ("applied", []), "E000001": ("skipped", ["stale"])}
