"""Student projects: offered where they are seen, opened and closed, listed, and what mentors have to do."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.people.organizations import OrganizationBody, OrganizationKind, create_organization
from server.platform.tables import audit_log
from server.scopes import system_actor
from tests.api.client import Api
from tests.api.people import user
from tests.api.projects.students import ROUTE, Students, ids, students

__all__ = ["students"]


@pytest.mark.gen_test(timeout=60)
async def test_an_opening_is_as_it_was_offered(students: Students) -> None:
    deadline = "2099-06-01T12:00:00Z"
    made = await students.offer(title=" Optics ", description="light", places=2, team_least=2, deadline=deadline)
    shown = (made["title"], made["state"], made["mentor"], made["organization"], made["places_taken"], made["accepting"], made["waiting"])
    assert shown == ("Optics", "open", "tea", "physics", 0, True, 0)
    assert (await students.tea.get(f"{ROUTE}/{made['id']}")).result == made
    seen = (await students.stu.get(f"{ROUTE}/{made['id']}")).result
    assert (seen["may_change"], seen["waiting"], seen["deadline"]) == (False, None, deadline)


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": " "}, "title"),
        ({"title": "x", "places": 0}, "places"),
        ({"title": "x", "team_least": 4, "team_most": 3}, "team_least"),
        ({"title": "x", "deadline": "2020-01-01T00:00:00Z"}, "deadline"),
        ({"title": "x", "deadline": "2099-01-01T00:00:00"}, "deadline"),
        ({"title": "x", "mentor_id": 99_999}, "mentor_id"),
        ({"title": "x", "organization_id": 99_999}, "organization_id"),
    ],
)
async def test_what_cannot_be_offered_is_refused_by_field(api: Api, body: dict[str, Any], field: str) -> None:
    assert (await api.post(ROUTE, body)).fields == [field]


@pytest.mark.gen_test(timeout=60)
async def test_teachers_offer_for_themselves_and_managers_for_anybody(students: Students) -> None:
    given = {"title": "x", "organization_id": students.id}
    assert (await students.stu.post(ROUTE, given)).status == 403
    assert (await students.out.post(ROUTE, given)).status == 403
    assert (await students.rev.post(ROUTE, given)).status == 403
    tom = await students.user_id("tom")
    assert (await students.tea.post(ROUTE, {**given, "mentor_id": tom})).status == 403
    made = (await students.max.post(ROUTE, {**given, "mentor_id": tom})).result
    assert made["mentor"] == "tom"
    assert (await students.tom.patch(f"{ROUTE}/{made['id']}", {"places": 3})).result["places"] == 3
    assert (await students.tom.patch(f"{ROUTE}/{made['id']}", {"mentor_id": await students.user_id("tea")})).status == 403
    for caller in (students.tea, students.stu):
        assert (await caller.patch(f"{ROUTE}/{made['id']}", {"places": 3})).status == 403
        assert (await caller.delete(f"{ROUTE}/{made['id']}")).status == 403


@pytest.mark.gen_test(timeout=60)
async def test_an_opening_is_seen_where_it_is_offered_and_below(students: Students, anonymous: Api, ctx: Context) -> None:
    async def place(name: str, parent_id: int) -> int:
        body = OrganizationBody(name=name, code=name, kind=OrganizationKind.DEPARTMENT, parent_id=parent_id)
        return (await create_organization(ctx, system_actor("test"), body)).id

    above = await place("faculty", 1)
    here = await place("department", above)
    below, beside = await place("class", here), await place("other", above)
    mentor = await user(ctx, anonymous, "mentor", "teacher", above)
    offered = {"title": "x", "organization_id": here}
    opening, draft = [(await mentor.post(ROUTE, {**offered, "state": state})).result["id"] for state in ("open", "draft")]
    places = {"above": above, "here": here, "below": below, "beside": beside}
    callers = {name: await user(ctx, anonymous, name, "student", organization_id) for name, organization_id in places.items()}
    for name, caller in callers.items():
        seen = name != "beside"
        assert (await caller.get(f"{ROUTE}/{opening}")).status == (200 if seen else 404), name
        assert (await caller.get(f"{ROUTE}/{draft}")).status == 404, name
        assert await ids(caller, ROUTE) == ([opening] if seen else []), name
    assert await ids(mentor, ROUTE) == [opening, draft]
    assert (await callers["beside"].post(f"{ROUTE}/{opening}/applications", {})).type == "opening_not_found"
    assert (await callers["here"].post(f"{ROUTE}/{draft}/applications", {})).type == "opening_not_found"
    manager = await user(ctx, anonymous, "manager", "organization_admin", here)
    assert await ids(manager, ROUTE) == [opening, draft]
    lower = await user(ctx, anonymous, "lower", "organization_admin", below)
    assert await ids(lower, ROUTE) == [opening]
    assert (await lower.patch(f"{ROUTE}/{opening}", {"places": 2})).status == 403


@pytest.mark.gen_test(timeout=60)
async def test_a_draft_is_opened_closed_and_opened_again(students: Students) -> None:
    made = await students.offer(state="draft")
    path = f"{ROUTE}/{made['id']}"
    assert (await students.tea.post(f"{path}/close")).type == "opening_state"
    assert (await students.stu.post(f"{path}/open")).status == 404
    assert (await students.tea.post(f"{path}/open")).result["accepting"] is True
    assert (await students.tea.post(f"{path}/open")).result["state"] == "open"
    closed = (await students.tea.post(f"{path}/close")).result
    assert (closed["state"], closed["accepting"]) == ("closed", False)
    assert (await students.stu.post(f"{path}/applications", {})).type == "opening_closed"
    await students.end(made)
    assert (await students.tea.post(f"{path}/open")).fields == ["deadline"]
    assert (await students.tea.patch(path, {"deadline": None})).status == 200
    assert (await students.tea.post(f"{path}/open")).result["state"] == "open"


@pytest.mark.gen_test(timeout=60)
async def test_an_opening_with_applications_is_closed_not_removed(students: Students) -> None:
    free, used = await students.offer(), await students.offer()
    application = await students.apply(used, students.stu)
    await students.answer(application, students.stu, "withdraw")
    assert (await students.tea.delete(f"{ROUTE}/{used['id']}")).type == "opening_in_use"
    assert (await students.tea.delete(f"{ROUTE}/{free['id']}")).status == 200
    assert (await students.tea.get(f"{ROUTE}/{free['id']}")).status == 404


@pytest.mark.gen_test(timeout=60)
async def test_mentors_are_listed_with_what_they_have_to_do(students: Students) -> None:
    opening = await students.offer(places=3)
    await students.offer(students.tom)
    for caller in (students.stu, students.ann):
        await students.decide(await students.apply(opening, caller), "accept")
    listed = (await students.max.get(f"{ROUTE}/mentors?limit=1")).result
    assert listed["total"] == 2
    tea, tom = listed["items"]
    counts = ("openings", "places", "places_taken", "projects", "running", "students", "above_limit")
    assert (tea["mentor"], [tea[name] for name in counts]) == ("tea", [1, 3, 2, 2, 0, 2, True])
    assert (tom["mentor"], [tom[name] for name in counts]) == ("tom", [1, 1, 0, 0, 0, 0, False])
    # A student sees the own project alone: drafts of others are nobody's business.
    seen = (await students.stu.get(f"{ROUTE}/mentors?sort=mentor")).result["items"]
    assert [(one["mentor"], one["projects"], one["above_limit"]) for one in seen] == [("tea", 1, False), ("tom", 0, False)]
    assert (await students.out.get(f"{ROUTE}/mentors")).result["items"] == []
    elsewhere = (await students.max.get(f"{ROUTE}/mentors?organization_id={students.elsewhere}")).result
    assert elsewhere["total"] == 0


@pytest.mark.gen_test(timeout=60)
async def test_lists_are_narrowed(students: Students) -> None:
    first, second = await students.offer(title="alpha"), await students.offer(students.tom, title="beta")
    await students.tom.post(f"{ROUTE}/{second['id']}/close")
    tom = await students.user_id("tom")
    for query, found in (("q=alp", first), ("state=closed", second), ("accepting=1", first), (f"mentor_id={tom}", second)):
        assert await ids(students.stu, f"{ROUTE}?{query}") == [found["id"]], query
    assert await ids(students.tea, f"{ROUTE}?mine=1") == [first["id"]]
    assert await ids(students.max, f"{ROUTE}?organization_id={students.elsewhere}") == []
    await students.decide(await students.apply(first, students.stu), "accept")
    assert await ids(students.stu, f"{ROUTE}?accepting=1") == []
    assert len(await ids(students.stu, f"{ROUTE}/applications?state=accepted")) == 1


@pytest.mark.gen_test(timeout=60)
async def test_what_happens_is_in_the_audit_log(students: Students) -> None:
    opening = await students.offer()
    application = await students.apply(opening, students.stu, "ann")
    await students.answer(application, students.ann, "join")
    await students.decide(application, "accept")
    wanted = sa.select(audit_log.c.action).where(audit_log.c.target.in_([f"opening:{opening['id']}", f"application:{application['id']}"]))
    noted = await students.ctx.sql.read(lambda connection: connection.execute(wanted.order_by(audit_log.c.id)).scalars().all())
    assert noted == ["opening.create", "application.create", "application.join", "application.accept"]
