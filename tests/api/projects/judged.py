"""A school whose projects are judged: rounds, reviewers from elsewhere, and what they give."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tests.api.client import Api
from tests.api.people import organization, user
from tests.api.projects.conftest import School

CRITERIA = [{"name": "novelty", "weight": 2, "max": 10}, {"name": "use", "weight": 1, "max": 5}]


class Judged:
    """A school, `jurors` from another place by name, and approved projects of `tea`."""

    def __init__(self, school: School, anonymous: Api) -> None:
        self.school, self._anonymous = school, anonymous
        self.place = 0
        self.jurors: dict[str, Api] = {}
        self.ids: dict[str, int] = {}
        self.projects: list[int] = []

    async def open(self, jurors: Collection[str] = ("ann", "bob", "cat"), projects: int = 2) -> Judged:
        self.place = await organization(self.school.ctx, "academy")
        for name in jurors:
            self.jurors[name] = await user(self.school.ctx, self._anonymous, name, "reviewer", self.place)
            self.ids[name] = await self.school.user_id(name)
        for number in range(projects):
            made = await self.school.approved(self.school.tea, f"Project {number}", summary="of interest")
            self.projects.append(made["id"])
        return self

    async def round(self, **more: Any) -> int:
        """A round of all projects by all jurors, made by `max`; its id."""
        rubric = (await self.school.max.post("/api/rubrics", {"name": "Merit", "criteria": CRITERIA})).result["id"]
        body = {
            "name": "Spring",
            "rubric_id": rubric,
            "project_ids": self.projects,
            "reviewer_ids": sorted(self.ids.values()),
            "reviews_per_project": 2,
        }
        made = await self.school.max.post("/api/rounds", {**body, **more})
        return int(made.result["id"])

    async def assign(self, round_id: int, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = (await self.school.max.post(f"/api/rounds/{round_id}/assign", more)).result
        return made

    async def own(self, name: str) -> list[dict[str, Any]]:
        """The reviews that somebody sees as theirs, oldest first."""
        items: list[dict[str, Any]] = (await self.jurors[name].get("/api/reviews?sort=id")).result["items"]
        return items

    def name_of(self, user_id: int) -> str:
        return next(name for name, held in self.ids.items() if held == user_id)
