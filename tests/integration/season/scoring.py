"""The round: a rubric, a pool with conflicts, blind reviews, and results against the table worked out by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contract.waiting import until
from tests.integration.season.ears import Ear
from tests.integration.season.papers import IDEAS, rows_of, words_of
from tests.integration.season.people import University
from tests.integration.season.scores import ALPHA, CONFLICTS, CRITERIA, GIVEN, POOL, TABLE

Reviews = dict[tuple[str, str], int]


async def score(uni: University) -> int:
    """The whole round; its id."""
    round_id = await _open(uni)
    reviews = await _assign(uni, round_id)
    await _give(uni, round_id, reviews)
    await _check_results(uni, round_id)
    await _check_sheets(uni, round_id)
    await _close(uni, round_id)
    return round_id


async def _open(uni: University) -> int:
    office = uni["office"]
    rubric = await office.post("/api/rubrics", {"name": "Season", "criteria": CRITERIA})
    assert (rubric["least"], rubric["most"]) == (0, 30)
    body = {
        "name": "Season's round",
        "rubric_id": rubric["id"],
        "project_ids": uni.ids(TABLE),
        "reviewer_ids": [uni[name].id for name in POOL],
        "reviews_per_project": 3,
        "load": 5,
        "blind": True,
        "due_at": (datetime.now(UTC) + timedelta(days=10)).isoformat(),
    }
    assert await uni["teacher1"].refused("POST", "/api/rounds", body, status=403) == "forbidden"
    made = await office.post("/api/rounds", body)
    assert (made["state"], sorted(made["project_ids"])) == ("draft", sorted(uni.ids(TABLE)))
    return int(made["id"])


async def _assign(uni: University, round_id: int) -> Reviews:
    """Two conflicts are declared, the others are found; what is left can only be assigned in one way."""
    office, where = uni["office"], f"/api/rounds/{round_id}"
    await uni["expert1"].post(f"{where}/conflicts", {"project_id": uni.projects["A"], "note": "We share an office."})
    await office.post(f"{where}/conflicts", {"project_id": uni.projects["C"], "user_id": uni["expert3"].id, "note": "His sister."})
    wishes = [{"project_id": uni.projects["E"], "wish": 2}, {"project_id": uni.projects["G"], "wish": -2}]
    await uni["expert3"].ask("PUT", f"{where}/preferences", {"wishes": wishes})
    letters, names = {uni.projects[letter]: letter for letter in TABLE}, {uni[name].id: name for name in POOL}
    found = (await office.get(f"{where}/conflicts?page_size=200"))["items"]
    assert {(letters[one["project_id"]], names[one["reviewer_id"]]): one["kinds"][0] for one in found} == CONFLICTS

    assigned = await office.post(f"{where}/assign", {})
    made = {(letters[one["project_id"]], names[one["reviewer_id"]]): one["review_id"] for one in assigned["assignments"]}
    assert made.keys() == GIVEN.keys()
    assert not [one for one in assigned["refused"] if one["missing"]]
    assert assigned["state"] == "open"
    again = await office.post(f"{where}/assign", {})
    assert {one["review_id"] for one in again["assignments"]} == set(made.values())
    for name in POOL:
        own = (await uni[name].get("/api/reviews"))["items"]
        assert sorted(one["id"] for one in own) == sorted(review for (_, who), review in made.items() if who == name)
    return made


async def _give(uni: University, round_id: int, reviews: Reviews) -> None:
    """Everybody gives scores; nobody sees others' before their own, and nobody sees whose the project is."""
    await _look_blindly(uni, reviews["A", "expert2"])
    last = reviews["E", "expert1"]
    draft = {"scores": {"novelty": 3}, "submit": False}
    assert (await uni["expert1"].ask("PUT", f"/api/reviews/{last}", draft))["state"] == "draft"
    for scores in ({"novelty": 11, "feasibility": 1}, {"novelty": 1}, {"novelty": 1, "feasibility": 1, "looks": 9}):
        await uni["expert1"].ask("PUT", f"/api/reviews/{last}", {"scores": scores}, status=422)
    assert await uni["expert2"].status(f"/api/reviews/{last}") == 404
    await asyncio.gather(*(_put(uni, reviews, pair) for pair in GIVEN if reviews[pair] != last))
    others = f"/api/reviews/{last}/others"
    assert await uni["expert1"].refused("GET", others, status=409) == "own_review_first"
    before = await uni["office"].get(f"/api/rounds/{round_id}/results")
    assert before["reviews"] == len(GIVEN) - 1
    await _put(uni, reviews, ("E", "expert1"))
    shown = await uni["expert1"].get(others)
    assert sorted(one["total"] for one in (shown["items"] if isinstance(shown, dict) else shown)) == [23, 26]


async def _look_blindly(uni: University, review: int) -> None:
    """The paper may be read; what would tell who wrote it is kept for the end."""
    reviewer, project, document = uni["expert2"], uni.projects["A"], uni.documents["A"]
    path, owner = f"/api/projects/{project}", uni["teacher1"]
    shown = await reviewer.get(f"/api/reviews/{review}")
    assert shown["project"]["title"] == IDEAS["A"].title
    detail = await reviewer.project(project)
    assert (detail["blind"], detail["owner"], detail["owner_id"], detail["organization_id"]) == (True, "", None, None)
    assert await uni["expert6"].status(f"/api/documents/{document}") == 404
    said = {"review": shown, "project": detail, "document": await reviewer.get(f"/api/documents/{document}")}
    said |= {part: await reviewer.get(f"{path}/{part}") for part in ("members", "history", "attachments", "milestones", "links")}
    hits = (await reviewer.get("/api/projects/search?q=compilers"))["hits"]
    [said["hit"]] = [hit for hit in hits if hit["project"]["id"] == project]
    header, *rows = await rows_of(await reviewer.sheet("/api/projects/export.xlsx", "spreadsheetml"))
    [said["row"]] = [dict(zip(header, row, strict=True)) for row in rows if str(row[0]) == str(project)]
    assert [said["row"][column] or "" for column in ("owner", "organization", "members")] == ["", "", ""]
    ear = await Ear.open(reviewer.url, (await reviewer.post("/api/auth/ticket"))["ticket"], [f"project:{project}"])
    try:
        await uni["office"].ask("PATCH", path, {"fields": {"call": "this season"}})
        await until(lambda: ear.data(f"project:{project}"))
        said["socket"] = ear.data(f"project:{project}")
    finally:
        await ear.end()
    names = ("owner_id", "user_id", "added_by", "actor_id")
    telling = (f"'organization_id': {uni.places['software']},", *(f"'{name}': {owner.id}," for name in names), owner.name)
    uni.told_blindly += [f"{where}: {words}" for where, answer in said.items() for words in telling if words in repr(answer).lower()]


async def _put(uni: University, reviews: Reviews, pair: tuple[str, str]) -> None:
    novelty, feasibility = GIVEN[pair]
    scores = {"novelty": novelty, "feasibility": feasibility}
    body = {"scores": scores, "comment": f"Of {pair[0]}: {2 * novelty + feasibility} points."}
    put = await uni[pair[1]].ask("PUT", f"/api/reviews/{reviews[pair]}", body)
    assert (put["state"], put["total"]) == ("submitted", 2 * novelty + feasibility)


async def _check_results(uni: University, round_id: int) -> None:
    path = f"/api/rounds/{round_id}/results"
    for name in ("teacher1", "expert1", "auditor"):
        assert await uni[name].status(path) in (403, 404), name
    results = await uni["office"].get(f"{path}?accept=4")
    items = {item["project_id"]: item for item in results["items"]}
    assert items.keys() == set(uni.ids(TABLE))
    for letter, line in TABLE.items():
        item = items[uni.projects[letter]]
        assert (item["reviews"], item["raw_rank"], item["title"]) == (3, line.place, IDEAS[letter].title), letter
        for name, expected in (
            ("total", line.mean),
            ("raw", line.mean),
            ("mean", line.mean),
            ("median", line.median),
            ("spread", line.spread),
        ):
            assert item[name] == pytest.approx(expected, abs=1e-5), (letter, name)
        assert item["rank_low"] <= item["rank"] <= item["rank_high"], letter
    assert results["alpha"] == pytest.approx(ALPHA, abs=1e-5)
    ranks = [item["rank"] for item in results["items"]]
    assert ranks == sorted(ranks)
    # Who gives less than others for the same is found out, and the best stays best.
    bias = {one["name"]: one["bias"] for one in results["reviewers"]}
    assert bias.keys() == {name.capitalize() for name in POOL}
    assert min(bias, key=lambda name: bias[name]) == "Teacher11"
    assert max(bias, key=lambda name: bias[name]) == "Expert3"
    assert (results["items"][0]["project_id"], results["items"][-1]["project_id"]) == (uni.projects["A"], uni.projects["G"])
    assert {item["project_id"] for item in results["items"] if item["accepted"]} == set(uni.ids("AEBC"))
    assert results["one_less_changes_outcome"] is False


async def _check_sheets(uni: University, round_id: int) -> None:
    """What is printed says what the table says."""
    path = f"/api/rounds/{round_id}/results"
    header, *rows = await rows_of(await uni["office"].sheet(f"{path}.xlsx", "spreadsheetml"))
    assert "project" in header
    assert "total" in header
    totals: dict[Any, Any] = {row[header.index("project")]: row[header.index("total")] for row in rows}
    for letter, line in TABLE.items():
        assert float(totals[IDEAS[letter].title]) == pytest.approx(line.mean)
    printed = await words_of(await uni["office"].sheet(f"{path}.pdf?accept=4", "pdf"))
    for letter in TABLE:
        assert IDEAS[letter].title in printed
    assert f"{ALPHA:.3f}" in printed


async def _close(uni: University, round_id: int) -> None:
    """From then on the proposers see what was said, but not by whom, and the reviewers see whose it was."""
    scores = f"/api/projects/{uni.projects['A']}/scores"
    before = await uni["teacher1"].get(scores)
    assert before["items"] == []
    assert (await uni["office"].post(f"/api/rounds/{round_id}/close"))["state"] == "closed"
    [seen] = (await uni["teacher1"].get(scores))["items"]
    assert (seen["total"], seen["comments"]) == (26, ["Of A: 25 points.", "Of A: 26 points.", "Of A: 27 points."])
    assert not [name for name in POOL if name in repr(seen).lower()]
    reviews = (await uni["expert2"].get("/api/reviews"))["items"]
    late = {"scores": {"novelty": 1, "feasibility": 1}}
    await uni["expert2"].ask("PUT", f"/api/reviews/{reviews[0]['id']}", late, status=409)
    assert (await uni["expert2"].project(uni.projects["A"]))["owner"] == "Teacher1"
