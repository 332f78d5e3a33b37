"""Rubrics."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page, PageQuery
from server.people.schemas import Done
from server.projects import rubrics
from server.projects.round_schemas import Rubric, RubricDraft, RubricPatch

ID = r"(?P<rubric_id>[0-9]{1,15})"


class RubricsHandler(ApiHandler):
    @operation("rounds:manage", "Rubrics that the caller may use, by page.")
    async def get(self, query: PageQuery) -> Page[Rubric]:
        return await rubrics.list_rubrics(self.ctx, self.actor, query)

    @operation("rounds:manage", "Make a rubric: criteria with weights, and perhaps a formula.", idempotent=True)
    async def post(self, body: RubricDraft) -> Rubric:
        return await rubrics.create_rubric(self.ctx, self.actor, body)


class RubricHandler(ApiHandler):
    @operation("rounds:manage", "One rubric.")
    async def get(self, rubric_id: str) -> Rubric:
        return await rubrics.get_rubric(self.ctx, self.actor, int(rubric_id))

    @operation("rounds:manage", "Change a rubric; rounds keep the one that they were made with.")
    async def patch(self, rubric_id: str, body: RubricPatch) -> Rubric:
        return await rubrics.change_rubric(self.ctx, self.actor, int(rubric_id), body)

    @operation("rounds:manage", "Remove a rubric that no round uses.")
    async def delete(self, rubric_id: str) -> Done:
        await rubrics.remove_rubric(self.ctx, self.actor, int(rubric_id))
        return Done()


routes = [
    (r"/api/rubrics", RubricsHandler),
    (rf"/api/rubrics/{ID}", RubricHandler),
]
