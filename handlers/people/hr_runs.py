"""Sync runs, their plans and what people decide about them."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page
from server.people.hr import approving, changes, runs, undoing
from server.people.hr.run_schemas import Approval, ChangeQuery, Decision, HrChange, HrRun, Rejection, RunQuery, SyncRequest

ID = r"(?P<run_id>[0-9a-f]{32})"


class SyncHandler(ApiHandler):
    @operation("hr:write", "Sync a source, or with dry_run only plan it.", status=202, idempotent=True, everywhere=True)
    async def post(self, body: SyncRequest) -> HrRun:
        return await runs.start(self.ctx, self.actor, body)


class RunsHandler(ApiHandler):
    @operation("hr:read", "Runs of HR sync, newest first.", everywhere=True)
    async def get(self, query: RunQuery) -> Page[HrRun]:
        return await runs.list_runs(self.ctx, self.actor, query)


class RunHandler(ApiHandler):
    @operation("hr:read", "A run with its counts and the limits that it is above.", everywhere=True)
    async def get(self, run_id: str) -> HrRun:
        return await runs.get_run(self.ctx, self.actor, run_id)


class ChangesHandler(ApiHandler):
    @operation("hr:read", "The changes of a run, what is strange first.", everywhere=True)
    async def get(self, run_id: str, query: ChangeQuery) -> Page[HrChange]:
        return await changes.list_changes(self.ctx, self.actor, run_id, query)


class ApproveHandler(ApiHandler):
    @operation("hr:approve", "Approve a plan that waits, or some kinds of its changes; never one's own.", everywhere=True)
    async def post(self, run_id: str, body: Approval) -> HrRun:
        return await approving.approve(self.ctx, self.actor, run_id, body)


class RejectHandler(ApiHandler):
    @operation("hr:approve", "Reject a plan that waits.", everywhere=True)
    async def post(self, run_id: str, body: Rejection) -> HrRun:
        return await approving.reject(self.ctx, self.actor, run_id, body)


class UndoHandler(ApiHandler):
    @operation("hr:approve", "Plan the undo of a run, for all that has not changed since.", status=202, everywhere=True)
    async def post(self, run_id: str) -> HrRun:
        return await undoing.undo(self.ctx, self.actor, run_id)


class DecideHandler(ApiHandler):
    @operation("hr:approve", "Say which account a newcomer has: user_id, create or skip.", everywhere=True)
    async def post(self, change_id: str, body: Decision) -> HrChange:
        return await changes.decide(self.ctx, self.actor, int(change_id), body)


routes = [
    (r"/api/hr/sync", SyncHandler),
    (r"/api/hr/runs", RunsHandler),
    (rf"/api/hr/runs/{ID}", RunHandler),
    (rf"/api/hr/runs/{ID}/changes", ChangesHandler),
    (rf"/api/hr/runs/{ID}/approve", ApproveHandler),
    (rf"/api/hr/runs/{ID}/reject", RejectHandler),
    (rf"/api/hr/runs/{ID}/undo", UndoHandler),
    (r"/api/hr/changes/(?P<change_id>[0-9]{1,15})/decide", DecideHandler),
]
