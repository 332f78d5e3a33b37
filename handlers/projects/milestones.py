"""/api/projects/ID/milestones: what is due when, what was delivered, how its check ended."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.people.schemas import Done
from server.projects import milestone_checks, milestones
from server.projects.milestone_schemas import Check, Delivery, Milestone, MilestoneBody, MilestonePatch, Milestones

PROJECT = r"(?P<project_id>[0-9]{1,15})"
ID = r"(?P<milestone_id>[0-9]{1,15})"


class MilestonesHandler(ApiHandler):
    @operation("projects:read", "The milestones of a project, by the time they are due.")
    async def get(self, project_id: str) -> Milestones:
        return await milestones.list_milestones(self.ctx, self.actor, int(project_id))

    @operation("projects:write", "Set a milestone: a delivery, a mid-term or a final check.", idempotent=True)
    async def post(self, project_id: str, body: MilestoneBody) -> Milestone:
        return await milestones.create_milestone(self.ctx, self.actor, int(project_id), body)


class MilestoneHandler(ApiHandler):
    @operation("projects:write", "Change a milestone that is not passed.")
    async def patch(self, project_id: str, milestone_id: str, body: MilestonePatch) -> Milestone:
        return await milestones.change_milestone(self.ctx, self.actor, int(project_id), int(milestone_id), body)

    @operation("projects:write", "Remove a milestone that is not passed.")
    async def delete(self, project_id: str, milestone_id: str) -> Done:
        await milestones.remove_milestone(self.ctx, self.actor, int(project_id), int(milestone_id))
        return Done()


class DeliverHandler(ApiHandler):
    @operation("projects:write", "Deliver a document, words or both; again until it is passed.")
    async def post(self, project_id: str, milestone_id: str, body: Delivery) -> Milestone:
        return await milestone_checks.deliver(self.ctx, self.actor, int(project_id), int(milestone_id), body)


class CheckHandler(ApiHandler):
    @operation("projects:write", "Pass what was delivered, or return it with the reason; for the mentor and who manages.")
    async def post(self, project_id: str, milestone_id: str, body: Check) -> Milestone:
        return await milestone_checks.check(self.ctx, self.actor, int(project_id), int(milestone_id), body)


routes = [
    (rf"/api/projects/{PROJECT}/milestones", MilestonesHandler),
    (rf"/api/projects/{PROJECT}/milestones/{ID}", MilestoneHandler),
    (rf"/api/projects/{PROJECT}/milestones/{ID}/deliver", DeliverHandler),
    (rf"/api/projects/{PROJECT}/milestones/{ID}/check", CheckHandler),
]
