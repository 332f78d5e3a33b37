"""Chains: a draft is written, replayed on past cases and published; running passages keep the version that they began with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.platform.tables import audit_log
from server.projects.tables import audit_chains
from tests.api.client import Api
from tests.api.people import user
from tests.api.projects.conftest import School
from tests.api.projects.reviewed import asked, decide, department, join, publish, queue, state, submitted

ONE = {"name": "School", "reviewers": {"roles": ["reviewer"]}}


def body(school: School, *steps: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "research", "organization_id": school.id, "steps": list(steps or (ONE,)), **more}


@pytest.mark.gen_test(timeout=60)
async def test_a_chain_is_drafted_replayed_and_published(school: School) -> None:
    made = (await school.max.put("/api/audit-chains", body(school))).result
    assert (made["version"], made["state"], made["replayed_at"], made["organization"]) == (1, "draft", None, "physics")
    at = f"/api/audit-chains/{made['id']}"
    refused = await school.max.post(f"{at}/publish", {})
    assert (refused.status, refused.type) == (409, "audit_chain_not_replayed")
    assert (await school.max.post(f"{at}/replay", {})).result["cases"] == []
    published = (await school.max.post(f"{at}/publish", {})).result
    assert (published["state"], published["steps"][0]["mode"]) == ("published", "any")
    assert (await school.max.post(f"{at}/publish", {})).type == "audit_chain_state"
    assert (await school.max.post(f"{at}/replay", {})).type == "audit_chain_state"


@pytest.mark.gen_test(timeout=60)
async def test_a_change_after_the_replay_wants_another(school: School) -> None:
    made = (await school.max.put("/api/audit-chains", body(school))).result
    at = f"/api/audit-chains/{made['id']}"
    await school.max.post(f"{at}/replay", {})
    again = (await school.max.put("/api/audit-chains", body(school, ONE | {"due_days": 5}))).result
    assert (again["id"], again["version"], again["replayed_at"]) == (made["id"], 1, None)
    assert (await school.max.post(f"{at}/publish", {})).type == "audit_chain_not_replayed"


@pytest.mark.gen_test(timeout=60)
async def test_force_needs_a_reason_which_is_kept(school: School, ctx: Context) -> None:
    made = (await school.max.put("/api/audit-chains", body(school))).result
    at = f"/api/audit-chains/{made['id']}/publish"
    assert (await school.max.post(at, {"force": True})).fields == ["comment"]
    assert (await school.max.post(at, {"force": True, "comment": "the dean said so"})).result["state"] == "published"
    logged = sa.select(audit_log.c.detail).where(audit_log.c.action == "audit_chain.publish")
    kept = await ctx.sql.read(lambda connection: connection.execute(logged).scalar_one())
    assert kept == {"version": 1, "forced": True, "comment": "the dean said so"}


@pytest.mark.gen_test(timeout=60)
async def test_a_running_passage_keeps_its_version(school: School, api: Api) -> None:
    await join(school, "old")
    await join(school, "new")
    await publish(
        api,
        school,
        {"name": "First", "reviewers": await asked(school, "rev")},
        {"name": "Old", "reviewers": await asked(school, "old")},
    )
    project = await submitted(school)
    second = await publish(api, school, {"name": "New", "reviewers": await asked(school, "new")})
    assert second["version"] == 2
    await decide(school.rev, (await queue(school.rev))[0])
    assert (len(await queue(school.old)), len(await queue(school.new))) == (1, 0)
    await decide(school.old, (await queue(school.old))[0], "return")
    await school.act(school.tea, project, "submit")
    assert (len(await queue(school.old)), len(await queue(school.new))) == (0, 1)
    states = {one["version"]: one["state"] for one in (await api.get("/api/audit-chains")).result["items"]}
    assert states == {1: "retired", 2: "published"}


@pytest.mark.gen_test(timeout=60)
async def test_the_chain_of_the_nearest_organization_and_of_the_kind_holds(school: School, api: Api) -> None:
    below = await department(school)
    names = ("root", "sub", "teach")
    for name in names:
        await join(school, name)
    root, sub, teach = [{"name": name, "reviewers": await asked(school, name)} for name in names]
    await publish(api, school, root, organization_id=1)
    await publish(api, school, sub, organization_id=below)
    await publish(api, school, teach, kind="teaching", organization_id=1)
    await submitted(school)
    await submitted(school, organization_id=below)
    await submitted(school, organization_id=below, kind="teaching")
    for name in names:
        found = await queue(school.callers[name])
        assert [(one["name"], one["organization_id"]) for one in found] == [(name, school.id if name == "root" else below)]


@pytest.mark.gen_test(timeout=60)
async def test_a_replay_tells_who_would_have_been_asked_and_what_could_not_have_ended(school: School, api: Api) -> None:
    approved, returned = await submitted(school, title="A"), await submitted(school, title="B")
    withdrawn, waiting = await submitted(school, title="C"), await submitted(school, title="D")
    by_project = {one["project_id"]: one for one in await queue(school.rev)}
    await decide(school.rev, by_project[approved["id"]])
    await decide(school.rev, by_project[returned["id"]], "return")
    await school.act(school.tea, withdrawn, "withdraw")
    steps = [
        {"name": "Heads", "reviewers": {"positions": ["head"]}, "skip_if_empty": True},
        {"name": "Experts", "reviewers": {"roles": ["reviewer"]}},
        {"name": "Operators", "reviewers": {"roles": ["operator"]}},
    ]
    made = (await school.max.put("/api/audit-chains", body(school, *steps))).result
    told = (await school.max.post(f"/api/audit-chains/{made['id']}/replay", {"cases": 10})).result
    assert {(one["project_id"], one["outcome"]) for one in told["cases"]} == {(approved["id"], "approved"), (returned["id"], "returned")}
    assert waiting["id"] not in {one["project_id"] for one in told["cases"]}
    rev, admin = await school.user_id("rev"), await school.user_id("admin")
    first = told["cases"][0]
    assert [(one["how"], one["user_ids"]) for one in first["steps"]] == [("skipped", []), ("named", [rev]), ("holders", [admin])]
    assert (first["steps_before"], first["steps_now"], first["could_end"]) == (1, 2, True)
    assert told["steps_empty"] == {"1": 2, "2": 0, "3": 2}
    assert (told["more_steps"], told["fewer_steps"], told["stuck"]) == (2, 0, 0)
    assert told["people"] == {str(rev): "rev", str(admin): "管理员"}


@pytest.mark.gen_test(timeout=60)
async def test_a_case_that_only_its_own_people_could_decide_could_not_have_ended(school: School, api: Api) -> None:
    project = await submitted(school)
    await decide(school.rev, (await queue(school.rev))[0])
    await api.post(f"/api/projects/{project['id']}/members", {"username": "admin"})
    steps = [{"name": "Root", "reviewers": {"user_ids": [await school.user_id("admin")], "where": "root"}}]
    made = (await api.put("/api/audit-chains", body(school, *steps))).result
    told = (await api.post(f"/api/audit-chains/{made['id']}/replay", {})).result
    assert (told["stuck"], told["cases"][0]["steps"][0]["how"]) == (1, "nobody")


@pytest.mark.gen_test(timeout=60)
async def test_what_is_wrong_in_a_chain_is_named(school: School) -> None:
    async def fields(*steps: dict[str, Any], **more: Any) -> list[str]:
        return (await school.max.put("/api/audit-chains", body(school, *steps, **more))).fields

    assert await fields({"name": "A", "parallel_with_previous": True}) == ["steps.0.parallel_with_previous"]
    assert await fields({"name": "A"}, {"name": "A"}) == ["steps.1.name"]
    assert await fields({"name": "A", "reviewers": {"roles": ["king"]}}) == ["steps.0.reviewers.roles"]
    assert await fields({"name": "A", "reviewers": {"where": 999}}) == ["steps.0.reviewers.where"]
    tea = await school.user_id("tea")
    assert await fields({"name": "A", "reviewers": {"user_ids": [tea]}}) == ["steps.0.reviewers.user_ids"]
    assert await fields({"name": "A", "mode": "some"}) == ["steps[0].mode"]
    assert await fields(kind="other") == ["kind"]
    assert (await school.max.put("/api/audit-chains", {**body(school), "steps": []})).fields == ["steps"]


@pytest.mark.gen_test(timeout=60)
async def test_chains_are_written_by_who_manages_there_and_read_where_they_hold(school: School, ctx: Context, anonymous: Api) -> None:
    assert (await school.tea.put("/api/audit-chains", body(school))).status == 403
    assert (await school.max.put("/api/audit-chains", body(school, organization_id=1))).status == 403
    assert (await school.max.put("/api/audit-chains", body(school, organization_id=999))).fields == ["organization_id"]
    draft = (await school.max.put("/api/audit-chains", body(school))).result
    at = f"/api/audit-chains/{draft['id']}"
    assert (await school.tea.get(at)).type == "audit_chain_not_found"  # a draft
    await school.max.post(f"{at}/publish", {"force": True, "comment": "x"})
    assert (await school.tea.get(at)).result["steps"][0]["name"] == "School"
    assert (await school.out.get(at)).type == "audit_chain_not_found"
    assert (await school.out.get("/api/audit-chains")).result["total"] == 0
    other = await user(ctx, anonymous, "other", "organization_admin", school.elsewhere)
    for answer in (await other.post(f"{at}/replay", {}), await other.post(f"{at}/publish", {}), await other.delete(at)):
        assert answer.type == "audit_chain_not_found"


@pytest.mark.gen_test(timeout=60)
async def test_a_chain_is_removed_until_it_was_used_and_then_retired(school: School) -> None:
    draft = (await school.max.put("/api/audit-chains", body(school))).result
    assert (await school.max.delete(f"/api/audit-chains/{draft['id']}")).status == 200
    assert (await school.max.get(f"/api/audit-chains/{draft['id']}")).status == 404
    held = await publish(school.max, school, ONE)
    await submitted(school)
    assert (await school.max.delete(f"/api/audit-chains/{held['id']}")).status == 200
    assert (await school.max.get(f"/api/audit-chains/{held['id']}")).result["state"] == "retired"
    assert (await school.max.delete(f"/api/audit-chains/{held['id']}")).type == "audit_chain_state"
    project = await submitted(school, title="After")
    assert await state(school, project) == "in_review"
    assert [one["name"] for one in await queue(school.max)] == ["审核"]  # no chain holds for it


@pytest.mark.gen_test(timeout=60)
async def test_of_two_drafts_and_two_publications_at_once_one_holds(school: School, ctx: Context) -> None:
    drafts = await asyncio.gather(*(school.max.put("/api/audit-chains", body(school)) for _ in range(4)))
    (chain_id,) = {one.result["id"] for one in drafts}
    at = f"/api/audit-chains/{chain_id}"
    await school.max.post(f"{at}/replay", {})
    answers = await asyncio.gather(*(school.max.post(f"{at}/publish", {}) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    states = sa.select(audit_chains.c.state)
    assert await ctx.sql.read(lambda connection: connection.execute(states).scalars().all()) == ["published"]
