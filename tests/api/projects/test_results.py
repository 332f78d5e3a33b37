"""Results of rounds: who sees them, what is in them, when they are computed again, and what proposers learn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from random import Random
from typing import Any

import openpyxl
import pymupdf
import pytest
import sqlalchemy as sa

from server.projects.tables import reviews, round_projects, round_results, rounds
from tests.api.client import Api
from tests.api.people import user
from tests.api.projects.conftest import School

CRITERIA = [{"name": "idea", "weight": 6.0, "max": 10.0}, {"name": "plan", "weight": 4.0, "max": 10.0}]
# Who gave what to which of four projects: idea and plan. `sev` is severe.
GIVEN = {
    (0, "rev"): (9, 9),
    (0, "mild"): (9, 8),
    (1, "rev"): (8, 8),
    (1, "sev"): (6, 6),
    (2, "mild"): (7, 7),
    (2, "sev"): (5, 4),
    (3, "rev"): (7, 8),
    (3, "mild"): (7, 8),
}


class Panel:
    """A round of the school over four projects of `tea`, put in by SQL."""

    def __init__(self, school: School) -> None:
        self.school, self.ctx = school, school.ctx
        self.round_id = 0
        self.projects: list[int] = []
        self.people: dict[str, int] = {}

    async def open(self, anonymous: Api, state: str = "open") -> Panel:
        for name in ("mild", "sev"):
            self.school.callers[name] = await user(self.ctx, anonymous, name, "reviewer", self.school.id)
        self.people = {name: await self.school.user_id(name) for name in ("rev", "mild", "sev", "max")}
        for number in range(4):
            self.projects.append((await self.school.approved(self.school.tea, f"项目 {number}"))["id"])
        now = self.ctx.clock.now()
        values = {
            "name": "2026 年度评审", "organization_id": self.school.id, "rubric_id": 1, "rubric": {"criteria": CRITERIA, "formula": None},
            "state": state, "blind": False, "reviews_per_project": 2, "load": 4, "conflict_years": 3, "revision": 1,
            "pool_version": 1, "created_at": now,
        }  # fmt: skip

        def transaction(connection: sa.Connection) -> int:
            made = connection.execute(rounds.insert().values(**values)).inserted_primary_key
            assert made
            for project_id in self.projects:
                connection.execute(round_projects.insert().values(round_id=made[0], project_id=project_id))
            return int(made[0])

        self.round_id = await self.ctx.sql.write(transaction)
        return self

    async def give(self, project: int, name: str, scores: Sequence[float], *, state: str = "submitted", comment: str = "") -> None:
        """A review, and the next revision of the scores."""
        now, total = self.ctx.clock.now(), 6 * scores[0] + 4 * scores[1]
        row = {
            "round_id": self.round_id, "project_id": self.projects[project], "reviewer_id": self.people[name], "state": state,
            "scores": {"idea": scores[0], "plan": scores[1]}, "total": total, "comment": comment, "assigned_at": now, "submitted_at": now,
        }  # fmt: skip

        def transaction(connection: sa.Connection) -> None:
            connection.execute(reviews.insert().values(**row))
            connection.execute(rounds.update().where(rounds.c.id == self.round_id).values(revision=rounds.c.revision + 1))

        await self.ctx.sql.write(transaction)

    async def give_all(self) -> None:
        for (project, name), scores in GIVEN.items():
            await self.give(project, name, scores, comment=f"{name} says {project}")

    async def change(self, table: sa.Table, **values: Any) -> None:
        key = table.c.id if "id" in table.c else table.c.round_id
        await self.ctx.sql.write(lambda connection: connection.execute(table.update().where(key == self.round_id).values(**values)))

    def results(self, caller: Api, query: str = "") -> Any:
        return caller.get(f"/api/rounds/{self.round_id}/results{query}")


@pytest.fixture
def panel(school: School, anonymous: Api, io_loop: Any) -> Panel:
    async def make() -> Panel:
        return await Panel(school).open(anonymous)

    made: Panel = io_loop.run_sync(make, timeout=30)
    return made


@pytest.mark.gen_test(timeout=60)
async def test_results_of_a_round(panel: Panel) -> None:
    await panel.give_all()
    found = (await panel.results(panel.school.max, "?accept=2")).result
    assert [item["project_id"] for item in found["items"]] == [panel.projects[place] for place in (0, 1, 3, 2)]
    first = found["items"][0]
    assert (first["title"], first["total"], first["raw"], first["median"], first["reviews"]) == ("项目 0", 88, 88, 88, 2)
    assert first["spread"] == pytest.approx(8**0.5)  # 90 and 86
    assert first["rank"] == 1 <= first["rank_high"]
    assert [item["accepted"] for item in found["items"]] == [True, True, False, False]
    assert (found["method"], found["note"], found["provisional"], found["components"]) == ("reml", "", True, 1)
    assert found["alpha"] is not None
    assert {one["name"] for one in found["criteria"]} == {"idea", "plan"}
    [severe] = [one for one in found["reviewers"] if one["name"] == "sev"]
    assert severe["bias"] < 0
    assert severe["reviews"] == 2
    assert found["one_less_changes_outcome"] in (True, False)


@pytest.mark.gen_test(timeout=60)
async def test_results_are_kept_until_scores_change(panel: Panel) -> None:
    await panel.give_all()
    first = (await panel.results(panel.school.max)).result
    again = (await panel.results(panel.school.max)).result
    assert again == first
    stored = sa.select(round_results.c.revision).where(round_results.c.round_id == panel.round_id)
    assert await panel.ctx.sql.read(lambda connection: connection.execute(stored).scalar_one()) == first["revision"]
    await panel.give(2, "rev", (10, 10))
    changed = (await panel.results(panel.school.max)).result
    assert changed["revision"] == first["revision"] + 1
    assert changed["reviews"] == 9
    assert (await panel.results(panel.school.max, "?accept=1")).result["items"][0]["accepted"] is True


@pytest.mark.gen_test(timeout=60)
async def test_results_kept_by_an_older_release_are_computed_again(panel: Panel) -> None:
    await panel.give_all()
    first = (await panel.results(panel.school.max)).result
    await panel.change(round_results, results={"items": []})
    assert (await panel.results(panel.school.max)).result["items"] == first["items"]


@pytest.mark.gen_test(timeout=60)
async def test_only_submitted_reviews_count(panel: Panel) -> None:
    await panel.give(0, "rev", (9, 9))
    await panel.give(0, "mild", (1, 1), state="draft")
    await panel.give(0, "sev", (1, 1), state="declined")
    found = (await panel.results(panel.school.max)).result
    assert (found["items"][0]["total"], found["reviews"], found["total"]) == (90, 1, 4)
    assert found["why_not_calibrated"] == "too_few"
    assert found["note"]
    assert [item["total"] for item in found["items"][1:]] == [None] * 3


@pytest.mark.gen_test(timeout=60)
async def test_who_does_not_manage_rounds_there_learns_nothing(panel: Panel, anonymous: Api) -> None:
    await panel.give_all()
    elsewhere = await user(panel.ctx, anonymous, "far", "organization_admin", panel.school.elsewhere)
    for path in ("results", "results.xlsx", "results.pdf"):
        for caller, status in ((panel.school.rev, 403), (panel.school.tea, 403), (elsewhere, 404), (anonymous, 401)):
            assert (await caller.get(f"/api/rounds/{panel.round_id}/{path}")).status == status
    assert (await panel.school.max.get("/api/rounds/999999/results")).status == 404
    assert (await panel.results(panel.school.max, "?accept=0")).status == 422


@pytest.mark.gen_test(timeout=60)
async def test_a_manager_who_reviews_gives_own_scores_first(panel: Panel) -> None:
    await panel.give_all()
    await panel.give(0, "max", (1, 1), state="assigned")
    for path in ("results", "results.xlsx", "results.pdf"):
        refused = await panel.school.max.get(f"/api/rounds/{panel.round_id}/{path}")
        assert (refused.status, refused.error["type"]) == (409, "own_review_first")


@pytest.mark.gen_test(timeout=60)
async def test_the_spreadsheet_has_results_reviewers_and_every_review(panel: Panel) -> None:
    await panel.give_all()
    answer = await panel.school.max.get(f"/api/rounds/{panel.round_id}/results.xlsx?accept=2")
    book = openpyxl.load_workbook(io.BytesIO(answer.body))
    results, reviewers, given, about = (list(sheet.iter_rows(values_only=True)) for sheet in book)
    assert (results[0][0], results[1][:4]) == ("名次", (1, "项目 0", panel.projects[0], 88))
    assert {row[0] for row in reviewers[1:]} == {"rev", "mild", "sev"}
    assert len(given) == 9
    assert given[0][4:7] == ("idea", "plan", "评语")
    assert given[1][3:7] in ((90, 9, 9, "rev says 0"), (86, 9, 8, "mild says 0"))
    assert about[0][0] == "2026 年度评审"


@pytest.mark.gen_test(timeout=60)
async def test_the_paper_can_be_read(panel: Panel) -> None:
    await panel.give_all()
    caller = panel.school.max
    address = f"{caller.base_url}/api/rounds/{panel.round_id}/results.pdf"
    answer = await caller.client.fetch(address, headers={"Authorization": f"Bearer {caller.token}"})
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    with pymupdf.open(stream=answer.body) as made:
        text = made[0].get_text()
    assert "2026 年度评审" in text
    assert "项目 0" in text
    assert "Krippendor" in text


@pytest.mark.gen_test(timeout=60)
async def test_after_the_close_proposers_see_their_own_total_and_comments_without_names(panel: Panel) -> None:
    await panel.give_all()
    path = f"/api/projects/{panel.projects[1]}/scores"
    assert (await panel.school.tea.get(path)).result == {"items": [], "total": 0}
    await panel.change(rounds, state="closed", closed_at=panel.ctx.clock.now())
    [found] = (await panel.school.tea.get(path)).result["items"]
    assert (found["round"], found["total"], found["reviews"]) == ("2026 年度评审", 70, 2)
    assert found["comments"] == ["rev says 1", "sev says 1"]
    assert set(found) == {"round_id", "round", "closed_at", "reviews", "total", "comments"}
    assert len((await panel.school.max.get(path)).result["items"]) == 1
    assert (await panel.school.tom.get(path)).status == 403  # sees the project, is not of it
    assert (await panel.school.out.get(path)).status == 404


@pytest.mark.gen_test(timeout=60)
async def test_a_project_that_the_caller_may_not_see_has_no_title(panel: Panel, anonymous: Api) -> None:
    await panel.give_all()
    manager = await user(panel.ctx, anonymous, "new", "organization_admin", panel.school.id)  # was never asked to audit it
    away = sa.text("UPDATE projects SET organization_id = :there WHERE id = :id")
    moved = {"there": panel.school.elsewhere, "id": panel.projects[0]}
    await panel.ctx.sql.write(lambda connection: connection.execute(away, moved))
    first = (await panel.results(manager)).result["items"][0]
    assert (first["project_id"], first["title"], first["rank"]) == (panel.projects[0], "", 1)


@pytest.mark.gen_test(timeout=120)
async def test_a_large_round_holds_nobody_up(panel: Panel) -> None:
    """A thousand projects: the guard of the loop looks on."""
    now, count = panel.ctx.clock.now(), 1000
    random = Random(3)
    given = [
        {
            "round_id": panel.round_id, "project_id": 10_000 + number, "reviewer_id": 20_000 + reviewer, "state": "submitted",
            "scores": {"idea": random.random() * 10}, "total": random.random() * 100, "comment": "a word",
            "assigned_at": now, "submitted_at": now,
        }
        for number in range(count)
        for reviewer in random.sample(range(100), 3)
    ]  # fmt: skip
    await panel.ctx.sql.write(lambda connection: connection.execute(reviews.insert(), given))
    found = (await panel.results(panel.school.max, "?accept=50")).result
    assert (found["total"], found["reviews"], len(found["reviewers"])) == (count + 4, 3 * count, 100)
    assert found["items"][0]["rank"] == 1
    assert found["alpha"] == pytest.approx(0, abs=0.1)
    for sheet in ("results.xlsx", "results"):
        assert (await panel.school.max.get(f"/api/rounds/{panel.round_id}/{sheet}?accept=50")).status == 200
