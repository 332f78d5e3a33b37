"""Milestones: planned, delivered, checked; the final one stands before the end of a project; reminders once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.context import Context
from server.platform.tables import notifications
from server.projects import student_reminders
from server.projects.tables import project_members, reviews, rounds
from tests.api.client import Answer, Api
from tests.api.projects.conftest import School


class Work:
    """A running student project of `stu` with the mentor `tea`, and its milestones."""

    def __init__(self, school: School, project: dict[str, Any]) -> None:
        self.school, self.project = school, project
        self.path = f"/api/projects/{project['id']}/milestones"

    async def set(self, caller: Api | None = None, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = (await (caller or self.school.tea).post(self.path, {"title": "Report", **more})).result
        return made

    async def deliver(self, milestone: dict[str, Any], caller: Api | None = None, **given: Any) -> Answer:
        return await (caller or self.school.stu).post(f"{self.path}/{milestone['id']}/deliver", given or {"note": "here it is"})

    async def check(self, milestone: dict[str, Any], decision: str, caller: Api | None = None, **more: Any) -> Answer:
        return await (caller or self.school.tea).post(f"{self.path}/{milestone['id']}/check", {"decision": decision, **more})


async def with_mentor(school: School, project: dict[str, Any], mentor: str = "tea") -> dict[str, Any]:
    values = {"project_id": project["id"], "user_id": await school.user_id(mentor), "role": "mentor", "created_at": school.ctx.clock.now()}
    await school.ctx.sql.write(lambda connection: connection.execute(project_members.insert().values(**values)))
    return project


async def running(school: School) -> Work:
    project = await with_mentor(school, await school.approved(school.stu, "Laser", kind="student"))
    await school.act(school.stu, project, "start")
    return Work(school, project)


async def told(school: School, name: str) -> list[str]:
    wanted = sa.select(notifications.c.kind).where(notifications.c.user_id == await school.user_id(name)).order_by(notifications.c.id)
    return list(await school.ctx.sql.read(lambda connection: connection.execute(wanted).scalars().all()))


async def uploaded(api: Api, content: bytes = b"%PDF-1.4 x") -> int:
    boundary = "boundary"
    parts = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="report.pdf"\r\nContent-Type: application/pdf\r\n\r\n'
    body = parts.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return int((await api.post("/api/documents", body=body, headers=headers)).result["document_id"])


@pytest.mark.gen_test(timeout=60)
async def test_milestones_come_in_the_order_they_are_due(school: School) -> None:
    work = await running(school)
    late = await work.set(due_at="2099-02-01T00:00:00Z", kind="final")
    never, soon = await work.set(), await work.set(due_at="2099-01-01T00:00:00Z", kind="midterm")
    listed = (await school.stu.get(work.path)).result
    assert [one["id"] for one in listed["items"]] == [soon["id"], late["id"], never["id"]]
    assert (listed["total"], listed["may_plan"]) == (3, [])
    assert (await school.tea.get(work.path)).result["may_plan"] == ["delivery", "midterm", "final"]
    assert (await school.out.get(work.path)).status == 404


@pytest.mark.gen_test(timeout=60)
async def test_students_plan_deliveries_of_a_draft_and_mentors_everything_until_the_end(school: School) -> None:
    project = await with_mentor(school, await school.propose(school.stu, kind="student"))
    work = Work(school, project)
    own, final = await work.set(school.stu), await work.set(kind="final")
    for kind in ("midterm", "final"):
        assert (await school.stu.post(work.path, {"title": "x", "kind": kind})).status == 403
    assert (await school.stu.patch(f"{work.path}/{own['id']}", {"kind": "final"})).status == 403
    assert (await school.stu.delete(f"{work.path}/{final['id']}")).status == 403
    changed = (await school.stu.patch(f"{work.path}/{own['id']}", {"title": " Plan ", "due_at": "2099-01-01T00:00:00Z"})).result
    assert (changed["title"], changed["due_at"], changed["state"]) == ("Plan", "2099-01-01T00:00:00Z", "open")
    await school.act(school.stu, project, "submit")
    assert (await school.stu.delete(f"{work.path}/{own['id']}")).status == 403
    assert (await school.stu.post(work.path, {"title": "x"})).status == 403
    assert (await school.tea.delete(f"{work.path}/{own['id']}")).status == 200
    assert (await school.max.patch(f"{work.path}/{final['id']}", {"title": "End"})).result["title"] == "End"
    assert (await school.tea.patch(f"{work.path}/{own['id']}", {})).type == "milestone_not_found"
    await school.act(school.stu, project, "withdraw")
    assert (await school.tea.post(work.path, {"title": "x"})).type == "milestones_fixed"
    assert (await school.max.delete(f"{work.path}/{final['id']}")).type == "milestones_fixed"
    assert (await school.stu.post(work.path, {"title": "x"})).status == 403


@pytest.mark.gen_test(timeout=60)
async def test_a_milestone_is_delivered_returned_delivered_again_and_passed(school: School) -> None:
    work = await running(school)
    milestone = await work.set()
    assert (await work.check(milestone, "pass")).type == "milestone_state"
    delivered = (await work.deliver(milestone)).result
    assert (delivered["state"], delivered["note"], delivered["late"], delivered["may_check"]) == ("delivered", "here it is", False, False)
    assert (await work.check(milestone, "return")).fields == ["comment"]
    returned = (await work.check(milestone, "return", comment="more")).result
    assert (returned["state"], returned["comment"], returned["checker"]) == ("returned", "more", "tea")
    assert (await work.deliver(milestone, note="more of it")).result["state"] == "delivered"
    stale = await work.check(milestone, "pass", delivered_at=delivered["delivered_at"])
    assert stale.type == "delivered_again"
    assert (await work.check(milestone, "pass")).result["state"] == "passed"
    assert (await work.deliver(milestone)).status == 409
    assert (await work.check(milestone, "return", comment="no")).type == "milestone_state"
    assert (await school.tea.patch(f"{work.path}/{milestone['id']}", {"title": "x"})).type == "milestone_state"
    assert (await school.tea.delete(f"{work.path}/{milestone['id']}")).type == "milestone_state"
    kinds = [one for one in await told(school, "stu") if one.startswith("milestone")]
    assert kinds == 2 * ["milestone.checked"]
    assert [one for one in await told(school, "tea") if one.startswith("milestone")] == 2 * ["milestone.delivered"]
    history = (await school.stu.get(f"/api/projects/{work.project['id']}/history")).result["items"]
    assert [one["action"] for one in history if one["what"] == "milestone"] == ["pass", "deliver", "return", "deliver", "create"]


@pytest.mark.gen_test(timeout=60)
async def test_who_works_delivers_and_who_guides_checks(school: School) -> None:
    work = await running(school)
    milestone = await work.set()
    for caller in (school.tea, school.max, school.tom):
        assert (await work.deliver(milestone, caller)).status == 403
    await work.deliver(milestone)
    for caller in (school.stu, school.tom):
        assert (await work.check(milestone, "pass", caller)).status == 403
    assert (await work.check(milestone, "pass", school.out)).status == 404
    assert (await work.check(milestone, "pass", school.max)).result["state"] == "passed"


@pytest.mark.gen_test(timeout=60)
async def test_nobody_checks_their_own_work(school: School) -> None:
    project = await school.approved(school.max)
    work = Work(school, project)
    milestone = await work.set(school.max, kind="final")
    await work.deliver(milestone, school.max)
    assert (await work.check(milestone, "pass", school.max)).type == "own_milestone"


@pytest.mark.gen_test(timeout=60)
async def test_deliveries_belong_to_projects_at_work(school: School) -> None:
    project = await with_mentor(school, await school.propose(school.stu, kind="student"))
    work = Work(school, project)
    milestone = await work.set()
    assert (await work.deliver(milestone)).type == "project_not_at_work"
    assert (await work.check(milestone, "pass")).type == "project_not_at_work"
    assert (await work.deliver(milestone, note=" ")).fields == ["document_id"]


@pytest.mark.gen_test(timeout=60)
async def test_a_delivered_document_is_attached_and_readable_to_the_mentor(school: School) -> None:
    work = await running(school)
    milestone, document = await work.set(), await uploaded(school.stu)
    foreign = await uploaded(school.out, b"%PDF-1.4 y")
    assert (await work.deliver(milestone, document_id=foreign)).fields == ["document_id"]
    assert (await work.deliver(milestone, document_id=document)).result["document_id"] == document
    attached = (await school.tea.get(f"/api/projects/{work.project['id']}/attachments")).result["items"]
    assert [(one["document_id"], one["purpose"], one["readable"]) for one in attached] == [(document, "delivery", True)]
    assert (await school.tea.get(f"/api/documents/{document}")).status == 200


@pytest.mark.gen_test(timeout=60)
async def test_a_project_ends_once_its_final_checks_are_passed(school: School) -> None:
    work = await running(school)
    final = await work.set(kind="final", title="Defence")
    await work.set()
    ended = f"/api/projects/{work.project['id']}/transitions"
    refused = await school.tea.post(ended, {"action": "complete"})
    assert (refused.type, "Defence" in refused.envelope["message"]) == ("finals_open", True)
    await work.deliver(final)
    assert (await school.tea.post(ended, {"action": "complete"})).type == "finals_open"
    await work.check(final, "pass")
    assert (await school.tea.post(ended, {"action": "complete"})).result["state"] == "completed"
    assert (await school.tea.post(work.path, {"title": "too late"})).type == "milestones_fixed"


@pytest.mark.gen_test(timeout=60)
async def test_one_of_two_checks_at_once_counts(school: School) -> None:
    work = await running(school)
    milestone = await work.set()
    await work.deliver(milestone)
    answers = await asyncio.gather(
        work.check(milestone, "pass"), work.check(milestone, "return", school.max, comment="no"), work.check(milestone, "pass", school.max)
    )
    assert sorted(answer.status for answer in answers) == [200, 409, 409]


@pytest.mark.gen_test(timeout=60)
async def test_a_blind_reviewer_sees_the_plan_but_not_the_people(school: School) -> None:
    work = await running(school)
    milestone = await work.set()
    await work.deliver(milestone, note="by stu")
    await work.check(milestone, "return", comment="dear stu")
    now, reviewer = school.ctx.clock.now(), await school.user_id("rev")
    values = {"name": "r", "organization_id": school.id, "rubric_id": 1, "rubric": {}, "state": "open", "blind": True, "load": 9}
    numbers = {"reviews_per_project": 1, "conflict_years": 0, "revision": 0, "pool_version": 0, "created_at": now}

    def transaction(connection: sa.Connection) -> None:
        made = connection.execute(rounds.insert().values(**values, **numbers)).inserted_primary_key
        assert made
        review = {"round_id": made[0], "project_id": work.project["id"], "reviewer_id": reviewer, "state": "assigned", "scores": {}}
        connection.execute(reviews.insert().values(**review, assigned_at=now))

    await school.ctx.sql.write(transaction)
    (seen,) = (await school.rev.get(work.path)).result["items"]
    assert (seen["title"], seen["state"]) == ("Report", "returned")
    assert [seen[name] for name in ("note", "comment", "checked_by", "checker")] == [None, None, None, ""]


class TestReminders:
    @pytest.fixture
    def clock(self) -> HeldClock:
        return HeldClock()

    @pytest.mark.gen_test(timeout=60)
    async def test_each_is_sent_once_to_each_until_it_is_delivered(self, school: School, ctx: Context, clock: HeldClock) -> None:
        work = await running(school)
        due = clock.now() + timedelta(days=10)
        await work.set(due_at=due.isoformat())
        sent = []
        for _ in range(20):
            sent += [await student_reminders.remind_of_milestones(ctx), await student_reminders.remind_of_milestones(ctx)]
            clock.advance(days=1)
        assert sum(sent) == 4
        for name in ("stu", "tea"):
            assert (await told(school, name)).count("milestone.due") == 4

    @pytest.mark.gen_test(timeout=60)
    async def test_what_is_delivered_or_not_at_work_is_not_reminded_of(self, school: School, ctx: Context, clock: HeldClock) -> None:
        work = await running(school)
        draft = Work(school, await with_mentor(school, await school.propose(school.stu, kind="student")))
        due = (clock.now() + timedelta(days=1, minutes=1)).isoformat()
        milestone = await work.set(due_at=due)
        await draft.set(due_at=due)
        await work.deliver(milestone)
        clock.advance(minutes=2)
        assert await student_reminders.remind_of_milestones(ctx) == 0
        assert (await work.check(milestone, "return", comment="more")).status == 200
        assert await student_reminders.remind_of_milestones(ctx) == 1
