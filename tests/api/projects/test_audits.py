"""Audits: whose queue a project is in, what a decision does, and that two at once count once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from server.context import Context
from server.people.tables import users
from server.platform.tables import audit_log, notifications
from server.projects.audit_telling import remind_of_audits
from server.projects.tables import audit_reviewers, audits
from tests.api.client import Api
from tests.api.projects.conftest import School
from tests.api.projects.reviewed import asked, decide, department, join, publish, queue, state, submitted


@pytest.mark.gen_test(timeout=60)
async def test_without_a_chain_who_may_audit_there_or_above_decides(school: School, api: Api) -> None:
    project = await submitted(school)
    for caller in (school.rev, school.max, api):
        found = await queue(caller)
        assert [(one["project_id"], one["name"], one["state"]) for one in found] == [(project["id"], "审核", "open")]
    assert (await school.tea.get("/api/audits")).status == 403
    done = (await decide(school.rev, (await queue(school.rev))[0])).result
    assert (done["state"], done["project"]["state"], done["may_decide"]) == ("approved", "approved", False)
    assert await queue(api) == []


@pytest.mark.gen_test(timeout=60)
async def test_the_queue_is_empty_for_who_audits_elsewhere(school: School) -> None:
    there = await join(school, "hist", "reviewer", school.elsewhere)
    project = await submitted(school)
    audit = (await queue(school.rev))[0]
    assert await queue(there) == []
    assert (await there.get(f"/api/audits/{audit['id']}")).type == "audit_not_found"
    assert (await decide(there, audit)).type == "audit_not_found"
    assert await state(school, project) == "in_review"


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize(("decision", "after"), [("return", "returned"), ("reject", "rejected")])
async def test_a_decision_against_a_project_needs_a_comment_and_moves_it(school: School, decision: str, after: str) -> None:
    project = await submitted(school)
    audit = (await queue(school.rev))[0]
    assert (await decide(school.rev, audit, decision, comment=" ")).fields == ["comment"]
    done = (await decide(school.rev, audit, decision, comment="too short")).result
    assert (done["state"], done["project"]["state"]) == (after, after)
    history = (await school.tea.get(f"/api/projects/{project['id']}/history")).result["items"]
    assert [(one["what"], one["action"], one["comment"]) for one in history[:2]] == [
        ("transition", decision, "too short"),
        ("audit", decision, "too short"),
    ]


@pytest.mark.gen_test(timeout=60)
async def test_nobody_decides_on_a_project_of_their_own(school: School, api: Api) -> None:
    project = await submitted(school, school.max)
    assert await queue(school.max) == []
    audit = (await queue(school.rev))[0]
    assert (await decide(school.max, audit)).type == "own_project"
    await school.max.post(f"/api/projects/{project['id']}/members", {"username": "rev"})
    assert await queue(school.rev) == []
    assert (await decide(school.rev, audit)).type == "own_project"
    assert (await decide(api, audit)).result["state"] == "approved"


@pytest.mark.gen_test(timeout=60)
async def test_a_chain_goes_step_after_step(school: School, api: Api) -> None:
    await join(school, "dean")
    await publish(
        api,
        school,
        {"name": "Department", "reviewers": await asked(school, "rev"), "due_days": 3},
        {"name": "School", "reviewers": await asked(school, "dean")},
    )
    project = await submitted(school)
    assert await queue(school.dean) == []
    first = (await queue(school.rev))[0]
    assert (first["name"], first["step"], first["overdue"]) == ("Department", 1, False)
    assert first["due_at"] > first["opened_at"]
    assert await queue(school.max) == []  # may audit there, but is not asked
    assert (await decide(school.max, first)).type == "not_asked"
    assert (await decide(school.rev, first)).result["project"]["state"] == "in_review"
    second = (await queue(school.dean))[0]
    seen = (await school.dean.get(f"/api/audits/{second['id']}")).result
    assert [(one["name"], one["state"], [(said["name"], said["comment"]) for said in one["decisions"]]) for one in seen["steps"]] == [
        ("Department", "approved", [("rev", "so be it")]),
        ("School", "open", [("dean", None)]),
    ]
    assert (seen["may_decide"], seen["return_to"], seen["project"]["title"]) == (True, [1], "Cold atoms")
    assert (await decide(school.dean, second)).result["project"]["state"] == "approved"
    assert await state(school, project) == "approved"
    assert [one["id"] for one in await queue(school.dean, "?state=decided")] == [second["id"]]


@pytest.mark.gen_test(timeout=60)
async def test_where_all_must_approve_the_last_one_ends_it(school: School, api: Api) -> None:
    await join(school, "dean")
    await publish(api, school, {"name": "Both", "mode": "all", "reviewers": await asked(school, "rev", "dean")})
    await submitted(school)
    audit = (await queue(school.rev))[0]
    assert (await decide(school.rev, audit)).result["state"] == "open"
    assert await queue(school.rev) == []
    assert (await decide(school.rev, audit)).type == "audit_decided"
    hidden = (await school.dean.get(f"/api/audits/{audit['id']}")).result["steps"][0]["decisions"]
    assert {one["decision"] for one in hidden} == {None}  # each judges alone
    assert (await decide(school.dean, audit)).result["project"]["state"] == "approved"


@pytest.mark.gen_test(timeout=60)
async def test_where_all_must_approve_the_first_refusal_ends_it(school: School, api: Api) -> None:
    await join(school, "dean")
    await publish(api, school, {"name": "Both", "mode": "all", "reviewers": await asked(school, "rev", "dean")})
    await submitted(school)
    audit = (await queue(school.rev))[0]
    assert (await decide(school.rev, audit, "reject")).result["project"]["state"] == "rejected"
    assert (await decide(school.dean, audit)).type == "audit_ended"


@pytest.mark.gen_test(timeout=60)
async def test_parallel_steps_open_together_and_join(school: School, api: Api) -> None:
    for name in ("money", "ethics", "dean"):
        await join(school, name)
    await publish(
        api,
        school,
        {"name": "Money", "reviewers": await asked(school, "money")},
        {"name": "Ethics", "reviewers": await asked(school, "ethics"), "parallel_with_previous": True},
        {"name": "School", "reviewers": await asked(school, "dean")},
    )
    project = await submitted(school)
    money, ethics = (await queue(school.money))[0], (await queue(school.ethics))[0]
    assert (await decide(school.ethics, ethics)).result["project"]["state"] == "in_review"
    assert await queue(school.dean) == []
    await decide(school.money, money)
    assert [one["name"] for one in await queue(school.dean)] == ["School"]
    await decide(school.dean, (await queue(school.dean))[0], "return")
    await school.act(school.tea, project, "submit")
    again = (await queue(school.money))[0]
    assert again["passage"] == 2
    await decide(school.money, again, "reject")
    assert await queue(school.ethics) == []  # its parallel step is cancelled
    assert await state(school, project) == "rejected"


@pytest.mark.gen_test(timeout=60)
async def test_a_return_to_an_earlier_step_goes_on_from_there(school: School, api: Api) -> None:
    for name in ("one", "two"):
        await join(school, name)
    steps = [{"name": name, "reviewers": await asked(school, name)} for name in ("one", "two", "rev")]
    await publish(api, school, *steps)
    project = await submitted(school)
    assert (await decide(school.one, (await queue(school.one))[0], "return", return_to=1)).fields == ["return_to"]
    for name in ("one", "two"):
        await decide(school.callers[name], (await queue(school.callers[name]))[0])
    last = (await queue(school.rev))[0]
    assert (await decide(school.rev, last, "return", return_to=3)).fields == ["return_to"]
    assert (await decide(school.rev, last, "approve", return_to=1)).fields == ["return_to"]
    assert (await decide(school.rev, last, "return", return_to=1)).result["project"]["state"] == "in_review"
    assert [len(await queue(school.callers[name])) for name in ("one", "two", "rev")] == [1, 0, 0]
    for name in ("one", "two", "rev"):
        assert await state(school, project) == "in_review"
        await decide(school.callers[name], (await queue(school.callers[name]))[0])
    assert await state(school, project) == "approved"


@pytest.mark.gen_test(timeout=60)
async def test_a_step_that_nobody_is_left_for_is_skipped_or_goes_to_who_audits_above(school: School, api: Api) -> None:
    below = await department(school)
    await publish(
        api,
        school,
        {"name": "Heads", "reviewers": {"positions": ["head"]}, "skip_if_empty": True},
        {"name": "Experts", "mode": "all", "reviewers": {"roles": ["reviewer"]}},
    )
    project = await submitted(school, organization_id=below)
    found = (await queue(school.max))[0]
    assert (found["name"], found["mode"]) == ("Experts", "any")  # nobody audits in the department: one of the school does
    history = (await school.tea.get(f"/api/projects/{project['id']}/history")).result["items"]
    assert [(one["action"], one["detail"]["name"], one["detail"]["organization_id"]) for one in history if one["what"] == "audit"] == [
        ("holders", "Experts", school.id),
        ("skipped", "Heads", below),
    ]
    assert (await decide(school.rev, found)).result["project"]["state"] == "approved"


@pytest.mark.gen_test(timeout=60)
async def test_a_project_is_not_approved_by_nobody(school: School, api: Api) -> None:
    await publish(api, school, {"name": "Heads", "reviewers": {"positions": ["head"]}, "skip_if_empty": True})
    project = await submitted(school)
    assert project["state"] == "in_review"
    assert [one["name"] for one in await queue(api)] == ["Heads"]
    assert (await decide(api, (await queue(api))[0])).result["project"]["state"] == "approved"


@pytest.mark.gen_test(timeout=60)
async def test_reviewers_are_found_by_role_and_position_where_the_step_says(school: School, api: Api) -> None:
    below = await department(school)
    await join(school, "head", "reviewer", below, position="head")
    await join(school, "plain", "teacher", below, position="head")  # may not audit, so is not asked
    await publish(
        api,
        school,
        {"name": "Head", "reviewers": {"positions": ["head"]}},
        {"name": "School", "reviewers": {"roles": ["organization_admin"], "where": "parent"}},
        {"name": "Root", "reviewers": {"roles": ["administrator"], "where": "root"}},
    )
    project = await submitted(school, organization_id=below)
    for caller, name in ((school.head, "Head"), (school.max, "School"), (api, "Root")):
        found = await queue(caller)
        assert [one["name"] for one in found] == [name]
        await decide(caller, found[0])
    assert await state(school, project) == "approved"


@pytest.mark.gen_test(timeout=60)
async def test_of_two_decisions_at_once_one_counts(school: School, api: Api, ctx: Context) -> None:
    await submitted(school)
    audit = (await queue(school.rev))[0]
    answers = await asyncio.gather(
        decide(school.rev, audit), decide(school.max, audit, "reject"), decide(api, audit, "return"), decide(school.rev, audit)
    )
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    said = sa.select(sa.func.count()).select_from(audit_reviewers).where(audit_reviewers.c.decision.is_not(None))
    assert await ctx.sql.read(lambda connection: connection.execute(said).scalar_one()) == 1


@pytest.mark.gen_test(timeout=60)
async def test_all_who_approve_at_once_end_the_step_together(school: School, api: Api) -> None:
    names = [f"r{number}" for number in range(4)]
    for name in names:
        await join(school, name)
    await publish(api, school, {"name": "All", "mode": "all", "reviewers": await asked(school, *names)})
    project = await submitted(school)
    audit = (await queue(school.r0))[0]
    answers = await asyncio.gather(*(decide(school.callers[name], audit) for name in names))
    assert [answer.status for answer in answers] == [200] * 4
    assert await state(school, project) == "approved"


@pytest.mark.gen_test(timeout=60)
async def test_a_withdrawal_cancels_what_is_open(school: School, ctx: Context) -> None:
    project = await submitted(school)
    audit = (await queue(school.rev))[0]
    await school.act(school.tea, project, "withdraw")
    assert await queue(school.rev) == []
    assert (await decide(school.rev, audit)).type == "audit_ended"
    states = sa.select(audits.c.state)
    assert await ctx.sql.read(lambda connection: connection.execute(states).scalars().all()) == ["cancelled"]


@pytest.mark.gen_test(timeout=60)
async def test_a_batch_is_answered_one_by_one(school: School) -> None:
    for title in ("A", "B"):
        await submitted(school, title=title)
    own = await submitted(school, school.max, title="C")
    ids = [one["id"] for one in await queue(school.rev)]
    body = {"ids": [*ids, 999, ids[0]], "decision": "approve"}
    done = (await school.max.post("/api/audits/decide", body, headers={"Accept-Language": "en"})).result
    assert (done["decided"], done["refused"]) == (2, 2)
    assert [(one["ok"], one["project_state"], one["error"]) for one in done["items"]] == [
        (True, "approved", ""),
        (True, "approved", ""),
        (False, "", "own_project"),
        (False, "", "audit_not_found"),
    ]
    assert done["items"][2]["message"] == "Nobody decides on a project of their own."
    assert [one["project_id"] for one in await queue(school.rev)] == [own["id"]]
    refused = (await school.rev.post("/api/audits/decide", {"ids": ids, "decision": "reject"})).result["items"]
    assert {one["message"] for one in refused} == {"请填写意见。"}


@pytest.mark.gen_test(timeout=60)
async def test_the_queue_is_oldest_first_and_narrowed(school: School, api: Api, ctx: Context) -> None:
    below = await department(school)
    first, second = await submitted(school, title="Old"), await submitted(school, title="New", kind="teaching", organization_id=below)
    earlier = ctx.clock.now() - timedelta(days=10)
    older = audits.update().where(audits.c.project_id == first["id"]).values(opened_at=earlier, due_at=earlier + timedelta(days=3))
    await ctx.sql.write(lambda connection: connection.execute(older))
    found = await queue(api)
    assert [(one["title"], one["age_days"] >= 10, one["overdue"]) for one in found] == [("Old", True, True), ("New", False, False)]
    for query in ("?kind=teaching", f"?organization_id={below}", "?q=new", "?sort=-opened_at&page_size=1"):
        assert [one["project_id"] for one in await queue(api, query)] == [second["id"]]


@pytest.mark.gen_test(timeout=60)
async def test_who_is_asked_is_told_and_reminded_once(school: School, api: Api, ctx: Context) -> None:
    await publish(api, school, {"name": "Experts", "reviewers": await asked(school, "rev"), "due_days": 5})
    project = await submitted(school)
    told = (await school.rev.get("/api/notifications")).result["items"]
    assert [(one["kind"], one["text"]) for one in told] == [("audit.waiting", "项目“Cold atoms”等待您审核（Experts）。")]
    now = ctx.clock.now()
    late = audits.update().values(opened_at=now - timedelta(days=6), due_at=now - timedelta(days=1, hours=1))
    await ctx.sql.write(lambda connection: connection.execute(late))
    assert [await remind_of_audits(ctx), await remind_of_audits(ctx)] == [1, 0]
    due = sa.select(notifications.c.user_id).where(notifications.c.kind == "audit.due")
    assert await ctx.sql.read(lambda connection: connection.execute(due).scalars().all()) == [await school.user_id("rev")]
    await decide(school.rev, (await queue(school.rev))[0])
    logged = sa.select(audit_log.c.detail).where(audit_log.c.action == "audit.approve")
    assert (await ctx.sql.read(lambda connection: connection.execute(logged).scalar_one()))["project_id"] == project["id"]


@pytest.mark.gen_test(timeout=60)
async def test_who_was_disabled_is_not_waited_for(school: School, api: Api, ctx: Context) -> None:
    await join(school, "gone")
    await publish(api, school, {"name": "Both", "mode": "all", "reviewers": await asked(school, "rev", "gone")})
    await submitted(school)
    await ctx.sql.write(lambda connection: connection.execute(users.update().where(users.c.username == "gone").values(state="disabled")))
    assert (await decide(school.rev, (await queue(school.rev))[0])).result["project"]["state"] == "approved"
