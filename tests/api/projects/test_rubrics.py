"""Rubrics over the API: criteria and formulas that make sense, used below the organization that they belong to."""

from __future__ import annotations

from typing import Any

import pytest

from server.context import Context
from server.people.organization_tree import attach
from tests.api.client import Api
from tests.api.people import user
from tests.api.projects.conftest import School

CRITERIA = [{"name": "novelty", "weight": 2, "max": 10}, {"name": "可行性", "weight": 1, "max": 5}]


@pytest.mark.gen_test(timeout=60)
async def test_a_rubric_is_made_changed_and_removed(school: School) -> None:
    made = (await school.max.post("/api/rubrics", {"name": " Merit ", "criteria": CRITERIA})).result
    assert (made["name"], made["organization_id"], made["criteria"], made["formula"]) == ("Merit", school.id, CRITERIA, None)
    assert (made["least"], made["most"], made["may_change"]) == (0, 25, True)
    at = f"/api/rubrics/{made['id']}"
    changed = (await school.max.patch(at, {"formula": "min(novelty, 可行性) * 3"})).result
    assert (changed["formula"], changed["most"]) == ("min(novelty, 可行性) * 3", 15)
    assert (await school.max.get(at)).result == changed
    assert [one["id"] for one in (await school.max.get("/api/rubrics?q=mer")).result["items"]] == [made["id"]]
    assert (await school.max.delete(at)).status == 200
    assert ((await school.max.get(at)).status, (await school.max.get(at)).type) == (404, "rubric_not_found")


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": " "}, "name"),
        ({"criteria": []}, "criteria"),
        ({"criteria": [{"name": "a", "weight": 0}]}, "criteria[0].weight"),
        ({"criteria": [{"name": "a", "max": -1}]}, "criteria[0].max"),
        ({"criteria": [{"name": "a"}, {"name": "ａ"}]}, "criteria[1].name"),
        ({"formula": "novelty ** 2"}, "formula"),
        ({"formula": "1 / novelty"}, "formula"),
        ({"formula": "beauty"}, "formula"),
        ({"organization_id": 99_999}, "organization_id"),
    ],
)
async def test_what_cannot_be_is_refused_by_field(api: Api, body: dict[str, Any], field: str) -> None:
    assert (await api.post("/api/rubrics", {"name": "x", "criteria": CRITERIA, **body})).fields == [field]


@pytest.mark.gen_test(timeout=60)
async def test_criteria_do_not_change_under_a_formula_that_names_them(school: School) -> None:
    made = (await school.max.post("/api/rubrics", {"name": "x", "criteria": CRITERIA, "formula": "novelty"})).result
    renamed = [{"name": "newness", "weight": 1, "max": 10}]
    at = f"/api/rubrics/{made['id']}"
    assert (await school.max.patch(at, {"criteria": renamed})).fields == ["formula"]
    assert (await school.max.patch(at, {"criteria": renamed, "formula": None})).result["formula"] is None


@pytest.mark.gen_test(timeout=60)
async def test_rubrics_are_used_below_and_changed_where_they_belong(ctx: Context, school: School, api: Api, anonymous: Api) -> None:
    await ctx.sql.write(lambda connection: attach(connection, school.id, 1))
    body = {"name": "of all", "criteria": CRITERIA}
    above = (await api.post("/api/rubrics", body)).result
    beside = (await api.post("/api/rubrics", {**body, "organization_id": school.elsewhere})).result
    seen = (await school.max.get(f"/api/rubrics/{above['id']}")).result
    assert (seen["id"], seen["may_change"]) == (above["id"], False)
    assert (await school.max.patch(f"/api/rubrics/{above['id']}", {"name": "mine"})).status == 403
    assert (await school.max.delete(f"/api/rubrics/{above['id']}")).status == 403
    assert (await school.max.get(f"/api/rubrics/{beside['id']}")).status == 404
    assert [one["id"] for one in (await school.max.get("/api/rubrics")).result["items"]] == [above["id"]]
    assert (await school.max.post("/api/rubrics", {**body, "organization_id": school.elsewhere})).status == 403
    other = await user(ctx, anonymous, "ono", "organization_admin", school.elsewhere)
    assert (await other.get(f"/api/rubrics/{beside['id']}")).result["may_change"] is True


@pytest.mark.gen_test(timeout=60)
async def test_teachers_and_reviewers_make_no_rubrics(school: School) -> None:
    for caller in (school.tea, school.rev, school.stu):
        assert (await caller.get("/api/rubrics")).status == 403
        assert (await caller.post("/api/rubrics", {"name": "x", "criteria": CRITERIA})).status == 403


@pytest.mark.gen_test(timeout=60)
async def test_a_rubric_of_a_round_stays_and_the_round_keeps_it_as_it_was(school: School) -> None:
    made = (await school.max.post("/api/rubrics", {"name": "x", "criteria": CRITERIA})).result
    rounded = (await school.max.post("/api/rounds", {"name": "spring", "rubric_id": made["id"]})).result
    refused = await school.max.delete(f"/api/rubrics/{made['id']}")
    assert (refused.status, refused.type) == (409, "rubric_in_use")
    await school.max.patch(f"/api/rubrics/{made['id']}", {"name": "y"})
    assert (await school.max.get(f"/api/rounds/{rounded['id']}")).result["rubric"]["name"] == "x"
    assert (await school.max.post("/api/rounds", {"name": "s", "rubric_id": 99_999})).fields == ["rubric_id"]
