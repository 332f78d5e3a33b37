"""/api/audit-log: who did what, and whether that is still what was written."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page
from server.platform import audit_reading, audit_verifying
from server.platform.audit_reading import AuditQuery, AuditRow
from server.platform.audit_verifying import Verdict


class AuditLogHandler(ApiHandler):
    @operation("audit:read", "The audit log, newest first.", everywhere=True)
    async def get(self, query: AuditQuery) -> Page[AuditRow]:
        return await audit_reading.list_rows(self.ctx, self.actor, query)


class ExportHandler(ApiHandler):
    @operation("audit:read", "The audit log as CSV, oldest first.", raw=True, everywhere=True)
    async def get(self, query: AuditQuery) -> None:
        pieces = audit_reading.export_rows(self.ctx, self.actor, query)
        first = await anext(pieces)
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="audit-log.csv"')
        if self.request.method == "HEAD":
            await pieces.aclose()
            return
        self.write(first)
        async for piece in pieces:
            self.write(piece)
            await self.flush()


class VerifyHandler(ApiHandler):
    @operation("audit:read", "Whether the sealed rows are as they were written, none changed, removed or put in between.", everywhere=True)
    async def get(self) -> Verdict:
        return await audit_verifying.verify(self.ctx)


routes = [
    (r"/api/audit-log", AuditLogHandler),
    (r"/api/audit-log/export\.csv", ExportHandler),
    (r"/api/audit-log/verify", VerifyHandler),
]
