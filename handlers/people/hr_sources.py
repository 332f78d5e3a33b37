"""/api/hr/sources: HR sources and their targets."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page, PageQuery
from server.people.hr import source_trying, sources
from server.people.hr.source_schemas import HrSource, SourceBody, SourcePatch, SourceTest
from server.people.schemas import Done

ID = r"(?P<source_id>[0-9]{1,15})"


class SourcesHandler(ApiHandler):
    @operation("hr:read", "HR sources, by page; q searches names. Secrets are shown as “set”.", everywhere=True)
    async def get(self, query: PageQuery) -> Page[HrSource]:
        return await sources.list_sources(self.ctx, query)

    @operation("hr:write", "Make an HR source; without targets its accounts are our own users.", idempotent=True, everywhere=True)
    async def post(self, body: SourceBody) -> HrSource:
        return await sources.create_source(self.ctx, self.actor, body)


class SourceHandler(ApiHandler):
    @operation("hr:read", "An HR source.", everywhere=True)
    async def get(self, source_id: str) -> HrSource:
        return await sources.show_source(self.ctx, int(source_id))

    @operation("hr:write", "Change an HR source; a new address makes it forget the secrets that are not given anew.", everywhere=True)
    async def patch(self, source_id: str, body: SourcePatch) -> HrSource:
        return await sources.change_source(self.ctx, self.actor, int(source_id), body)

    @operation("hr:write", "Remove an HR source from which nothing came.", everywhere=True)
    async def delete(self, source_id: str) -> Done:
        await sources.remove_source(self.ctx, self.actor, int(source_id))
        return Done()


class SourceTestHandler(ApiHandler):
    @operation("hr:write", "Read the first page of an HR source and say what a sync would see; nothing is kept.", everywhere=True)
    async def post(self, source_id: str) -> SourceTest:
        return await source_trying.try_source(self.ctx, self.actor, int(source_id))


routes = [
    (r"/api/hr/sources", SourcesHandler),
    (rf"/api/hr/sources/{ID}", SourceHandler),
    (rf"/api/hr/sources/{ID}/test", SourceTestHandler),
]
