"""The dashboard and its series."""

from __future__ import annotations

from datetime import datetime

import msgspec

from handlers.base import ApiHandler
from handlers.operation import operation
from server.dispatch import run_figures as workflow_figures
from server.dispatch.run_figures import WorkflowHealth
from server.people.hr import run_figures as hr_figures
from server.people.hr.run_figures import HrHealth
from server.projects import dashboard, series
from server.projects.dashboard_schemas import DashboardQuery, Load, MentorLoad, Own, ProjectFigures, RoundScores, Series, SeriesQuery


class Dashboard(msgspec.Struct, kw_only=True):
    """What the caller may see of it all; `hr` and `workflows` are null for whoever may not see those."""

    projects: ProjectFigures
    reviewers: list[Load]
    mentors: list[MentorLoad]
    scores: list[RoundScores]
    own: Own
    hr: HrHealth | None
    workflows: WorkflowHealth | None
    at: datetime


class DashboardHandler(ApiHandler):
    @operation("dashboard:read", "Counts, funnel, what waits and for how long, who has how much to do; of what the caller may see.")
    async def get(self, query: DashboardQuery) -> Dashboard:
        figures = await dashboard.get_figures(self.ctx, self.actor, query)
        return Dashboard(
            projects=figures.projects,
            reviewers=figures.reviewers,
            mentors=figures.mentors,
            scores=figures.scores,
            own=await dashboard.get_own(self.ctx, self.actor),
            hr=await hr_figures.find_health(self.ctx, self.actor),
            workflows=await workflow_figures.find_health(self.ctx, self.actor),
            at=self.ctx.clock.now(),
        )


class SeriesHandler(ApiHandler):
    @operation("dashboard:read", "How many projects entered, left or stood in a state, by day, week or month.")
    async def get(self, query: SeriesQuery) -> Series:
        return await series.get_series(self.ctx, self.actor, query)


routes = [
    (r"/api/dashboard", DashboardHandler),
    (r"/api/dashboard/series", SeriesHandler),
]
