"""/scheduler: all schedules, workflows' and the system's own."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.dispatch import scheduler
from server.dispatch.scheduler import Reloaded
from server.platform.schedules import pausing
from server.platform.schedules.actions import JobPatch, JobStarted, ScheduledJob
from server.platform.schedules.pausing import Pause

ID = r"(?P<schedule_id>[0-9]{1,18})"


class JobsHandler(ApiHandler):
    @operation("schedules:read", "All schedules, with the next and the last fire of each.")
    async def get(self) -> list[ScheduledJob]:
        return await scheduler.list_jobs(self.ctx, self.actor)


class ReloadHandler(ApiHandler):
    @operation("schedules:write", "Read the schedules again; unchanged ones keep their place.", everywhere=True)
    async def post(self) -> Reloaded:
        return await scheduler.reload(self.ctx, self.actor)


class PauseHandler(ApiHandler):
    @operation("schedules:read", "Whether all schedules are paused.")
    async def get(self) -> Pause:
        return await pausing.get_pause(self.ctx, self.actor)

    @operation("schedules:write", "Pause all schedules.", everywhere=True)
    async def post(self) -> Pause:
        return await pausing.set_pause(self.ctx, self.actor, True)

    @operation("schedules:write", "Let the schedules go on.", everywhere=True)
    async def delete(self) -> Pause:
        return await pausing.set_pause(self.ctx, self.actor, False)


class JobHandler(ApiHandler):
    @operation("schedules:write", "Edit a schedule.")
    async def patch(self, schedule_id: str, body: JobPatch) -> ScheduledJob:
        return await scheduler.patch_job(self.ctx, self.actor, int(schedule_id), body)


class RunHandler(ApiHandler):
    @operation("schedules:write", "Start now what the schedule would start.", idempotent=True)
    async def post(self, schedule_id: str) -> JobStarted:
        return await scheduler.run_job(self.ctx, self.actor, int(schedule_id))


routes = [
    (r"/scheduler/jobs", JobsHandler),
    (r"/scheduler/reload", ReloadHandler),
    (r"/scheduler/pause", PauseHandler),
    (rf"/scheduler/jobs/{ID}", JobHandler),
    (rf"/scheduler/jobs/{ID}/run", RunHandler),
]
