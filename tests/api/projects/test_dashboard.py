"""/api/dashboard: figures and series of what the caller may see, never old, and who follows hears that they changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.events import Event
from server.projects import dashboard_cache
from server.projects.dashboard_cache import DashboardCache, StaleTelling
from server.projects.events import DashboardStale, ProjectChanged
from server.projects.tables import audit_reviewers, audits, projects, reviews, rounds
from tests.api.client import Api
from tests.api.projects.conftest import School


async def shown(caller: Api, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = (await caller.get(f"/api/dashboard{query}")).result
    return found


async def counts(caller: Api, query: str = "") -> dict[str, int]:
    found: dict[str, int] = {}
    for one in (await shown(caller, query))["projects"]["counts"]:
        found[one["state"]] = found.get(one["state"], 0) + one["number"]
    return found


async def values(caller: Api, query: str) -> list[int]:
    points = (await caller.get(f"/api/dashboard/series?{query}")).result["points"]
    return [point["value"] for point in points if point["value"]]


async def put(ctx: Context, table: sa.Table, **row: Any) -> int:
    def insert(connection: sa.Connection) -> int:
        key = connection.execute(table.insert().values(**row)).inserted_primary_key
        return int(key[0]) if key else 0

    return await ctx.sql.write(insert)


@pytest.mark.gen_test(timeout=60)
async def test_each_counts_what_they_may_see(school: School, api: Api) -> None:
    await school.propose(school.tea, "draft")
    await school.approved(school.tea, "approved")
    await school.approved(school.out, "elsewhere", organization_id=school.elsewhere)
    assert await counts(api) == {"draft": 1, "approved": 2}
    assert await counts(school.max) == {"draft": 1, "approved": 1}
    assert await counts(school.tea) == {"draft": 1, "approved": 1}
    assert await counts(school.tom) == {"approved": 1}, "a draft is its people's alone"
    assert await counts(school.out) == {"approved": 1}
    assert await counts(api, f"?organization_id={school.elsewhere}") == {"approved": 1}
    assert await counts(school.tom, f"?organization_id={school.elsewhere}") == {}
    assert await counts(api, "?kind=student") == {}
    listed = (await api.get("/api/projects")).result["total"]
    assert (await shown(api))["projects"]["total"] == listed
    for name in ("tea", "tom", "stu", "max", "out"):
        caller = getattr(school, name)
        assert (await shown(caller))["projects"]["total"] == (await caller.get("/api/projects")).result["total"], name


@pytest.mark.gen_test(timeout=60)
async def test_a_change_is_seen_at_once(school: School) -> None:
    before = await counts(school.max)
    made = await school.propose(school.tea)
    assert await counts(school.max) == {**before, "draft": 1}
    await school.act(school.tea, made, "submit")
    assert "draft" not in await counts(school.max)


@pytest.mark.gen_test(timeout=60)
async def test_who_may_not_look_is_refused(school: School, anonymous: Api) -> None:
    for path in ("/api/dashboard", "/api/dashboard/series"):
        assert (await school.rev.get(path)).status == 403
        assert (await anonymous.get(path)).status == 401


@pytest.mark.gen_test(timeout=60)
async def test_the_funnel_and_what_waits(school: School, ctx: Context) -> None:
    await school.propose(school.tea)
    waiting = await school.propose(school.tea, "waiting")
    await school.act(school.tea, waiting, "submit")
    await school.approved(school.tea, "approved")
    now = ctx.clock.now()
    old = projects.update().where(projects.c.id == waiting["id"])
    long_ago = old.values(state_since=now - timedelta(days=20), due_at=now - timedelta(days=1))
    await ctx.sql.write(lambda connection: connection.execute(long_ago))
    await ctx.events.publish(DashboardStale())
    figures = (await shown(school.max))["projects"]
    stages = {one["stage"]: one["number"] for one in figures["funnel"]}
    assert stages == {"proposed": 3, "submitted": 2, "decided": 1, "approved": 1, "running": 0, "completed": 0}
    state = next(one["state"] for one in figures["counts"] if one["state"] in ("submitted", "in_review"))
    one = next(one for one in figures["waiting"] if one["state"] == state)
    assert (one["number"], one["overdue"], one["up_to_7_days"], one["up_to_30_days"], one["longer"]) == (1, 1, 0, 1, 0)
    assert figures["organizations"] == [{"organization_id": school.id, "name": "physics", "number": 3}]


@pytest.mark.gen_test(timeout=60)
async def test_loads_are_for_managers_and_ones_own_for_oneself(school: School, ctx: Context) -> None:
    made, now, rev = await school.propose(school.tea), ctx.clock.now(), await school.user_id("rev")
    step = {"passage": 1, "step": 0, "name": "s", "mode": "any", "state": "open", "organization_id": school.id, "opened_at": now}
    audit_id = await put(ctx, audits, project_id=made["id"], **step)
    await put(ctx, audit_reviewers, audit_id=audit_id, user_id=rev)
    await put(ctx, audit_reviewers, audit_id=audit_id, user_id=await school.user_id("tom"))
    await ctx.events.publish(DashboardStale())
    loads = {one["name"]: one["audits"] for one in (await shown(school.max))["reviewers"]}
    assert loads == {"rev": 1, "tom": 1}
    assert (await shown(school.tom))["reviewers"] == []
    assert (await shown(school.tom))["own"]["audits"] == 1
    assert (await shown(school.tea))["own"] == {
        "audits": 0,
        "reviews": 0,
        "oldest_since": None,
        "projects": 1,
        "returned": 0,
        "milestones": 0,
    }


@pytest.mark.gen_test(timeout=60)
async def test_scores_are_hidden_from_who_has_one_to_give(school: School, ctx: Context) -> None:
    now, manager = ctx.clock.now(), await school.user_id("max")
    plan = {"name": "r", "rubric_id": 1, "rubric": {}, "state": "open", "blind": False, "reviews_per_project": 2, "load": 5}
    round_id = await put(ctx, rounds, organization_id=school.id, conflict_years=0, revision=0, pool_version=0, created_at=now, **plan)
    for number, total in enumerate((1.0, 3.0)):
        given = {"state": "submitted", "scores": {}, "total": total, "assigned_at": now}
        await put(ctx, reviews, round_id=round_id, project_id=900 + number, reviewer_id=700, **given)
    [spread] = (await shown(school.max))["scores"]
    assert (spread["mean"], spread["least"], spread["most"], spread["parts"][0], spread["parts"][-1]) == (2.0, 1.0, 3.0, 1, 1)
    assert (await shown(school.tea))["scores"] == []
    own = {"state": "assigned", "scores": {}, "assigned_at": now}
    await put(ctx, reviews, round_id=round_id, project_id=900, reviewer_id=manager, **own)
    await ctx.events.publish(DashboardStale())
    [spread] = (await shown(school.max))["scores"]
    assert (spread["mean"], spread["parts"], spread["reviews"], spread["submitted"]) == (None, [], 3, 2)


@pytest.mark.gen_test(timeout=60)
async def test_the_health_of_hr_and_workflows_is_for_those_who_may_see_it(school: School, api: Api) -> None:
    everything, teachers, managers = await shown(api), await shown(school.tea), await shown(school.max)
    assert everything["hr"] == {"sources": [], "waiting": 0, "pending_tasks": 0, "dead_tasks": 0, "open_doors": 0}
    assert everything["workflows"] == {"ended": {}, "active": 0}
    assert (teachers["hr"], teachers["workflows"]) == (None, None)
    assert managers["hr"] is None
    assert managers["workflows"] is not None


@pytest.mark.gen_test(timeout=60)
async def test_series_by_both_ways_of_counting_agree(school: School, api: Api) -> None:
    for number in range(3):
        made = await school.propose(school.tea, f"p{number}")
        await school.act(school.tea, made, "submit")
        await school.decide(made, "approve" if number else "reject")
    for metric, expected in (
        ("draft", 3),
        ("submitted", 3),
        ("approved", 2),
        ("entered.rejected", 1),
        ("left.draft", 3),
        ("standing.approved", 2),
        ("standing.in_review", 0),
    ):
        for by in ("day", "week", "month"):
            found = [sum(await values(caller, f"metric={metric}&by={by}")) for caller in (api, school.max)]
            assert found == [expected, expected], (metric, by)
    assert sum(await values(school.tom, "metric=approved")) == 2
    assert await values(school.tom, "metric=rejected") == []
    assert await values(school.out, "metric=approved") == []
    assert sum(await values(api, f"metric=approved&organization_id={school.elsewhere}")) == 0
    assert sum(await values(api, f"metric=approved&organization_id={school.id}&kind=research")) == 2


@pytest.mark.gen_test(timeout=60)
async def test_periods_and_what_stood_in_between(school: School, api: Api, ctx: Context) -> None:
    made = await school.approved(school.tea)
    points = (await api.get("/api/dashboard/series?metric=standing.approved&from=2020-01-30&to=2020-03-02&by=month")).result["points"]
    assert points == [{"at": f"2020-0{month}-01", "value": 0} for month in (1, 2, 3)]
    weeks = (await api.get("/api/dashboard/series?metric=approved&from=2020-01-01&to=2020-01-07&by=week")).result["points"]
    assert [point["at"] for point in weeks] == ["2019-12-30", "2020-01-06"]
    days = (await api.get("/api/dashboard/series?metric=standing.approved")).result["points"]
    assert (len(days), days[-1]["value"], days[0]["value"]) == (30, 1, 0)
    assert made["id"]


@pytest.mark.gen_test(timeout=60)
async def test_series_that_cannot_be(api: Api) -> None:
    for query, field in (
        ("metric=moons", "metric"),
        ("metric=eaten.draft", "metric"),
        ("from=2026-02-30", "from"),
        ("from=2026-02-02&to=2026-02-01", "from"),
        ("from=1980-01-01&to=2026-02-01", "by"),
        ("by=hour", "by"),
        ("kind=art", "kind"),
        ("organization_id=x", "organization_id"),
    ):
        assert (await api.get(f"/api/dashboard/series?{query}")).fields == [field], query


@pytest.mark.gen_test
async def test_one_reading_serves_those_who_ask_at_once(ctx: Context) -> None:
    cache, began, go = DashboardCache(ctx), list[int](), asyncio.Event()

    async def read() -> int:
        began.append(len(began))
        await go.wait()
        return began[-1]

    asked = [asyncio.ensure_future(cache.get("k", read)) for _ in range(5)]
    await asyncio.sleep(0)
    await ctx.events.publish(ProjectChanged(1, 1, "draft"))
    later = asyncio.ensure_future(cache.get("k", read))
    await asyncio.sleep(0)
    go.set()
    assert len(set(await asyncio.gather(*asked))) == 1
    assert await later == 1
    assert len(began) == 2, "who asks after a change does not get what was being read before it"
    assert await cache.get("k", read) == 1
    assert len(began) == 2


@pytest.mark.gen_test
async def test_followers_hear_at_once_and_then_together(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_cache, "TOLD_EVERY_S", 0.05)
    told, again = list[Event](), asyncio.Event()
    followed = [False]

    def tell(event: Event) -> None:
        told.append(event)
        if len(told) == 2:
            again.set()

    StaleTelling(ctx, tell, lambda: followed[0])
    await ctx.events.publish(ProjectChanged(1, 1, "draft"))
    assert told == [], "nobody follows"
    followed[0] = True
    for _ in range(5):
        await ctx.events.publish(ProjectChanged(1, 1, "draft"))
    assert told == [DashboardStale()]
    await asyncio.wait_for(again.wait(), 10)
    assert told == [DashboardStale(), DashboardStale()]
