"""Applying for student projects: teams, deadlines, and decisions within the places."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from server.messages.catalogue import CATALOGUE
from server.people.tables import users
from server.projects import student_reminders
from tests.api.people import user
from tests.api.projects.conftest import School
from tests.api.projects.students import ROUTE, Students, ids, students

__all__ = ["students"]


@pytest.mark.gen_test(timeout=60)
async def test_an_accepted_application_becomes_a_draft_with_its_team_and_mentor(students: Students) -> None:
    opening = await students.offer(description="light", team_least=2)
    application = await students.apply(opening, students.stu, "ann", "ben")
    assert (application["state"], application["complete"], application["size"]) == ("submitted", False, 1)
    assert (await students.decide(application, "accept")).type == "team_incomplete"
    await students.answer(application, students.ann, "join")
    assert (await students.answer(application, students.ben, "refuse")).result["complete"] is True
    accepted = (await students.decide(application, "accept", comment="good")).result
    assert (accepted["state"], accepted["comment"], accepted["decided_by"]) == ("accepted", "good", await students.user_id("tea"))
    project = (await students.stu.get(f"/api/projects/{accepted['project_id']}")).result
    shown = (project["kind"], project["state"], project["title"], project["owner"], project["opening_id"], project["relations"])
    assert shown == ("student", "draft", "Build a laser", "stu", opening["id"], ["proposer"])
    assert (project["summary"], project["fields"]) == ("light", {"statement": "because"})
    members = (await students.ann.get(f"/api/projects/{project['id']}/members")).result["items"]
    assert {one["username"]: one["role"] for one in members} == {"stu": "lead", "ann": "member", "tea": "mentor"}
    assert (await students.ben.get(f"/api/projects/{project['id']}")).status == 404
    assert (await students.tea.get(f"{ROUTE}/{opening['id']}")).result["places_taken"] == 1


@pytest.mark.gen_test(timeout=60)
async def test_everyone_is_told(students: Students) -> None:
    opening = await students.offer()
    application = await students.apply(opening, students.stu, "ann", "ben")
    assert await students.told("tea") == ["application.received"]
    assert await students.told("ann") == ["application.invited"]
    await students.answer(application, students.ann, "join")
    await students.answer(application, students.ben, "refuse")
    assert await students.told("stu") == 2 * ["application.answered"]
    await students.decide(application, "accept")
    for name in ("stu", "ann"):
        assert sorted((await students.told(name))[-2:]) == ["application.decided", "project.member"]
    assert await students.told("ben") == ["application.invited"]
    said = [one["text"] for one in (await students.stu.get("/api/notifications", headers={"Accept-Language": "en"})).result["items"]]
    assert "Your application for “Build a laser”: accepted." in said
    assert "“Build a laser”: ann has joined the team." in said


@pytest.mark.gen_test(timeout=60)
async def test_two_decisions_at_once_never_exceed_the_places(students: Students) -> None:
    opening = await students.offer(places=2)
    sent = [await students.apply(opening, caller) for caller in (students.stu, students.ann, students.ben, students.cem)]
    answers = await asyncio.gather(*(students.decide(one, "accept", caller) for one in sent for caller in (students.tea, students.max)))
    assert sum(answer.status == 200 for answer in answers) == 2
    assert {answer.type for answer in answers if answer.status != 200} <= {"opening_full", "application_state"}
    after = (await students.tea.get(f"{ROUTE}/{opening['id']}")).result
    assert (after["places_taken"], after["accepting"], after["waiting"]) == (2, False, 2)
    made = (await students.max.get("/api/projects?kind=student")).result["items"]
    assert len(made) == 2
    late = await user(students.ctx, students._anonymous, "late", "student", students.id)
    assert (await late.post(f"{ROUTE}/{opening['id']}/applications", {})).type == "opening_full"
    assert (await students.tea.patch(f"{ROUTE}/{opening['id']}", {"places": 1})).fields == ["places"]


@pytest.mark.gen_test(timeout=60)
async def test_the_same_application_sent_twice_at_once_is_one(students: Students) -> None:
    opening = await students.offer()
    path = f"{ROUTE}/{opening['id']}/applications"
    answers = await asyncio.gather(*(students.stu.post(path, {"statement": "x"}) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    assert {answer.type for answer in answers if answer.status == 409} == {"applied_already"}


@pytest.mark.gen_test(timeout=60)
async def test_nobody_applies_joins_or_changes_after_the_deadline(students: Students) -> None:
    opening = await students.offer()
    application = await students.apply(opening, students.stu, "ann")
    await students.end(opening)
    assert (await students.ben.post(f"{ROUTE}/{opening['id']}/applications", {})).type == "opening_closed"
    assert (await students.answer(application, students.ann, "join")).type == "opening_closed"
    path = f"{ROUTE}/applications/{application['id']}"
    assert (await students.stu.patch(path, {"statement": "late"})).type == "opening_closed"
    assert (await students.answer(application, students.ann, "refuse")).status == 200
    assert (await students.decide(application, "accept")).result["state"] == "accepted"


@pytest.mark.gen_test(timeout=60)
async def test_what_is_undecided_at_the_deadline_is_listed_and_its_mentor_reminded_once(students: Students) -> None:
    opening, other = await students.offer(), await students.offer()
    application = await students.apply(opening, students.stu)
    await students.apply(other, students.stu)
    listed = f"{ROUTE}/applications?undecided=1"
    assert await ids(students.tea, listed) == []
    await students.end(opening, ago=timedelta(days=1, minutes=1))
    assert await ids(students.tea, listed) == [application["id"]]
    assert await ids(students.max, f"{ROUTE}?undecided=1") == [opening["id"]]
    assert await ids(students.stu, f"{ROUTE}?undecided=1") == []
    assert [await student_reminders.remind_of_openings(students.ctx) for _ in range(2)] == [1, 0]
    assert (await students.told("tea"))[-1] == "application.waiting"
    await students.decide(application, "decline", comment="no time")
    assert await ids(students.tea, listed) == []


@pytest.mark.gen_test(timeout=60)
async def test_applications_are_seen_by_who_is_in_them_and_who_decides(students: Students) -> None:
    opening = await students.offer()
    application = await students.apply(opening, students.stu, "ann")
    path, mine = f"{ROUTE}/applications/{application['id']}", f"{ROUTE}/{opening['id']}/applications"
    for caller, seen in ((students.stu, 1), (students.ann, 1), (students.tea, 1), (students.max, 1), (students.ben, 0), (students.tom, 0)):
        assert (await caller.get(path)).status == (200 if seen else 404)
        assert len(await ids(caller, mine)) == seen
        assert len(await ids(caller, f"{ROUTE}/applications")) == seen
    for verb in ("join", "refuse", "withdraw"):
        assert (await students.answer(application, students.ben, verb)).type == "application_not_found"
    assert (await students.decide(application, "accept", students.ben)).type == "application_not_found"
    for caller in (students.stu, students.ann):
        assert (await students.decide(application, "accept", caller)).status == 403
    assert (await students.answer(application, students.ann, "withdraw")).status == 403
    await students.answer(application, students.ann, "refuse")
    assert (await students.ann.get(path)).status == 404
    assert (await students.out.get(mine)).type == "opening_not_found"


@pytest.mark.gen_test(timeout=60)
async def test_one_is_in_one_team_of_an_opening(students: Students) -> None:
    opening = await students.offer()
    first = await students.apply(opening, students.stu, "cem")
    second = await students.apply(opening, students.ann, "cem", "stu")
    assert (await students.answer(second, students.stu, "join")).type == "in_another_team"
    answers = await asyncio.gather(*(students.answer(one, students.cem, "join") for one in (first, second)))
    assert sorted(answer.status for answer in answers) == [200, 409]
    joined = first if answers[0].status == 200 else second
    assert (await students.cem.post(f"{ROUTE}/{opening['id']}/applications", {})).type == "in_another_team"
    assert (await students.answer(joined, students.cem, "join")).type == "not_invited"
    assert (await students.answer(joined, students.cem, "refuse")).status == 200
    assert (await students.cem.post(f"{ROUTE}/{opening['id']}/applications", {})).status == 200


@pytest.mark.gen_test(timeout=60)
async def test_the_applicant_builds_the_team(students: Students) -> None:
    opening = await students.offer(team_least=2, team_most=2)
    application = await students.apply(opening, students.stu, "ann")
    path = f"{ROUTE}/applications/{application['id']}"
    assert (await students.stu.patch(path, {"usernames": ["ben"]})).fields == ["usernames"]
    assert (await students.stu.patch(path, {"usernames": ["nobody at all"]})).fields == ["usernames"]
    assert (await students.stu.patch(path, {"team": [await students.user_id("tea")]})).fields == ["team"]
    assert (await students.ann.patch(path, {"statement": "mine"})).status == 403
    await students.answer(application, students.ann, "refuse")
    ben = await students.user_id("ben")
    changed = (await students.stu.patch(path, {"usernames": ["ben"], "statement": "better"})).result
    assert (changed["statement"], {one["username"]: one["state"] for one in changed["team"]}) == (
        "better",
        {"ann": "refused", "ben": "invited"},
    )
    assert (await students.stu.patch(path, {"drop": [ben], "usernames": ["ann"]})).result["team"][0]["state"] == "invited"
    assert (await students.answer(application, students.ben, "join")).status == 404
    assert (await students.answer(application, students.ann, "join")).result["complete"] is True


@pytest.mark.gen_test(timeout=60)
async def test_what_is_decided_or_withdrawn_stays(students: Students) -> None:
    opening = await students.offer()
    first = await students.apply(opening, students.stu)
    assert (await students.answer(first, students.stu, "withdraw")).result["state"] == "withdrawn"
    assert (await students.told("tea"))[-1] == "application.answered"
    assert (await students.decide(first, "accept")).type == "application_state"
    again = await students.apply(opening, students.stu)
    declined = (await students.decide(again, "decline", comment="full")).result
    assert (declined["state"], declined["comment"], declined["project_id"]) == ("declined", "full", None)
    assert (await students.decide(again, "accept")).type == "application_state"
    assert (await students.answer(again, students.stu, "withdraw")).type == "application_state"
    assert (await students.stu.post(f"{ROUTE}/{opening['id']}/applications", {})).type == "applied_already"


@pytest.mark.gen_test(timeout=60)
async def test_nobody_decides_on_their_own_team(students: Students) -> None:
    assert (await students.tea.post(f"{ROUTE}/{(await students.offer())['id']}/applications", {})).type == "own_application"
    opening = await students.offer()
    application = await students.apply(opening, students.max)
    assert (await students.decide(application, "accept", students.max)).type == "own_application"
    assert (await students.decide(application, "accept", students.tea)).status == 200


@pytest.mark.gen_test(timeout=60)
async def test_a_team_with_a_disabled_account_is_not_accepted(students: Students) -> None:
    opening = await students.offer()
    application = await students.apply(opening, students.stu, "ann")
    await students.answer(application, students.ann, "join")
    disabled = users.update().where(users.c.username == "ann").values(state="disabled")
    await students.ctx.sql.write(lambda connection: connection.execute(disabled))
    refused = await students.decide(application, "accept")
    assert refused.type == "team_incomplete"
    assert CATALOGUE["application.gap.away"][0] in refused.envelope["message"]


@pytest.mark.gen_test(timeout=60)
async def test_a_place_of_which_nothing_came_is_free_again(students: Students) -> None:
    opening = await students.offer()
    accepted = (await students.decide(await students.apply(opening, students.stu), "accept")).result
    for caller in (students.stu, students.tea):
        assert (await students.answer(accepted, caller, "withdraw")).status in (403, 409)
    assert (await students.stu.delete(f"/api/projects/{accepted['project_id']}")).status == 200
    assert (await students.stu.get(f"{ROUTE}/applications/{accepted['id']}")).result["project_id"] is None
    assert (await students.ann.post(f"{ROUTE}/{opening['id']}/applications", {})).type == "opening_full"
    assert (await students.answer(accepted, students.tea, "withdraw")).result["state"] == "withdrawn"
    assert (await students.told("stu"))[-1] == "application.decided"
    again = (await students.decide(await students.apply(opening, students.stu), "accept")).result
    await students.act(students.stu, again["project_id"], "submit")
    await School.decide(students, again["project_id"], "reject")
    assert (await students.answer(again, students.stu, "withdraw")).result["state"] == "withdrawn"
    assert (await students.tea.get(f"{ROUTE}/{opening['id']}")).result["places_taken"] == 0
