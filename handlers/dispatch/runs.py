"""/run: one run, its logs, its end."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.dispatch import run_logs, runs
from server.dispatch.run_schemas import CancelRequest, LogChunk, LogQuery, RetryRequest, Run

ID = r"(?P<run_id>[0-9a-f]{32})"


class RunHandler(ApiHandler):
    @operation("workflows:read", "A run with its steps, attempts, outputs and last log lines.")
    async def get(self, run_id: str) -> Run:
        return await runs.get_run(self.ctx, self.actor, run_id)


class LogsHandler(ApiHandler):
    @operation("workflows:read", "Log lines of one step, from a line number on.")
    async def get(self, run_id: str, query: LogQuery) -> LogChunk:
        return await run_logs.read_log(self.ctx, self.actor, run_id, query)


class CancelHandler(ApiHandler):
    @operation("workflows:run", "Ask a run to stop.")
    async def post(self, run_id: str, body: CancelRequest) -> Run:
        return await runs.cancel(self.ctx, self.actor, run_id, reason=body.reason)


class RetryHandler(ApiHandler):
    @operation("workflows:run", "A new run, from the failed steps or from the start.", idempotent=True)
    async def post(self, run_id: str, body: RetryRequest) -> Run:
        return await runs.retry(self.ctx, self.actor, run_id, from_failed=body.from_ == "failed")


routes = [
    (rf"/run/{ID}", RunHandler),
    (rf"/run/{ID}/logs", LogsHandler),
    (rf"/run/{ID}/cancel", CancelHandler),
    (rf"/run/{ID}/retry", RetryHandler),
]
