"""/api/tasks: the durable queues."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page
from server.platform import inspecting, task_actions, task_logs
from server.platform.inspecting import Inspection
from server.platform.task_actions import Counted, EveryTask, QueueStats, Task, TaskQuery
from server.platform.task_logs import TaskLog

ID = r"(?P<task_id>[0-9a-f]{32})"


class TasksHandler(ApiHandler):
    @operation("tasks:read", "Tasks, by queue and state, newest first.", everywhere=True)
    async def get(self, query: TaskQuery) -> Page[Task]:
        return await task_actions.list_tasks(self.ctx, self.actor, query)


class StatsHandler(ApiHandler):
    @operation("tasks:read", "The figures of each queue.", everywhere=True)
    async def get(self) -> list[QueueStats]:
        return await task_actions.queue_stats(self.ctx, self.actor)


class InspectHandler(ApiHandler):
    @operation(
        "tasks:read", "Registered, active, later, due and dead tasks, the queues, and the instances that work on them.", everywhere=True
    )
    async def get(self) -> Inspection:
        return await inspecting.inspect(self.ctx, self.actor)


class RetryAllHandler(ApiHandler):
    @operation("tasks:write", "Queue all dead tasks of a kind or a queue again.", everywhere=True)
    async def post(self, body: EveryTask) -> Counted:
        return await task_actions.retry_all(self.ctx, self.actor, body)


class CancelAllHandler(ApiHandler):
    @operation("tasks:write", "Cancel all tasks of a kind or a queue that have not ended.", everywhere=True)
    async def post(self, body: EveryTask) -> Counted:
        return await task_actions.cancel_all(self.ctx, self.actor, body)


class LogHandler(ApiHandler):
    @operation("tasks:read", "What the job logged while it worked on the task.", everywhere=True)
    async def get(self, task_id: str) -> TaskLog:
        return await task_logs.read_log(self.ctx, self.actor, task_id)


class TaskHandler(ApiHandler):
    @operation("tasks:read", "A task.", everywhere=True)
    async def get(self, task_id: str) -> Task:
        return await task_actions.get_task(self.ctx, self.actor, task_id)


class RetryHandler(ApiHandler):
    @operation("tasks:write", "Queue a dead or cancelled task again.", everywhere=True)
    async def post(self, task_id: str) -> Task:
        return await task_actions.retry_task(self.ctx, self.actor, task_id)


class CancelHandler(ApiHandler):
    @operation("tasks:write", "Cancel a task, or ask it to stop.", everywhere=True)
    async def post(self, task_id: str) -> Task:
        return await task_actions.cancel_task(self.ctx, self.actor, task_id)


routes = [
    (r"/api/tasks", TasksHandler),
    (r"/api/tasks/stats", StatsHandler),
    (r"/api/tasks/inspect", InspectHandler),
    (r"/api/tasks/retry", RetryAllHandler),
    (r"/api/tasks/cancel", CancelAllHandler),
    (rf"/api/tasks/{ID}", TaskHandler),
    (rf"/api/tasks/{ID}/log", LogHandler),
    (rf"/api/tasks/{ID}/retry", RetryHandler),
    (rf"/api/tasks/{ID}/cancel", CancelHandler),
]
