"""/api/search: passages by meaning, by words, or both."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.knowledge.search import search
from server.knowledge.search_schemas import SearchAnswer, SearchBody, SearchQuery


class SearchHandler(ApiHandler):
    @operation("documents:read", "Search what the caller may see.")
    async def get(self, query: SearchQuery) -> SearchAnswer:
        return await search(self.ctx, self.actor, query.body)

    @operation("documents:read", "Search, with the question in the body.", reads=True)
    async def post(self, body: SearchBody) -> SearchAnswer:
        return await search(self.ctx, self.actor, body)


routes = [(r"/api/search", SearchHandler)]
