"""Plans above a threshold: they wait for somebody else's word, in whole or in part, and are never guessed about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from server.clock import HeldClock
from server.context import Context
from server.people.hr import runs
from server.people.hr.run_schemas import HrRun
from server.scopes import system_actor
from tests.api.client import Api
from tests.api.hr.syncs import carried_out, changes, fresh, persons, quiet, source, stored, sync
from tests.api.people import user
from tests.peers.hr_server import HrPeer, person

SCHEDULE = system_actor("schedule")


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(datetime(2026, 3, 2, 4, tzinfo=UTC))


async def twenty(api: Api, ctx: Context, hr: HrPeer, **more: Any) -> dict[str, Any]:
    """A source of twenty people that has been synced."""
    hr.persons = [person(number, department_code="D001") for number in range(20)]
    made = await source(api, hr, **more)
    assert (await sync(api, ctx, made["id"]))["state"] == "succeeded"
    return made


async def by_schedule(api: Api, ctx: Context) -> dict[str, Any]:
    started = await runs.start_all(ctx, SCHEDULE)
    return await carried_out(api, ctx, started["started"][0])


@pytest.mark.gen_test(timeout=60)
async def test_a_sharp_drop_waits_and_is_approved_by_somebody_else(api: Api, anonymous: Api, ctx: Context, hr: HrPeer) -> None:
    made = await twenty(api, ctx, hr)
    del hr.persons[10:]
    run = await sync(api, ctx, made["id"])
    assert (run["state"], run["counts"]["disable"]) == ("awaiting_approval", 10)
    assert run["exceeded"] == [{"kind": "disable", "count": 10, "percent": 50.0, "limit_count": 50, "limit_percent": 10.0}]
    assert {row.state for row in (await stored(ctx)).values()} == {"active"}
    own = await api.post(f"/api/hr/runs/{run['id']}/approve", {"comment": "fine"})
    assert (own.status, own.type) == (403, "hr_own_plan")
    auditor = await user(ctx, anonymous, "auditor", "auditor")
    assert (await auditor.post(f"/api/hr/runs/{run['id']}/approve", {})).status == 403
    second = await user(ctx, anonymous, "second", "administrator")
    told = (await second.get("/api/notifications")).result
    assert told["total"] in (0, 1)
    approved = (await second.post(f"/api/hr/runs/{run['id']}/approve", {"comment": "暑假"})).result
    assert (approved["state"], approved["approved_name"], approved["comment"]) == ("applying", "second", "暑假")
    assert (await second.post(f"/api/hr/runs/{run['id']}/approve", {})).type == "hr_run_state"
    done = await carried_out(api, ctx, run["id"])
    assert (done["state"], done["applied"]) == ("succeeded", 10)
    assert len(await persons(api, "&state=gone")) == 10


@pytest.mark.gen_test(timeout=60)
async def test_a_part_is_approved(api: Api, anonymous: Api, ctx: Context, hr: HrPeer) -> None:
    made = await twenty(api, ctx, hr)
    del hr.persons[10:]
    hr.persons.append(person(77, department_code="D001"))
    run = await sync(api, ctx, made["id"])
    second = await user(ctx, anonymous, "second", "administrator")
    assert (await second.post(f"/api/hr/runs/{run['id']}/approve", {"kinds": ["nothing"]})).status == 422
    await second.post(f"/api/hr/runs/{run['id']}/approve", {"kinds": ["create", "update"]})
    done = await carried_out(api, ctx, run["id"])
    assert (done["state"], done["applied"]) == ("succeeded", 1)
    assert (await persons(api))["E000077"]["state"] == "active"
    assert {(one["state"], *one["strange"]) for one in await changes(api, run, "&kind=disable")} == {("skipped", "not_approved")}
    assert (await sync(api, ctx, made["id"]))["state"] == "awaiting_approval", "what was not approved is asked for again"


@pytest.mark.gen_test(timeout=60)
async def test_a_plan_that_waits_is_replaced_only_by_another_snapshot(api: Api, ctx: Context, hr: HrPeer, clock: HeldClock) -> None:
    await twenty(api, ctx, hr)
    everybody = list(hr.persons)
    del hr.persons[10:]
    waiting = await by_schedule(api, ctx)
    assert waiting["state"] == "awaiting_approval"
    clock.advance(minutes=5)
    same = await by_schedule(api, ctx)
    assert (same["state"], same["error"]["type"]) == ("aborted", "hr_plan_waits")
    assert (await api.get(f"/api/hr/runs/{waiting['id']}")).result["state"] == "awaiting_approval"
    clock.advance(minutes=5)
    hr.persons = everybody
    repaired = await by_schedule(api, ctx)
    assert (repaired["state"], repaired["applied"]) == ("succeeded", 0)
    old = (await api.get(f"/api/hr/runs/{waiting['id']}")).result
    assert (old["state"], old["error"]["type"]) == ("aborted", "hr_plan_superseded")


@pytest.mark.gen_test(timeout=60)
async def test_a_rejected_plan_comes_back_only_when_a_person_asks(api: Api, ctx: Context, hr: HrPeer, clock: HeldClock) -> None:
    made = await twenty(api, ctx, hr)
    del hr.persons[10:]
    waiting = await by_schedule(api, ctx)
    rejected = (await api.post(f"/api/hr/runs/{waiting['id']}/reject", {"comment": "不对"})).result
    assert (rejected["state"], rejected["error"]["type"]) == ("aborted", "hr_run_rejected")
    assert "不对" in rejected["error"]["message"]
    assert (await api.post(f"/api/hr/runs/{waiting['id']}/reject", {})).type == "hr_run_state"
    clock.advance(minutes=5)
    assert (await by_schedule(api, ctx))["error"]["type"] == "hr_plan_waits"
    clock.advance(minutes=5)
    assert (await sync(api, ctx, made["id"]))["state"] == "awaiting_approval"


@pytest.mark.gen_test(timeout=60)
async def test_whoever_changed_the_thresholds_does_not_approve_the_schedule(api: Api, ctx: Context, hr: HrPeer, clock: HeldClock) -> None:
    made = await twenty(api, ctx, hr)
    await api.patch(f"/api/hr/sources/{made['id']}", {"thresholds": {"disable": {"count": 0}}})
    del hr.persons[19]
    run = await by_schedule(api, ctx)
    assert run["state"] == "awaiting_approval"
    refused = await api.post(f"/api/hr/runs/{run['id']}/approve", {})
    assert (refused.status, refused.type) == (403, "hr_own_thresholds")
    clock.advance(hours=25)
    again = await fresh(api)
    assert (await again.post(f"/api/hr/runs/{run['id']}/approve", {})).result["state"] == "applying"


@pytest.mark.gen_test(timeout=60)
async def test_a_sync_under_way_is_overtaken_by_an_approval(api: Api, anonymous: Api, ctx: Context, hr: HrPeer) -> None:
    made = await twenty(api, ctx, hr)
    del hr.persons[10:]
    waiting = await sync(api, ctx, made["id"])
    newer = (await api.post("/api/hr/sync", {"source": made["id"]})).result
    second = await user(ctx, anonymous, "second", "administrator")
    await second.post(f"/api/hr/runs/{waiting['id']}/approve", {})
    late = await carried_out(api, ctx, newer["id"])
    assert (late["state"], late["error"]["type"]) == ("aborted", "hr_run_overtaken")
    busy = await api.post("/api/hr/sync", {"source": made["id"]})
    assert busy.type == "hr_busy"
    assert (await carried_out(api, ctx, waiting["id"]))["state"] == "succeeded"


@pytest.mark.gen_test(timeout=60)
async def test_two_approvals_at_once_apply_once(api: Api, anonymous: Api, ctx: Context, hr: HrPeer) -> None:
    made = await twenty(api, ctx, hr)
    del hr.persons[10:]
    run = await sync(api, ctx, made["id"])
    second, third = [await user(ctx, anonymous, name, "administrator") for name in ("second", "third")]
    answers = [second.post(f"/api/hr/runs/{run['id']}/approve", {}), third.post(f"/api/hr/runs/{run['id']}/approve", {})]
    statuses = sorted([(await one).status for one in answers])
    assert statuses == [200, 409]
    from server.people.hr import syncing

    await syncing.carry_out(ctx, run["id"], quiet, last_try=False)
    await syncing.carry_out(ctx, run["id"], quiet, last_try=False)
    assert {row.revision for row in (await stored(ctx)).values() if row.state == "gone"} == {2}
    assert isinstance(await runs.get_run(ctx, SCHEDULE, run["id"]), HrRun)
