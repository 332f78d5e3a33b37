"""Undoing a run: what it did is turned round, but for what has changed since, and is not done again without a word."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.context import Context
from server.people.tables import organizations
from tests.api.client import Api
from tests.api.hr.syncs import Run, carried_out, changes, source, stored, sync
from tests.api.people import user
from tests.peers.hr_server import HrPeer, department


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(datetime(2026, 3, 2, 4, tzinfo=UTC))


async def undone(api: Api, ctx: Context, run: Run) -> Run:
    asked = await api.post(f"/api/hr/runs/{run['id']}/undo")
    assert asked.status == 202, asked
    return await carried_out(api, ctx, asked.result["id"])


@pytest.mark.gen_test(timeout=60)
async def test_a_run_is_undone_and_not_done_again_without_a_word(api: Api, anonymous: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr)
    await sync(api, ctx, made["id"])
    before = await stored(ctx)
    names = await ctx.sql.read(lambda c: {row.code: (row.name, row.parent_id) for row in c.execute(sa.select(organizations)).all()})
    hr.persons[0] |= {"name": "错", "department_code": "D002"}
    hr.persons[1] |= {"email": "wrong@example.edu.cn"}
    del hr.persons[2]
    hr.departments[1] = department(1, name="错")
    hr.departments[2] = department(2, parent_code="D001")
    run = await sync(api, ctx, made["id"])
    undo = await undone(api, ctx, run)
    assert (undo["kind"], undo["undo_of"], undo["state"], undo["applied"]) == ("undo", run["id"], "succeeded", 5)
    after = await stored(ctx)
    assert {key: (row.state, row.hash, row.row, row.department_code) for key, row in after.items()} == {
        key: (row.state, row.hash, row.row, row.department_code) for key, row in before.items()
    }
    assert {row.revision for key, row in after.items() if key in ("E000000", "E000001", "E000002")} == {3}
    now = await ctx.sql.read(lambda c: {row.code: (row.name, row.parent_id) for row in c.execute(sa.select(organizations)).all()})
    assert now == names
    assert (await api.post(f"/api/hr/runs/{run['id']}/undo")).type == "hr_undone"
    again = await sync(api, ctx, made["id"])
    assert again["state"] == "awaiting_approval"
    assert [(one["kind"], one["count"]) for one in again["exceeded"]] == [("undone", 5)]
    second = await user(ctx, anonymous, "second", "administrator")
    await second.post(f"/api/hr/runs/{again['id']}/approve", {"comment": "right after all"})
    assert (await carried_out(api, ctx, again["id"]))["state"] == "succeeded"
    assert (await stored(ctx))["E000002"].state == "gone"


@pytest.mark.gen_test(timeout=60)
async def test_an_undo_leaves_alone_what_changed_since(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr)
    await sync(api, ctx, made["id"])
    hr.persons[0] |= {"name": "一"}
    hr.persons[1] |= {"name": "二"}
    run = await sync(api, ctx, made["id"])
    hr.persons[1] |= {"name": "三"}
    await sync(api, ctx, made["id"])
    undo = await undone(api, ctx, run)
    assert {one["key"]: (one["state"], one["strange"]) for one in await changes(api, undo)} == {
        "E000000": ("applied", []),
        "E000001": ("skipped", ["stale"]),
    }
    assert [(await stored(ctx))[key].name for key in ("E000000", "E000001")] == ["教师0", "三"]


@pytest.mark.gen_test(timeout=60)
async def test_an_undo_of_many_waits_as_any_plan(api: Api, anonymous: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr)
    run = await sync(api, ctx, made["id"])
    undo = await undone(api, ctx, run)
    assert (undo["state"], undo["counts"]["disable"]) == ("awaiting_approval", 12)
    assert (await api.post(f"/api/hr/runs/{undo['id']}/approve", {})).type == "hr_own_plan"
    second = await user(ctx, anonymous, "second", "administrator")
    await second.post(f"/api/hr/runs/{undo['id']}/approve", {})
    assert (await carried_out(api, ctx, undo["id"]))["state"] == "succeeded"
    assert {row.state for row in (await stored(ctx)).values()} == {"gone"}
    # The undo of an undo does it again.
    redo = await undone(api, ctx, undo)
    assert (redo["counts"]["revive"], redo["departments"]["revive"]) == (12, 3)


@pytest.mark.gen_test(timeout=60)
async def test_only_what_was_applied_can_be_undone(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr)
    run = await sync(api, ctx, made["id"], dry_run=True)
    assert (await api.post(f"/api/hr/runs/{run['id']}/undo")).type == "hr_run_state"
    assert (await api.post(f"/api/hr/runs/{32 * 'a'}/undo")).type == "hr_run_not_found"
