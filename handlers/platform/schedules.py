"""/api/schedules: schedules as rows: list, make, edit, remove, run, history."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.dispatch import schedule_rows, scheduler
from server.paging import Page
from server.people.schemas import Done
from server.platform.registered_jobs import JobView, RegisteredJobs
from server.platform.schedules import editing
from server.platform.schedules.actions import JobStarted
from server.platform.schedules.editing import ScheduleBody, SchedulePatch
from server.platform.schedules.history import HistoryQuery, HistoryRow
from server.platform.schedules.reading import Coming, ComingQuery, ScheduleQuery, ScheduleView

ID = r"(?P<schedule_id>[0-9]{1,18})"


class SchedulesHandler(ApiHandler):
    @operation("schedules:read", "Schedules of workflows and of jobs, with the next and the last fire of each.")
    async def get(self, query: ScheduleQuery) -> Page[ScheduleView]:
        return await schedule_rows.list_schedules(self.ctx, self.actor, query)

    @operation("schedules:write", "Make a schedule of a job.", idempotent=True, everywhere=True)
    async def post(self, body: ScheduleBody) -> ScheduleView:
        return await editing.create(self.ctx, self.actor, body)


class JobsHandler(ApiHandler):
    @operation("schedules:read", "The jobs that can be scheduled, with their parameters.", everywhere=True)
    async def get(self) -> list[JobView]:
        return self.ctx.services.get(RegisteredJobs).schedulable()


class ScheduleHandler(ApiHandler):
    @operation("schedules:read", "A schedule.")
    async def get(self, schedule_id: str) -> ScheduleView:
        return await schedule_rows.get_schedule(self.ctx, self.actor, int(schedule_id))

    @operation("schedules:write", "Edit a schedule; what is planned from now on follows the edit.")
    async def patch(self, schedule_id: str, body: SchedulePatch) -> ScheduleView:
        return await schedule_rows.patch_schedule(self.ctx, self.actor, int(schedule_id), body)

    @operation("schedules:write", "Remove a schedule of a job that the system does not bring along.", everywhere=True)
    async def delete(self, schedule_id: str) -> Done:
        await editing.remove(self.ctx, self.actor, int(schedule_id))
        return Done()


class RunHandler(ApiHandler):
    @operation("schedules:write", "Start now what the schedule would start.", idempotent=True)
    async def post(self, schedule_id: str) -> JobStarted:
        return await scheduler.run_job(self.ctx, self.actor, int(schedule_id))


class HistoryHandler(ApiHandler):
    @operation("schedules:read", "What became of each fire, newest first.")
    async def get(self, schedule_id: str, query: HistoryQuery) -> Page[HistoryRow]:
        return await schedule_rows.list_history(self.ctx, self.actor, int(schedule_id), query)


class PreviewHandler(ApiHandler):
    @operation("schedules:read", "The coming fires, with shift, jitter and calendar.")
    async def get(self, schedule_id: str, query: ComingQuery) -> list[Coming]:
        return await schedule_rows.coming(self.ctx, self.actor, int(schedule_id), query)


routes = [
    (r"/api/schedules", SchedulesHandler),
    (r"/api/schedules/jobs", JobsHandler),
    (rf"/api/schedules/{ID}", ScheduleHandler),
    (rf"/api/schedules/{ID}/run", RunHandler),
    (rf"/api/schedules/{ID}/history", HistoryHandler),
    (rf"/api/schedules/{ID}/preview", PreviewHandler),
]
