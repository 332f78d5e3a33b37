"""Reviews: given, kept as drafts, declined; blind; and nobody sees others' scores before giving their own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from server.projects.tables import reviews, rounds
from tests.api.client import Api
from tests.api.projects.conftest import School
from tests.api.projects.judged import Judged

GOOD = {"scores": {"novelty": 8, "use": 4}, "comment": "good"}


async def two(school: School, anonymous: Api, **more: Any) -> tuple[Judged, int, dict[str, str]]:
    """A round of one project with reviews of ann and bob; the address of each one's."""
    judged = await Judged(school, anonymous).open(jurors=["ann", "bob"], projects=1)
    round_id = await judged.round(**more)
    made = await judged.assign(round_id)
    return judged, round_id, {judged.name_of(one["reviewer_id"]): f"/api/reviews/{one['review_id']}" for one in made["assignments"]}


async def revision(school: School, round_id: int) -> int:
    wanted = sa.select(rounds.c.revision).where(rounds.c.id == round_id)
    return int(await school.ctx.sql.read(lambda connection: connection.execute(wanted).scalar_one()))


@pytest.mark.gen_test(timeout=60)
async def test_scores_are_kept_as_a_draft_and_then_submitted(school: School, anonymous: Api) -> None:
    judged, round_id, at = await two(school, anonymous)
    ann = judged.jurors["ann"]
    seen = (await ann.get(at["ann"])).result
    assert (seen["state"], seen["total"], seen["scores"], seen["own"], seen["final"]) == ("assigned", None, {}, True, False)
    assert [one["name"] for one in seen["criteria"]] == ["novelty", "use"]
    assert (seen["project"]["title"], seen["project"]["summary"]) == ("Project 0", "of interest")
    before = await revision(school, round_id)
    draft = (await ann.put(at["ann"], {"scores": {"novelty": 8}, "submit": False})).result
    assert (draft["state"], draft["total"], draft["submitted_at"]) == ("draft", None, None)
    assert await revision(school, round_id) == before
    given = (await ann.put(at["ann"], GOOD)).result
    assert (given["state"], given["total"], given["comment"], given["scores"]) == ("submitted", 20, "good", {"novelty": 8, "use": 4})
    assert await revision(school, round_id) == before + 1
    again = (await ann.put(at["ann"], {**GOOD, "scores": {"novelty": 0, "use": 0.5}})).result
    assert (again["state"], again["total"]) == ("submitted", 0.5)
    assert await revision(school, round_id) == before + 2
    assert (await ann.put(at["ann"], {**GOOD, "submit": False})).type == "review_state"


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize(
    ("scores", "fields"),
    [
        ({"novelty": 8}, ["scores.use"]),
        ({}, ["scores.novelty", "scores.use"]),
        ({"novelty": 11, "use": 1}, ["scores.novelty"]),
        ({"novelty": -0.1, "use": 6}, ["scores.novelty", "scores.use"]),
        ({"novelty": 1, "use": 1, "beauty": 1}, ["scores.beauty"]),
    ],
)
async def test_scores_that_cannot_be_are_refused_by_name(
    school: School, anonymous: Api, scores: dict[str, float], fields: list[str]
) -> None:
    judged, _, at = await two(school, anonymous)
    assert (await judged.jurors["ann"].put(at["ann"], {"scores": scores})).fields == fields
    assert (await judged.jurors["ann"].get(at["ann"])).result["state"] == "assigned"


@pytest.mark.gen_test(timeout=60)
async def test_a_formula_makes_the_total(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann"], projects=1)
    criteria = [{"name": "idea"}, {"name": "work"}]
    made = await school.max.post("/api/rubrics", {"name": "f", "criteria": criteria, "formula": "min(idea, work) * 10"})
    await judged.assign(await judged.round(rubric_id=made.result["id"], reviews_per_project=1))
    review = (await judged.own("ann"))[0]["id"]
    given = (await judged.jurors["ann"].put(f"/api/reviews/{review}", {"scores": {"idea": 9, "work": 2.5}})).result
    assert given["total"] == 25


@pytest.mark.gen_test(timeout=60)
async def test_a_review_is_its_reviewers_alone(school: School, anonymous: Api) -> None:
    judged, _, at = await two(school, anonymous)
    for caller in (judged.jurors["bob"], school.rev, school.tea, school.out):
        assert [(await caller.get(at["ann"])).status, (await caller.get(at["ann"])).type] == [404, "review_not_found"]
    for caller in (judged.jurors["bob"], school.rev, school.tea, school.max):
        assert (await caller.put(at["ann"], GOOD)).status == 404
        assert (await caller.post(f"{at['ann']}/decline", {"reason": "x"})).status == 404
        assert (await caller.get(f"{at['ann']}/others")).status == 404
    assert (await school.stu.put(at["ann"], GOOD)).status == 403
    assert (await school.max.get(at["ann"])).result["own"] is False
    assert [one["id"] for one in (await school.tea.get("/api/reviews")).result["items"]] == []


@pytest.mark.gen_test(timeout=60)
async def test_others_are_seen_after_ones_own_which_is_final_then(school: School, anonymous: Api) -> None:
    judged, _, at = await two(school, anonymous)
    ann, bob = judged.jurors["ann"], judged.jurors["bob"]
    await bob.put(at["bob"], GOOD)
    refused = await ann.get(f"{at['ann']}/others")
    assert (refused.status, refused.type) == (409, "own_review_first")
    await ann.put(at["ann"], {"scores": {"novelty": 1}, "submit": False})
    assert (await ann.get(f"{at['ann']}/others")).type == "own_review_first"
    await ann.put(at["ann"], {"scores": {"novelty": 1, "use": 1}})
    seen = (await ann.get(f"{at['ann']}/others")).result
    assert [(one["scores"], one["total"], one["comment"]) for one in seen["items"]] == [(GOOD["scores"], 20, "good")]
    assert b"bob" not in msgspec.json.encode(seen)
    changed = await ann.put(at["ann"], GOOD)
    assert (changed.status, changed.type) == (409, "review_final")
    assert (await ann.get(at["ann"])).result["final"] is True
    assert (await bob.put(at["bob"], {"scores": {"novelty": 2, "use": 1}})).status == 200  # has not looked


@pytest.mark.gen_test(timeout=60)
async def test_a_manager_who_reviews_gives_their_own_first_too(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann"], projects=1)
    judged.ids["max"] = await school.user_id("max")
    round_id = await judged.round(conflict_depth=None)
    made = await judged.assign(round_id)
    at = {judged.name_of(one["reviewer_id"]): f"/api/reviews/{one['review_id']}" for one in made["assignments"]}
    await judged.jurors["ann"].put(at["ann"], GOOD)
    assert (await school.max.get(at["ann"])).type == "own_review_first"
    listed = (await school.max.get(f"/api/rounds/{round_id}/reviews")).result["items"]
    assert {one["reviewer"]: one["total"] for one in listed} == {"ann": None, "max": None}
    await school.max.put(at["max"], {"scores": {"novelty": 1, "use": 1}})
    assert (await school.max.get(at["ann"])).result["total"] == 20
    listed = (await school.max.get(f"/api/rounds/{round_id}/reviews")).result["items"]
    assert {one["reviewer"]: one["total"] for one in listed} == {"ann": 20, "max": 3}


@pytest.mark.gen_test(timeout=60)
async def test_a_blind_reviewer_learns_nowhere_whose_it_is(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann"], projects=1)
    round_id = await judged.round(blind=True, reviews_per_project=1)
    await judged.assign(round_id)
    ann, review = judged.jurors["ann"], (await judged.own("ann"))[0]
    seen = (await ann.get(f"/api/reviews/{review['id']}")).result
    assert seen["project"] | {"blind": True, "organization": "", "owner": ""} == seen["project"]
    answers = [
        await ann.get("/api/reviews"),
        await ann.get(f"/api/reviews/{review['id']}"),
        await ann.get(f"/api/rounds/{round_id}/preferences"),
        await ann.get(f"/api/projects/{review['project_id']}"),
        await ann.get("/api/projects"),
        await ann.put(f"/api/reviews/{review['id']}", GOOD),
    ]
    for answer in answers:
        assert answer.status == 200
        assert b'"tea"' not in answer.body
        assert b"physics" not in answer.body
    open_one = (await school.max.get(f"/api/reviews/{review['id']}")).result["project"]
    assert (open_one["owner"], open_one["organization"], open_one["blind"]) == ("tea", "physics", False)


@pytest.mark.gen_test(timeout=60)
async def test_who_declines_is_not_asked_again(school: School, anonymous: Api) -> None:
    judged, round_id, at = await two(school, anonymous)
    ann = judged.jurors["ann"]
    assert (await ann.post(f"{at['ann']}/decline", {"reason": " "})).fields == ["reason"]
    gone = (await ann.post(f"{at['ann']}/decline", {"reason": "no time"})).result
    assert (gone["state"], gone["comment"]) == ("declined", "no time")
    assert (await ann.post(f"{at['ann']}/decline", {"reason": "no time"})).type == "review_state"
    assert (await ann.put(at["ann"], GOOD)).type == "review_state"
    made = await judged.assign(round_id)
    assert [judged.name_of(one["reviewer_id"]) for one in made["assignments"]] == ["bob"]
    assert [(one["missing"], one["kinds"]) for one in made["refused"]] == [(1, []), (0, ["declined"])]
    assert (await ann.get("/api/reviews?state=declined")).result["total"] == 1
    assert (await ann.get("/api/reviews?state=assigned,draft")).result["total"] == 0
    assert (await ann.get("/api/reviews?state=lost")).fields == ["state"]
    unread = (await school.max.get("/api/notifications")).result["items"]
    assert [one["kind"] for one in unread if one["kind"].startswith("review")] == ["review.declined"]


@pytest.mark.gen_test(timeout=60)
async def test_a_conflict_that_is_found_late_takes_the_scores_away(school: School, anonymous: Api) -> None:
    judged, round_id, at = await two(school, anonymous)
    ann, project = judged.jurors["ann"], judged.projects[0]
    await ann.put(at["ann"], GOOD)
    before = await revision(school, round_id)
    assert (await ann.post(f"{at['ann']}/decline", {"reason": "no time"})).type == "review_state"
    gone = (await ann.post(f"{at['ann']}/decline", {"reason": "my cousin", "conflict": True})).result
    assert (gone["state"], gone["total"], gone["submitted_at"]) == ("declined", None, None)
    assert await revision(school, round_id) == before + 1
    found = (await school.max.get(f"/api/rounds/{round_id}/conflicts")).result["items"]
    assert [(one["project_id"], one["reviewer"], one["kinds"]) for one in found] == [(project, "ann", ["declared"])]


@pytest.mark.gen_test(timeout=60)
async def test_conflicts_are_declared_for_oneself_or_by_the_manager_and_taken_back(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann", "bob"], projects=1)
    round_id, project = await judged.round(), judged.projects[0]
    at, ann = f"/api/rounds/{round_id}/conflicts", judged.jurors["ann"]
    assert (await ann.post(at, {"project_id": project, "note": "cousin"})).status == 200
    assert (await ann.post(at, {"project_id": project, "note": "nephew"})).status == 200
    assert (await ann.post(at, {"project_id": 99_999})).fields == ["project_id"]
    assert (await ann.post(at, {"project_id": project, "user_id": judged.ids["bob"]})).status == 403
    assert (await school.max.post(at, {"project_id": project, "user_id": 1})).fields == ["user_id"]
    assert (await school.max.post(at, {"project_id": project, "user_id": judged.ids["bob"]})).status == 200
    wished = (await ann.get(f"/api/rounds/{round_id}/preferences")).result["items"]
    assert [one["declared"] for one in wished] == [True]
    assert (await judged.assign(round_id))["assignments"] == []
    assert (await ann.delete(f"{at}?project_id={project}")).status == 200
    assert (await ann.delete(f"{at}?project_id={project}")).type == "conflict_not_found"
    made = await judged.assign(round_id)
    assert [judged.name_of(one["reviewer_id"]) for one in made["assignments"]] == ["ann"]
    await ann.post(at, {"project_id": project})  # what was assigned is declined with it
    assert [one["state"] for one in await judged.own("ann")] == ["declined"]


@pytest.mark.gen_test(timeout=60)
async def test_of_two_submissions_at_once_one_total_stands(school: School, anonymous: Api) -> None:
    judged, round_id, at = await two(school, anonymous)
    ann = judged.jurors["ann"]
    first = ann.put(at["ann"], {"scores": {"novelty": 1, "use": 0}})
    second = ann.put(at["ann"], {"scores": {"novelty": 2, "use": 0}})
    assert [(await first).status, (await second).status] == [200, 200]
    wanted = sa.select(reviews.c.total, reviews.c.scores).where(reviews.c.round_id == round_id, reviews.c.reviewer_id == judged.ids["ann"])
    row = await school.ctx.sql.read(lambda connection: connection.execute(wanted).one())
    assert row.total == 2 * row.scores["novelty"]
