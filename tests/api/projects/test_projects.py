"""Projects: proposed, seen by those who may, changed with a version and a history, removed while they are drafts."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.messages.catalogue import CATALOGUE
from server.people.tables import organizations
from server.platform.tables import audit_log, notifications
from server.projects.tables import project_days, projects, reviews, rounds
from tests.api.client import Api
from tests.api.projects.conftest import School


async def ids(caller: Api, query: str = "") -> list[int]:
    return sorted(one["id"] for one in (await caller.get(f"/api/projects{query}")).result["items"])


@pytest.mark.gen_test(timeout=60)
async def test_a_proposal_is_a_draft_with_all_that_was_given(school: School) -> None:
    given = {
        "kind": "teaching",
        "summary": "about teaching",
        "fields": {"level": "national", "keywords": ["a", "b"]},
        "budget": [{"what": "books", "amount": 120050}, {"what": "travel", "amount": 1}],
        "starts_on": "2026-01-01",
        "ends_on": "2026-12-31",
    }
    made = await school.propose(school.tea, "  Optics  ", **given)
    assert (made["title"], made["state"], made["version"], made["budget_total"]) == ("Optics", "draft", 1, 120051)
    assert {name: made[name] for name in given} == given
    assert (made["owner"], made["organization"], made["relations"], made["may_change"]) == ("tea", "physics", ["proposer"], True)
    assert (await school.tea.get(f"/api/projects/{made['id']}")).result == made


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": " "}, "title"),
        ({"title": "x", "kind": "art"}, "kind"),
        ({"title": "x", "starts_on": "2026-02-30"}, "starts_on"),
        ({"title": "x", "starts_on": "2026-02-02", "ends_on": "2026-02-01"}, "ends_on"),
        ({"title": "x", "budget": [{"what": "y", "amount": -1}]}, "budget[0].amount"),
        ({"title": "x", "fields": {"a": 70_000 * "b"}}, "fields"),
        ({"title": "x", "organization_id": 99_999}, "organization_id"),
        ({"title": "x", "tags": ["no such tag"]}, "tags"),
    ],
)
async def test_what_cannot_be_is_refused_by_field(api: Api, body: dict[str, Any], field: str) -> None:
    assert (await api.post("/api/projects", body)).fields == [field]


@pytest.mark.gen_test(timeout=60)
async def test_nobody_proposes_where_they_have_no_part(school: School) -> None:
    refused = await school.out.post("/api/projects", {"title": "x", "organization_id": school.id})
    assert refused.status == 403
    assert (await school.out.post("/api/projects", {"title": "x"})).result["organization_id"] == school.elsewhere
    assert (await school.rev.post("/api/projects", {"title": "x"})).status == 403


@pytest.mark.gen_test(timeout=60)
async def test_a_draft_is_seen_by_its_people_and_by_who_manages(school: School) -> None:
    made = await school.propose(school.tea)
    assert {name: await school.see(name, made) for name in school.callers} == {
        "tea": 200,
        "max": 200,
        "tom": 404,
        "stu": 404,
        "rev": 404,
        "out": 404,
    }
    await school.tea.post(f"/api/projects/{made['id']}/members", {"username": "stu"})
    assert await school.see("stu", made) == 200
    assert await ids(school.stu) == [made["id"]]
    assert await ids(school.tom) == []


@pytest.mark.gen_test(timeout=60)
async def test_a_submitted_one_is_seen_by_who_audits_and_an_approved_one_by_all_of_the_school(school: School) -> None:
    made = await school.propose(school.tea)
    await school.act(school.tea, made, "submit")
    assert [await school.see(name, made) for name in ("rev", "tom", "stu", "out")] == [200, 404, 404, 404]
    await school.decide(made, "approve")
    assert [await school.see(name, made) for name in ("rev", "tom", "stu", "out")] == [200, 200, 200, 404]
    assert await ids(school.tom) == [made["id"]]
    assert await ids(school.out) == []


@pytest.mark.gen_test(timeout=60)
async def test_every_route_of_a_project_is_silent_to_strangers(school: School) -> None:
    made = await school.propose(school.tea)
    at = f"/api/projects/{made['id']}"
    answers = [
        await school.out.get(at),
        await school.out.patch(at, {"title": "mine"}),
        await school.out.delete(at),
        await school.out.post(f"{at}/transitions", {"action": "submit"}),
        await school.out.post(f"{at}/members", {"username": "out"}),
        await school.out.delete(f"{at}/members?user_id=1"),
        await school.out.post(f"{at}/attachments", {"document_id": 1}),
        await school.out.delete(f"{at}/attachments?document_id=1"),
        await school.out.post(f"{at}/tags", {"name": "x"}),
        await school.out.delete(f"{at}/tags?name=x"),
        await school.out.post(f"{at}/links", {"other_id": 5}),
        await school.out.delete(f"{at}/links?other_id=5"),
        *[await school.out.get(f"{at}/{part}") for part in ("actions", "history", "members", "attachments", "tags", "links")],
    ]
    assert [(answer.status, answer.type) for answer in answers] == len(answers) * [(404, "project_not_found")]


@pytest.mark.gen_test(timeout=60)
async def test_a_change_raises_the_version_and_an_older_one_is_refused(school: School) -> None:
    made = await school.propose(school.tea)
    at = f"/api/projects/{made['id']}"
    changed = (await school.tea.patch(at, {"version": 1, "title": "Warm atoms", "ends_on": "2027-01-01"})).result
    assert (changed["version"], changed["title"], changed["ends_on"]) == (2, "Warm atoms", "2027-01-01")
    late = await school.max.patch(at, {"version": 1, "title": "Hot atoms"})
    assert (late.status, late.type) == (409, "project_version")
    assert (await school.tea.patch(at, {"version": 2, "title": "Warm atoms"})).result["version"] == 2
    entry = (await school.tea.get(f"{at}/history")).result["items"][0]
    assert entry["what"] == "changed"
    assert entry["detail"]["before"] == {"title": "Cold atoms", "ends_on": None}
    assert entry["detail"]["after"] == {"title": "Warm atoms", "ends_on": "2027-01-01"}


@pytest.mark.gen_test(timeout=60)
async def test_only_its_people_change_it_and_only_while_it_is_theirs(school: School) -> None:
    made = await school.approved(school.tea)
    at = f"/api/projects/{made['id']}"
    assert (await school.tom.patch(at, {"title": "mine"})).status == 403
    assert (await school.tea.patch(at, {"title": "late"})).status == 403
    assert (await school.max.patch(at, {"title": "managed"})).result["title"] == "managed"


@pytest.mark.gen_test(timeout=60)
async def test_only_a_draft_is_removed(school: School) -> None:
    made = await school.propose(school.tea)
    await school.tea.post(f"/api/projects/{made['id']}/members", {"username": "stu"})
    assert (await school.stu.delete(f"/api/projects/{made['id']}")).status == 403
    await school.act(school.tea, made, "submit")
    refused = await school.tea.delete(f"/api/projects/{made['id']}")
    assert (refused.status, refused.type) == (409, "project_no_draft")
    other = await school.propose(school.tea)
    assert (await school.tea.delete(f"/api/projects/{other['id']}")).status == 200
    assert await school.see("tea", other) == 404


@pytest.mark.gen_test(timeout=60)
async def test_the_list_is_narrowed(school: School, api: Api) -> None:
    one = (await school.propose(school.tea, "One", kind="research", summary="苹果树"))["id"]
    two = (await school.propose(school.tom, "Two", kind="teaching"))["id"]
    await school.tom.post(f"/api/projects/{two}/members", {"username": "tea", "role": "mentor"})
    tea = await school.user_id("tea")
    assert await ids(school.max) == [one, two]
    assert await ids(school.max, "?kind=teaching") == [two]
    assert await ids(school.max, f"?owner_id={tea}") == [one]
    assert await ids(school.max, f"?member_id={tea}") == [two]
    assert await ids(school.tea, "?mine=1") == [one, two]
    assert await ids(school.max, "?state=draft,running") == [one, two]
    assert await ids(school.max, "?state=running") == []
    assert await ids(school.max, "?q=%E8%8B%B9%E6%9E%9C") == [one]
    assert await ids(api, f"?organization_id={school.id}") == [one, two]
    assert await ids(api, f"?organization_id={school.elsewhere}") == []
    assert (await api.get("/api/projects?state=nonsense")).fields == ["state"]


@pytest.mark.gen_test(timeout=60)
async def test_members_are_told_and_leave_by_themselves(school: School, ctx: Context) -> None:
    made = await school.propose(school.tea)
    at, stu = f"/api/projects/{made['id']}/members", await school.user_id("stu")
    put = (await school.tea.post(at, {"user_id": stu, "role": "lead"})).result
    assert (put["username"], put["role"]) == ("stu", "lead")
    assert (await school.tea.post(at, {"user_id": stu, "role": "member"})).result["role"] == "member"
    assert [one["role"] for one in (await school.stu.get(at)).result["items"]] == ["member"]
    told = sa.select(notifications.c.user_id).where(notifications.c.kind == "project.member")
    assert list(await ctx.sql.read(lambda connection: connection.execute(told).scalars().all())) == [stu, stu]
    text = (await school.stu.get("/api/notifications", headers={"Accept-Language": "en"})).result["items"][0]["text"]
    assert text == "You have been added to the project “Cold atoms” as member."
    assert (await school.stu.delete(f"{at}?user_id={stu}")).status == 200
    assert await school.see("stu", made) == 404
    assert (await school.tea.delete(f"{at}?user_id={stu}")).type == "project_member_not_found"
    assert (await school.tea.post(at, {"username": "nobody"})).fields == ["username"]
    assert (await school.tea.post(at, {})).fields == ["user_id"]


@pytest.mark.gen_test(timeout=60)
async def test_links_show_in_both_directions_to_those_who_see_both(school: School) -> None:
    mine, other = await school.propose(school.tea, "Mine"), await school.approved(school.tom, "Other")
    hidden = await school.propose(school.tom, "Hidden")
    at = f"/api/projects/{mine['id']}/links"
    assert (await school.tea.post(at, {"other_id": hidden["id"]})).fields == ["other_id"]
    assert (await school.tea.post(at, {"other_id": mine["id"]})).fields == ["other_id"]
    made = (await school.tea.post(at, {"other_id": other["id"], "kind": "follows"})).result["items"]
    assert [(one["other_id"], one["kind"], one["inbound"]) for one in made] == [(other["id"], "follows", False)]
    back = f"/api/projects/{other['id']}/links"
    assert [(one["title"], one["inbound"]) for one in (await school.tea.get(back)).result["items"]] == [("Mine", True)]
    assert (await school.tom.get(back)).result["items"] == []
    assert (await school.tea.delete(f"{at}?other_id={other['id']}")).result["items"] == []
    assert (await school.tea.delete(f"{at}?other_id={other['id']}")).type == "project_link_not_found"


@pytest.mark.gen_test(timeout=60)
async def test_tags_come_from_the_vocabulary_of_the_organization(school: School, api: Api) -> None:
    assert (await api.post("/api/tags", {"name": "激光", "organization_id": school.id})).status in (200, 201)
    made = await school.propose(school.tea, tags=["激光"])
    at = f"/api/projects/{made['id']}/tags"
    assert made["tags"] == ["激光"]
    assert await ids(school.tea, "?tag=%E6%BF%80%E5%85%89") == [made["id"]]
    assert (await school.tea.post(at, {"name": "unknown"})).fields == ["name"]
    assert (await school.tea.delete(f"{at}?name=%E6%BF%80%E5%85%89")).result["items"] == []
    assert [one["name"] for one in (await school.tea.post(at, {"name": "激光"})).result["items"]] == ["激光"]


@pytest.mark.gen_test(timeout=60)
async def test_who_reviews_blindly_does_not_learn_whose_it_is(school: School, ctx: Context) -> None:
    made = await school.approved(school.tea, "Blind one")
    rev, tea, now = await school.user_id("rev"), await school.user_id("tea"), ctx.clock.now()
    await school.max.post(f"/api/projects/{made['id']}/members", {"username": "stu"})

    def assign(connection: sa.Connection) -> None:
        values = {"name": "r", "organization_id": school.id, "rubric_id": 1, "rubric": {}, "state": "open", "blind": True}
        values |= {"reviews_per_project": 1, "load": 5, "conflict_years": 3, "revision": 0, "pool_version": 0, "created_at": now}
        round_id = connection.execute(rounds.insert().values(**values)).inserted_primary_key[0]
        row = {"round_id": round_id, "project_id": made["id"], "reviewer_id": rev, "state": "assigned", "scores": {}}
        connection.execute(reviews.insert().values(**row, assigned_at=now))

    await ctx.sql.write(assign)
    at = f"/api/projects/{made['id']}"
    seen = (await school.rev.get(at)).result
    assert (seen["blind"], seen["owner"], seen["owner_id"], seen["organization"], seen["organization_id"]) == (True, "", None, "", None)
    assert (await school.rev.get("/api/projects")).result["items"][0]["owner_id"] is None
    assert (await school.rev.get(f"{at}/members")).result["items"] == []
    history = (await school.rev.get(f"{at}/history")).result["items"]
    assert {(one["what"], one["actor"], one["user_id"]) for one in history} == {("transition", "", None)}
    for query in (f"?owner_id={tea}", f"?organization_id={school.id}", f"?member_id={await school.user_id('stu')}"):
        assert await ids(school.rev, query) == []
    assert (await school.tom.get(at)).result["owner"] == "tea"
    await ctx.sql.write(lambda connection: connection.execute(rounds.update().values(state="closed")))
    assert (await school.rev.get(at)).result["owner"] == "tea"


@pytest.mark.gen_test(timeout=60)
async def test_what_was_done_is_in_the_audit_log_and_in_the_days_counts(school: School, ctx: Context) -> None:
    made = await school.propose(school.tea)
    await school.act(school.tea, made, "submit")
    rows = sa.select(audit_log.c.action).where(audit_log.c.target == f"project:{made['id']}").order_by(audit_log.c.id)
    logged = list(await ctx.sql.read(lambda connection: connection.execute(rows).scalars().all()))
    assert logged == ["project.create", "project.submit", "project.review"]
    counted = await ctx.sql.read(lambda connection: connection.execute(sa.select(project_days)).all())
    assert {(row.state, row.entered, row.left) for row in counted} == {("draft", 1, 1), ("submitted", 1, 1), ("in_review", 1, 0)}


@pytest.mark.gen_test(timeout=60)
async def test_an_organization_with_projects_is_not_removed(school: School, api: Api) -> None:
    await school.propose(school.tea)
    assert "organization.left.projects" in CATALOGUE
    assert (await api.delete(f"/api/organizations/{school.id}")).status == 409


@pytest.mark.gen_test(timeout=60)
async def test_two_changes_at_once_do_not_overwrite_each_other(school: School, ctx: Context) -> None:
    import asyncio

    made = await school.propose(school.tea)
    at = f"/api/projects/{made['id']}"
    answers = await asyncio.gather(*(school.tea.patch(at, {"version": 1, "title": f"T{number}"}) for number in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    version = sa.select(projects.c.version)
    assert await ctx.sql.read(lambda connection: connection.execute(version).scalar_one()) == 2
    assert await ctx.sql.read(lambda connection: connection.execute(sa.select(organizations.c.id)).first()) is not None
