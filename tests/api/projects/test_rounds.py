"""Rounds: put together, checked for conflicts, assigned, opened and closed."""

from __future__ import annotations

import functools
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import scores
from server.context import Context
from server.people.organization_tree import attach
from server.people.tables import organizations
from server.platform.tables import notifications, tasks
from server.projects.tables import projects, reviews, rounds
from tests.api.client import Api
from tests.api.people import organization, user
from tests.api.projects.conftest import School
from tests.api.projects.judged import Judged


async def told(ctx: Context, kind: str) -> list[tuple[int, dict[str, Any]]]:
    wanted = sa.select(notifications.c.user_id, notifications.c.params).where(notifications.c.kind == kind).order_by(notifications.c.id)
    return await ctx.sql.read(lambda connection: [(row.user_id, row.params) for row in connection.execute(wanted)])


async def conflicts(judged: Judged, round_id: int, query: str = "") -> dict[tuple[int, str], list[str]]:
    items = (await judged.school.max.get(f"/api/rounds/{round_id}/conflicts?page_size=200{query}")).result["items"]
    assert all(one["reason"] and one["title"] for one in items)
    return {(one["project_id"], one["reviewer"]): one["kinds"] for one in items}


@pytest.mark.gen_test(timeout=60)
async def test_a_round_is_put_together_and_changed(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open()
    round_id = await judged.round(loads={str(judged.ids["ann"]): 1}, load=5, due_at="2030-05-01T12:00:00Z")
    at = f"/api/rounds/{round_id}"
    made = (await school.max.get(at)).result
    assert (made["state"], made["manages"], made["reviews"], made["organization_id"]) == ("draft", True, False, school.id)
    assert (made["project_ids"], made["reviewer_ids"]) == (judged.projects, sorted(judged.ids.values()))
    assert (made["load"], made["loads"], made["conflict_years"], made["conflict_depth"]) == (5, {str(judged.ids["ann"]): 1}, 3, 0)
    assert made["due_at"] == "2030-05-01T12:00:00Z"
    assert made["rubric"]["criteria"][0]["name"] == "novelty"
    changed = (await school.max.patch(at, {"name": "Autumn", "project_ids": judged.projects[:1], "load": None, "blind": True})).result
    assert (changed["name"], changed["project_ids"], changed["load"], changed["blind"]) == ("Autumn", judged.projects[:1], None, True)
    assert changed["revision"] > made["revision"]
    assert [one["id"] for one in (await school.max.get("/api/rounds?state=draft")).result["items"]] == [round_id]
    assert (await school.max.delete(at)).status == 200
    assert (await school.max.get(at)).type == "round_not_found"


@pytest.mark.gen_test(timeout=60)
async def test_the_pool_takes_only_whom_and_what_it_can(ctx: Context, school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann"], projects=1)
    foreign = (await school.out.post("/api/projects", {"title": "x"})).result["id"]
    rubric = (await school.max.post("/api/rubrics", {"name": "m", "criteria": [{"name": "a"}]})).result["id"]
    student, body = await school.user_id("stu"), {"name": "r", "rubric_id": rubric}
    assert (await school.max.post("/api/rounds", {**body, "project_ids": [foreign]})).fields == ["project_ids"]
    assert (await school.max.post("/api/rounds", {**body, "reviewer_ids": [99_999]})).fields == ["reviewer_ids"]
    assert (await school.max.post("/api/rounds", {**body, "reviewer_ids": [student]})).fields == ["reviewer_ids"]
    assert (await school.max.post("/api/rounds", {**body, "loads": {str(student): 1}})).fields == ["loads"]
    assert (await school.max.post("/api/rounds", {**body, "reviews_per_project": 0})).fields == ["reviews_per_project"]
    assert (await school.max.post("/api/rounds", {**body, "organization_id": school.elsewhere})).status == 403
    assert (await school.tea.post("/api/rounds", body)).status == 403
    assert (
        await school.max.post("/api/rounds", {**body, "reviewer_ids": [judged.ids["ann"]], "project_ids": judged.projects})
    ).status == 200


@pytest.mark.gen_test(timeout=60)
async def test_strangers_know_of_no_round(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open()
    round_id = await judged.round()
    at = f"/api/rounds/{round_id}"
    other = await user(school.ctx, anonymous, "ono", "organization_admin", school.elsewhere)
    answers = [
        await other.get(at),
        await other.patch(at, {"name": "mine"}),
        await other.delete(at),
        await other.post(f"{at}/open"),
        await other.post(f"{at}/close"),
        await other.post(f"{at}/assign", {}),
        await other.post(f"{at}/reviews", {"project_id": 1, "reviewer_id": 1}),
        await other.delete(f"{at}/reviews/1"),
        await other.post(f"{at}/conflicts", {"project_id": 1}),
        await other.delete(f"{at}/conflicts?project_id=1"),
        await other.put(f"{at}/preferences", {"wishes": []}),
        *[await other.get(f"{at}/{part}") for part in ("conflicts", "preferences", "reviewers", "reviews", "assign")],
    ]
    assert [(answer.status, answer.type) for answer in answers] == len(answers) * [(404, "round_not_found")]
    assert (await other.get("/api/rounds")).result["total"] == 0
    assert (await school.stu.get("/api/rounds")).result["total"] == 0
    assert (await school.tea.get(f"{at}/conflicts")).status == 403


@pytest.mark.gen_test(timeout=60)
async def test_a_reviewer_sees_the_round_without_its_pool(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open()
    round_id = await judged.round()
    seen = (await judged.jurors["ann"].get(f"/api/rounds/{round_id}")).result
    assert (seen["manages"], seen["reviews"]) == (False, True)
    assert [seen[name] for name in ("project_ids", "reviewer_ids", "progress", "load", "loads", "conflict_depth")] == 6 * [None]
    listed = (await judged.jurors["ann"].get("/api/rounds")).result["items"]
    assert [(one["id"], one["manages"], one["reviews"]) for one in listed] == [(round_id, False, True)]


@pytest.mark.gen_test(timeout=60)
async def test_every_project_gets_its_reviews_and_reviewers_are_told(ctx: Context, school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(projects=3)
    round_id = await judged.round()
    made = await judged.assign(round_id)
    assert made["state"] == "open"
    assert made["refused"] == []
    assert Counter(one["project_id"] for one in made["assignments"]) == Counter(dict.fromkeys(judged.projects, 2))
    assert Counter(one["reviewer_id"] for one in made["assignments"]) == Counter(dict.fromkeys(judged.ids.values(), 2))
    assert await judged.assign(round_id) == made  # nothing is missing, so nothing moves
    assert sorted(await told(ctx, "review.assigned")) == [(one, {"round": "Spring", "number": 2}) for one in sorted(judged.ids.values())]
    for name, user_id in judged.ids.items():
        mine = [(one["project_id"], one["id"]) for one in await judged.own(name)]
        assert mine == [(one["project_id"], one["review_id"]) for one in made["assignments"] if one["reviewer_id"] == user_id]


@pytest.mark.gen_test(timeout=60)
async def test_a_draft_is_assigned_quietly_and_opened_later(ctx: Context, school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open()
    round_id = await judged.round()
    made = await judged.assign(round_id, open=False)
    assert (made["state"], len(made["assignments"])) == ("draft", 4)
    assert await judged.own("ann") == []
    mine = next(one["review_id"] for one in made["assignments"] if one["reviewer_id"] == judged.ids["ann"])
    assert (await judged.jurors["ann"].get(f"/api/reviews/{mine}")).status == 404
    assert await told(ctx, "review.assigned") == []
    assert (await school.max.post(f"/api/rounds/{round_id}/open")).result["state"] == "open"
    assert len(await judged.own("ann")) >= 1
    assert len(await told(ctx, "review.assigned")) == len({one["reviewer_id"] for one in made["assignments"]})
    again = await school.max.post(f"/api/rounds/{round_id}/open")
    assert (again.status, again.type) == (409, "round_state")


@pytest.mark.gen_test(timeout=60)
async def test_conflicts_are_found_before_anybody_is_invited(ctx: Context, school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann", "bob", "cat", "dan"], projects=2)
    first, second = judged.projects
    await school.max.post(f"/api/projects/{first}/members", {"username": "ann"})
    # bob mentored somebody of the second project elsewhere, cat worked with its proposer
    together = await school.propose(school.tom, "Together")
    await school.tom.post(f"/api/projects/{together['id']}/members", {"username": "bob", "role": "mentor"})
    await school.tom.post(f"/api/projects/{together['id']}/members", {"username": "cat"})
    await school.max.post(f"/api/projects/{second}/members", {"username": "tom"})
    round_id = await judged.round(reviewer_ids=[judged.ids["dan"]])
    assert await conflicts(judged, round_id) == {}
    named = ",".join(map(str, judged.ids.values()))
    assert await conflicts(judged, round_id, f"&reviewer_ids={named}") == {
        (first, "ann"): ["team"],
        (second, "ann"): ["common_project"],
        (second, "bob"): ["supervision"],
        (second, "cat"): ["common_project"],
    }
    tom = await school.user_id("tom")
    assert await conflicts(judged, round_id, f"&reviewer_ids={tom}&project_ids={first}") == {
        (first, "tom"): ["common_project", "organization"]
    }
    assert (await school.max.get(f"/api/rounds/{round_id}/conflicts?reviewer_ids=99999")).fields == ["reviewer_ids"]
    # what ended long ago does not count any more
    old = sa.update(projects).where(projects.c.id == together["id"]).values(ends_on="2001-01-01")
    await ctx.sql.write(lambda connection: connection.execute(old))
    left = {(first, "ann"): ["team"], (second, "ann"): ["common_project"]}
    assert await conflicts(judged, round_id, f"&reviewer_ids={named}") == left


@pytest.mark.gen_test(timeout=60)
async def test_organizations_meet_as_far_up_as_the_round_says(ctx: Context, school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=[], projects=1)
    sister = await organization(ctx, "optics")

    def below(connection: sa.Connection) -> None:
        connection.execute(organizations.update().where(organizations.c.id == sister).values(parent_id=school.id))
        attach(connection, school.id, 1)
        attach(connection, sister, school.id)

    await ctx.sql.write(below)
    await user(ctx, anonymous, "opa", "reviewer", sister)
    judged.ids["opa"] = await school.user_id("opa")
    round_id = await judged.round()
    assert await conflicts(judged, round_id) == {}
    at = f"/api/rounds/{round_id}"
    await school.max.patch(at, {"conflict_depth": 1})
    assert await conflicts(judged, round_id) == {(judged.projects[0], "opa"): ["organization"]}
    await school.max.patch(at, {"conflict_depth": 9})
    judged.ids["adm"] = 1
    await school.max.patch(at, {"reviewer_ids": sorted(judged.ids.values())})
    assert await conflicts(judged, round_id) == {(judged.projects[0], "opa"): ["organization"]}  # the root makes nobody a colleague
    await school.max.patch(at, {"conflict_depth": None})
    assert await conflicts(judged, round_id) == {}


@pytest.mark.gen_test(timeout=60)
async def test_conflicts_are_never_assigned_and_what_lacks_says_why(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann", "bob"], projects=2)
    first, second = judged.projects
    await school.max.post(f"/api/projects/{first}/members", {"username": "ann"})
    round_id = await judged.round(conflict_years=0)
    made = await judged.assign(round_id)
    assert [(one["project_id"], judged.name_of(one["reviewer_id"])) for one in made["assignments"]] == [
        (first, "bob"),
        (second, "ann"),
        (second, "bob"),
    ]
    lacks, barred = made["refused"]
    assert (lacks["project_id"], lacks["reviewer_id"], lacks["missing"]) == (first, None, 1)
    assert "1" in lacks["reason"]
    assert (barred["project_id"], barred["reviewer_id"], barred["kinds"]) == (first, judged.ids["ann"], ["team"])
    assert barred["reason"]
    assert made["refused_total"] == 2
    by_hand = await school.max.post(f"/api/rounds/{round_id}/reviews", {"project_id": first, "reviewer_id": judged.ids["ann"]})
    assert (by_hand.status, by_hand.type) == (409, "review_conflict")


@pytest.mark.gen_test(timeout=60)
async def test_loads_are_kept_and_wishes_followed(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann", "bob"], projects=4)
    round_id = await judged.round(reviews_per_project=1, load=3, loads={str(judged.ids["bob"]): 1})
    ann, bob = judged.jurors["ann"], judged.jurors["bob"]
    at = f"/api/rounds/{round_id}/preferences"
    wished = (await bob.put(at, {"wishes": [{"project_id": judged.projects[3], "wish": 2}]})).result
    assert [(one["project_id"], one["wish"]) for one in wished["items"]] == [
        (one, 2 * (one == judged.projects[3])) for one in judged.projects
    ]
    assert [one["wish"] for one in (await ann.get(at)).result["items"]] == [0, 0, 0, 0]
    assert (await bob.put(at, {"wishes": [{"project_id": 99_999, "wish": 2}]})).fields == ["wishes"]
    assert (await bob.put(at, {"wishes": [{"project_id": judged.projects[0], "wish": 3}]})).status == 422
    made = await judged.assign(round_id)
    assert [one["project_id"] for one in made["assignments"] if one["reviewer_id"] == judged.ids["bob"]] == [judged.projects[3]]
    await school.max.patch(f"/api/rounds/{round_id}", {"reviews_per_project": 2})
    short = (await judged.assign(round_id))["refused"]
    assert [(one["project_id"], one["missing"]) for one in short] == [(one, 1) for one in judged.projects]
    pool = (await school.max.get(f"/api/rounds/{round_id}/reviewers")).result["items"]
    assert [(one["name"], one["load"], one["assigned"], one["wishes"]) for one in pool] == [("ann", 3, 3, 0), ("bob", 1, 1, 1)]


@pytest.mark.gen_test(timeout=60)
async def test_afresh_moves_only_what_nobody_has_begun(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann", "bob"], projects=4)
    round_id = await judged.round(reviews_per_project=1)
    await judged.assign(round_id)
    begun = (await judged.own("ann"))[0]
    await judged.jurors["ann"].put(f"/api/reviews/{begun['id']}", {"scores": {"novelty": 3}, "submit": False})
    likes = [{"project_id": one, "wish": 2 if one != begun["project_id"] else -2} for one in judged.projects]
    await judged.jurors["bob"].put(f"/api/rounds/{round_id}/preferences", {"wishes": likes})
    kept = {one["review_id"] for one in (await judged.assign(round_id))["assignments"]}
    anew = (await judged.assign(round_id, afresh=True))["assignments"]
    assert {one["project_id"]: judged.name_of(one["reviewer_id"]) for one in anew} == {
        one: "ann" if one == begun["project_id"] else "bob" for one in judged.projects
    }
    assert begun["id"] in {one["review_id"] for one in anew}
    assert len(kept & {one["review_id"] for one in anew}) == 3  # what bob had already is still the same review


@pytest.mark.gen_test(timeout=60)
async def test_reviews_are_given_and_taken_by_hand(ctx: Context, school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open()
    round_id = await judged.round(load=1)
    at, pair = f"/api/rounds/{round_id}/reviews", {"project_id": judged.projects[0], "reviewer_id": judged.ids["ann"]}
    await school.max.post(f"/api/rounds/{round_id}/open")
    made = (await school.max.post(at, pair)).result
    assert (await school.max.post(at, pair)).type == "review_there"
    assert [one["id"] for one in await judged.own("ann")] == [made["review_id"]]
    assert await told(ctx, "review.assigned") == [(judged.ids["ann"], {"round": "Spring", "number": 1})]
    assert (await school.max.post(at, {**pair, "reviewer_id": 1})).fields == ["reviewer_id"]
    assert (await school.max.post(at, {**pair, "project_id": 99_999})).fields == ["project_id"]
    assert (await school.max.post(at, {**pair, "project_id": judged.projects[1]})).status == 200  # beyond the load: a person decides
    assert (await school.max.delete(f"{at}/{made['review_id']}")).status == 200
    assert (await school.max.delete(f"{at}/{made['review_id']}")).type == "review_not_found"
    second = (await judged.own("ann"))[0]["id"]
    await judged.jurors["ann"].put(f"/api/reviews/{second}", {"scores": {"novelty": 1, "use": 1}})
    assert (await school.max.delete(f"{at}/{second}")).type == "review_state"
    listed = (await school.max.get(at)).result["items"]
    assert [(one["id"], one["state"], one["total"], one["reviewer"]) for one in listed] == [(second, "submitted", 3, "ann")]


@pytest.mark.gen_test(timeout=60)
async def test_what_was_begun_keeps_its_project_its_reviewer_and_its_rubric(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann", "bob"], projects=2)
    round_id = await judged.round(reviews_per_project=1)
    await judged.assign(round_id)
    begun = (await judged.own("ann"))[0]
    await judged.jurors["ann"].put(f"/api/reviews/{begun['id']}", {"scores": {"novelty": 3}, "submit": False})
    at = f"/api/rounds/{round_id}"
    others = [one for one in judged.projects if one != begun["project_id"]]
    assert (await school.max.patch(at, {"project_ids": others})).type == "round_pool_in_use"
    assert (await school.max.patch(at, {"reviewer_ids": [judged.ids["bob"]]})).type == "round_pool_in_use"
    rubric = (await school.max.post("/api/rubrics", {"name": "n", "criteria": [{"name": "a"}]})).result["id"]
    assert (await school.max.patch(at, {"rubric_id": rubric})).type == "round_scores_given"
    assert (await school.max.delete(at)).type == "round_scores_given"
    left = (await school.max.patch(at, {"reviewer_ids": [judged.ids["ann"]]})).result
    assert (left["reviewer_ids"], left["progress"]["assigned"]) == ([judged.ids["ann"]], 0)


@pytest.mark.gen_test(timeout=60)
async def test_closing_tells_the_proposers_and_takes_no_more(ctx: Context, school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open()
    await school.max.post(f"/api/projects/{judged.projects[0]}/members", {"username": "stu"})
    round_id = await judged.round()
    at = f"/api/rounds/{round_id}"
    assert (await school.max.post(f"{at}/close")).type == "round_state"
    await judged.assign(round_id)
    closed = (await school.max.post(f"{at}/close")).result
    assert (closed["state"], closed["closed_at"] is not None) == ("closed", True)
    assert sorted(await told(ctx, "round.results")) == [(await school.user_id(one), {"round": "Spring"}) for one in ("tea", "stu")]
    review = (await judged.own("ann"))[0]["id"]
    answers = [
        await school.max.patch(at, {"name": "x"}),
        await school.max.post(f"{at}/assign", {}),
        await judged.jurors["ann"].put(f"/api/reviews/{review}", {"scores": {"novelty": 1, "use": 1}}),
        await judged.jurors["ann"].post(f"/api/reviews/{review}/decline", {"reason": "x"}),
        await judged.jurors["ann"].put(f"{at}/preferences", {"wishes": []}),
        await judged.jurors["ann"].post(f"{at}/conflicts", {"project_id": judged.projects[0]}),
    ]
    assert [(answer.status, answer.type) for answer in answers] == len(answers) * [(409, "round_state")]
    assert (await school.max.post(f"{at}/open")).result["closed_at"] is None
    assert (await judged.jurors["ann"].put(f"/api/reviews/{review}", {"scores": {"novelty": 1, "use": 1}})).status == 200


@pytest.mark.gen_test(timeout=60)
async def test_an_empty_pool_is_not_assigned(school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=[], projects=1)
    refused = await school.max.post(f"/api/rounds/{await judged.round()}/assign")
    assert (refused.status, refused.type) == (409, "round_pool_empty")


@pytest.mark.gen_test(timeout=60)
async def test_a_task_assigns_in_the_background_once(ctx: Context, school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open()
    round_id = await judged.round()
    at = f"/api/rounds/{round_id}/assign"
    answer = await school.max.post(at, {"background": True})
    assert (answer.status, answer.result["assignments"]) == (202, [])
    payload = await ctx.sql.read(
        lambda connection: connection.execute(sa.select(tasks.c.payload).where(tasks.c.id == answer.result["task_id"])).scalar_one()
    )
    assert (await school.max.post(at, {"background": True})).type == "round_assigning"
    assert await scores.assign_reviews(ctx, **payload) == {"reviews": 4, "short": 0}
    standing = (await school.max.get(at)).result
    assert (standing["state"], len(standing["assignments"]), standing["refused"]) == ("open", 4, [])


@pytest.mark.gen_test(timeout=60)
async def test_a_change_while_it_is_computed_is_not_written_over(
    ctx: Context, school: School, anonymous: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann", "bob"], projects=1)
    round_id, computed = await judged.round(reviews_per_project=1), ctx.compute.run
    times: list[list[tuple[int, int]]] = []

    async def run(*given: Any, **more: Any) -> Any:
        chosen = await computed(*given, **more)
        if not times:  # the one who would get it declares a conflict in this moment
            who = judged.jurors[judged.name_of(sorted(judged.ids.values())[chosen[0][1]])]
            assert (await who.post(f"/api/rounds/{round_id}/conflicts", {"project_id": judged.projects[0]})).status == 200
        times.append(chosen)
        return chosen

    monkeypatch.setattr(ctx.compute, "run", run)
    made = await judged.assign(round_id)
    assert len(times) == 2
    assert times[0] != times[1]
    assert [sorted(judged.ids.values())[times[1][0][1]]] == [one["reviewer_id"] for one in made["assignments"]]

    async def always(*given: Any, **more: Any) -> Any:
        raised = rounds.update().where(rounds.c.id == round_id).values(pool_version=rounds.c.pool_version + 1)
        await ctx.sql.write(lambda connection: connection.execute(raised))
        return []

    monkeypatch.setattr(ctx.compute, "run", always)
    refused = await school.max.post(f"/api/rounds/{round_id}/assign", {})
    assert (refused.status, refused.type) == (409, "round_changed")


@pytest.mark.gen_test(timeout=60)
async def test_reviewers_are_reminded_once_of_what_they_owe(ctx: Context, clock: Any, school: School, anonymous: Api) -> None:
    judged = await Judged(school, anonymous).open(jurors=["ann", "bob"], projects=1)
    due = ctx.clock.now() + timedelta(days=10)
    round_id = await judged.round(due_at=due.isoformat())
    await judged.assign(round_id)
    done = (await judged.own("bob"))[0]["id"]
    await judged.jurors["bob"].put(f"/api/reviews/{done}", {"scores": {"novelty": 1, "use": 1}})
    assert await scores.remind(ctx) == {"reviews": 0}
    move = sa.update(rounds).where(rounds.c.id == round_id)
    owed = sa.update(reviews).where(reviews.c.round_id == round_id).values(assigned_at=ctx.clock.now() - timedelta(days=30))
    await ctx.sql.write(lambda connection: connection.execute(owed))
    for days, sent in ((6, 1), (6, 0), (0.5, 1), (-1.5, 1), (-30, 0)):
        moved = move.values(due_at=(due + timedelta(days=days - 10)).replace(microsecond=0))
        await ctx.sql.write(functools.partial(sa.Connection.execute, statement=moved))
        assert await scores.remind(ctx) == {"reviews": sent}, days
    assert {one for one, _ in await told(ctx, "review.due")} == {judged.ids["ann"]}
    assert (await school.max.post(f"/api/rounds/{round_id}/close")).status == 200
