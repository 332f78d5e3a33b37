"""/workflow: workflows, their fires and their runs."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.dispatch import backfill, fires, preview, runs, workflows
from server.dispatch.backfill import Backfill, BackfillRequest
from server.dispatch.run_schemas import FireQuery, FireRow, RunQuery, RunSummary, Why, WhyQuery
from server.dispatch.workflow_schemas import ExecuteAnswer, ExecuteBody, PreviewAnswer, PreviewBody, WorkflowBody, WorkflowView
from server.paging import Page
from server.people.schemas import Done

ID = r"(?P<ref>[0-9]{1,18}|[0-9a-f]{32})"


class CreateHandler(ApiHandler):
    @operation("workflows:write", "Create a workflow.", idempotent=True)
    async def post(self, body: WorkflowBody) -> WorkflowView:
        return await workflows.create(self.ctx, self.actor, body)


class ListHandler(ApiHandler):
    @operation("workflows:read", "All workflows.")
    async def get(self) -> list[WorkflowView]:
        return await workflows.list_workflows(self.ctx, self.actor)


class PreviewHandler(ApiHandler):
    @operation("workflows:read", "What a draft would do; saves nothing.")
    async def post(self, body: PreviewBody) -> PreviewAnswer:
        return await preview.preview(self.ctx, self.actor, body)


class WorkflowHandler(ApiHandler):
    @operation("workflows:read", "A workflow with its next ten fires.")
    async def get(self, ref: str) -> WorkflowView:
        return await workflows.get(self.ctx, self.actor, ref)

    @operation("workflows:write", "Replace a workflow's definition.")
    async def put(self, ref: str, body: WorkflowBody) -> WorkflowView:
        return await workflows.update(self.ctx, self.actor, ref, body)

    @operation("workflows:write", "Remove a workflow.")
    async def delete(self, ref: str) -> Done:
        await workflows.remove(self.ctx, self.actor, ref)
        return Done()


class EnableHandler(ApiHandler):
    @operation("workflows:write", "Let the workflow's schedule fire.")
    async def post(self, ref: str) -> WorkflowView:
        return await workflows.enable(self.ctx, self.actor, ref, True)


class DisableHandler(ApiHandler):
    @operation("workflows:write", "Let the workflow's schedule fire no more.")
    async def post(self, ref: str) -> WorkflowView:
        return await workflows.enable(self.ctx, self.actor, ref, False)


class ExecuteHandler(ApiHandler):
    @operation("workflows:run", "Start a run now.", idempotent=True)
    async def post(self, ref: str, body: ExecuteBody) -> ExecuteAnswer:
        return await runs.execute(self.ctx, self.actor, ref, body)


class BackfillHandler(ApiHandler):
    @operation("workflows:run", "Start runs for planned instants of the past that did not fire.", idempotent=True)
    async def post(self, ref: str, body: BackfillRequest) -> Backfill:
        return await backfill.backfill(self.ctx, self.actor, ref, body)


class FiresHandler(ApiHandler):
    @operation("workflows:read", "What became of each planned instant, newest first.")
    async def get(self, ref: str, query: FireQuery) -> Page[FireRow]:
        return await fires.list_fires(self.ctx, self.actor, ref, query)


class WhyHandler(ApiHandler):
    @operation("workflows:read", "Why something did, or did not, happen at a time.")
    async def get(self, ref: str, query: WhyQuery) -> Why:
        return await fires.why(self.ctx, self.actor, ref, query)


class RunsHandler(ApiHandler):
    @operation("workflows:read", "The runs of a workflow, newest first.")
    async def get(self, ref: str, query: RunQuery) -> Page[RunSummary]:
        return await runs.list_runs(self.ctx, self.actor, ref, query)


routes = [
    (r"/workflow/create", CreateHandler),
    (r"/workflow/list", ListHandler),
    (r"/workflow/preview", PreviewHandler),
    (rf"/workflow/{ID}", WorkflowHandler),
    (rf"/workflow/{ID}/enable", EnableHandler),
    (rf"/workflow/{ID}/disable", DisableHandler),
    (rf"/workflow/{ID}/execute", ExecuteHandler),
    (rf"/workflow/{ID}/backfill", BackfillHandler),
    (rf"/workflow/{ID}/fires", FiresHandler),
    (rf"/workflow/{ID}/why", WhyHandler),
    (rf"/workflow/{ID}/runs", RunsHandler),
]
