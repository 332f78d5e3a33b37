"""The states of projects: who may do what when, what is told, and that two at once count once."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from server.context import Context
from server.platform.tables import notifications
from server.projects.states import TRANSITIONS, Action
from server.projects.tables import project_history
from tests.api.client import Api
from tests.api.projects.conftest import School


async def offers(caller: Api, project: dict[str, int]) -> dict[str, str]:
    """Each action with why not, empty for those that the caller may do."""
    listed = (await caller.get(f"/api/projects/{project['id']}/actions", headers={"Accept-Language": "en"})).result["actions"]
    return {one["action"]: "" if one["allowed"] else one["why_not"] for one in listed}


@pytest.mark.gen_test(timeout=60)
async def test_a_project_goes_its_way_from_draft_to_archive(school: School) -> None:
    made = await school.propose(school.tea)
    assert (await school.act(school.tea, made, "submit"))["state"] == "in_review"
    await school.decide(made, "return", "more detail")
    assert (await school.act(school.tea, made, "submit"))["state"] == "in_review"
    await school.decide(made, "approve")
    assert (await school.act(school.tea, made, "start"))["state"] == "running"
    assert (await school.act(school.max, made, "complete"))["state"] == "completed"
    assert (await school.act(school.max, made, "archive", "done"))["state"] == "archived"
    entries = (await school.tea.get(f"/api/projects/{made['id']}/history?sort=id")).result["items"]
    assert [one["to_state"] for one in entries] == [
        "draft",
        "submitted",
        "in_review",
        "returned",
        "submitted",
        "in_review",
        "approved",
        "running",
        "completed",
        "archived",
    ]
    assert entries[-1]["comment"] == "done"
    assert (await school.max.patch(f"/api/projects/{made['id']}", {"title": "x"})).status == 403


@pytest.mark.gen_test(timeout=60)
async def test_a_withdrawn_one_becomes_a_draft_again(school: School) -> None:
    made = await school.propose(school.tea)
    await school.act(school.tea, made, "submit")
    assert (await school.act(school.tea, made, "withdraw"))["state"] == "withdrawn"
    assert (await school.act(school.tea, made, "reopen"))["state"] == "draft"


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize("action", ["review", "approve", "return", "reject"])
async def test_nobody_sets_by_hand_what_reviews_decide(school: School, api: Api, action: str) -> None:
    made = await school.propose(school.tea)
    await school.act(school.tea, made, "submit")
    for caller in (api, school.max, school.tea):
        refused = await caller.post(f"/api/projects/{made['id']}/transitions", {"action": action, "comment": "x"})
        assert (refused.status, refused.type) == (409, "decided_by_audits")
    refused = await school.rev.post(f"/api/projects/{made['id']}/transitions", {"action": action, "comment": "x"})
    assert (refused.status, refused.type) == (403, "forbidden")


@pytest.mark.gen_test(timeout=60)
async def test_an_action_of_another_state_is_a_conflict_and_says_so(school: School) -> None:
    made = await school.propose(school.tea)
    refused = await school.tea.post(f"/api/projects/{made['id']}/transitions", {"action": "start"}, headers={"Accept-Language": "en"})
    assert (refused.status, refused.type) == (409, "project_state")
    assert refused.envelope["message"] == "The project is a draft; it cannot be changed by “start” now."


@pytest.mark.gen_test(timeout=60)
async def test_who_may_not_is_told_why(school: School) -> None:
    made = await school.approved(school.tea)
    await school.max.post(f"/api/projects/{made['id']}/members", {"username": "stu"})
    assert (await school.stu.post(f"/api/projects/{made['id']}/transitions", {"action": "start"})).status == 403
    assert (await offers(school.stu, made))["start"] == (
        "Only who proposes or leads it, its mentor and who manages projects there may do this."
    )
    assert (await offers(school.tea, made))["start"] == ""
    assert (await offers(school.tea, made))["archive"] == "The project is approved; it cannot be changed by “archive” now."
    assert set(await offers(school.max, made)) == {action.value for action in Action}


@pytest.mark.gen_test(timeout=60)
async def test_every_pair_of_state_and_action_is_allowed_exactly_as_the_table_says(school: School, ctx: Context) -> None:
    from server.projects.states import ProjectState
    from server.projects.tables import projects

    made = await school.propose(school.tea)
    for state in ProjectState:
        values = {"state": state.value}
        await ctx.sql.write(lambda connection, values=values: connection.execute(projects.update().values(**values)))
        allowed = {name for name, why in (await offers(school.max, made)).items() if not why}
        by_hand = {action.value for action, one in TRANSITIONS.items() if state in one.sources and "manager" in one.who}
        assert allowed == by_hand, state


@pytest.mark.gen_test(timeout=60)
async def test_of_two_submissions_at_once_one_counts(school: School, ctx: Context) -> None:
    made = await school.propose(school.tea)
    at = f"/api/projects/{made['id']}/transitions"
    answers = await asyncio.gather(*(school.tea.post(at, {"action": "submit"}) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    entered = sa.select(sa.func.count()).select_from(project_history).where(project_history.c.to_state == "submitted")
    assert await ctx.sql.read(lambda connection: connection.execute(entered).scalar_one()) == 1


@pytest.mark.gen_test(timeout=60)
async def test_its_people_are_told_but_not_who_did_it(school: School, ctx: Context) -> None:
    made = await school.propose(school.tea)
    await school.tea.post(f"/api/projects/{made['id']}/members", {"username": "stu"})
    await school.act(school.tea, made, "submit")
    told = sa.select(notifications.c.user_id).where(notifications.c.kind == "project.transition")
    first = list(await ctx.sql.read(lambda connection: connection.execute(told).scalars().all()))
    assert first == [await school.user_id("stu")]
    await school.decide(made, "return", "more")
    text = (await school.tea.get("/api/notifications")).result["items"][0]["text"]
    assert text == "项目“Cold atoms”的状态变为：已退回。"


@pytest.mark.gen_test(timeout=60)
async def test_a_decision_against_it_must_be_explained(school: School) -> None:
    from server.errors import Invalid

    made = await school.propose(school.tea)
    await school.act(school.tea, made, "submit")
    for action in ("return", "reject"):
        with pytest.raises(Invalid) as refused:
            await school.decide(made, action, "  ")
        assert list(refused.value.fields) == ["comment"]
    assert (await school.tea.get(f"/api/projects/{made['id']}")).result["state"] == "in_review"


@pytest.mark.gen_test(timeout=60)
async def test_a_state_is_due_after_its_days_and_a_running_project_when_it_ends(school: School) -> None:
    made = await school.approved(school.tea, ends_on="2030-06-30")
    started = await school.act(school.tea, made, "start")
    assert started["due_at"].startswith("2030-06-30T15:59:59")
    moved = (await school.max.patch(f"/api/projects/{made['id']}", {"ends_on": "2030-07-01"})).result
    assert moved["due_at"].startswith("2030-07-01T15:59:59")
    assert (await school.act(school.max, made, "complete"))["due_at"] is None
