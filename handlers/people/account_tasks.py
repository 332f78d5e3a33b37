"""/api/account-tasks: what the targets of HR sync have to do: list, attempts, retry, cancel."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page
from server.people.hr import account_reading, account_retrying
from server.people.hr.account_reading import AccountTask, AccountTaskDetail, AccountTaskQuery, TargetFigures
from server.people.hr.account_retrying import Retried, RetryAll

ID = r"(?P<task_id>[0-9]{1,15})"


class AccountTasksHandler(ApiHandler):
    @operation("hr:read", "Account tasks, newest first.", everywhere=True)
    async def get(self, query: AccountTaskQuery) -> Page[AccountTask]:
        return await account_reading.list_account_tasks(self.ctx, self.actor, query)


class StatsHandler(ApiHandler):
    @operation("hr:read", "The figures of each target.", everywhere=True)
    async def get(self) -> list[TargetFigures]:
        return await account_reading.account_task_figures(self.ctx, self.actor)


class RetryAllHandler(ApiHandler):
    @operation("hr:write", "Try all dead account tasks of a kind again.", everywhere=True)
    async def post(self, body: RetryAll) -> Retried:
        return await account_retrying.retry_all(self.ctx, self.actor, body)


class AccountTaskHandler(ApiHandler):
    @operation("hr:read", "An account task with its attempts.", everywhere=True)
    async def get(self, task_id: str) -> AccountTaskDetail:
        return await account_reading.get_account_task(self.ctx, self.actor, int(task_id))


class RetryHandler(ApiHandler):
    @operation("hr:write", "Try a dead or cancelled account task again.", everywhere=True)
    async def post(self, task_id: str) -> AccountTaskDetail:
        return await account_retrying.retry(self.ctx, self.actor, int(task_id))


class CancelHandler(ApiHandler):
    @operation("hr:write", "Give up an account task that waits.", everywhere=True)
    async def post(self, task_id: str) -> AccountTaskDetail:
        return await account_retrying.cancel(self.ctx, self.actor, int(task_id))


routes = [
    (r"/api/account-tasks", AccountTasksHandler),
    (r"/api/account-tasks/stats", StatsHandler),
    (r"/api/account-tasks/retry", RetryAllHandler),
    (rf"/api/account-tasks/{ID}", AccountTaskHandler),
    (rf"/api/account-tasks/{ID}/retry", RetryHandler),
    (rf"/api/account-tasks/{ID}/cancel", CancelHandler),
]
