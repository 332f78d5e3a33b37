"""Looking with another user's eyes, and what a user may and why."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.people import explaining, view_as
from server.people.explaining import Rights, RightsQuery
from server.people.view_as import View, ViewRequest

ID = r"(?P<user_id>[0-9]{1,15})"


class ViewAsHandler(ApiHandler):
    @operation("users:write", "A token to look with a user's eyes: reads alone, for fifteen minutes at most.", everywhere=True)
    async def post(self, user_id: str, body: ViewRequest) -> View:
        agent = self.request.headers.get("User-Agent", "")
        return await view_as.begin(self.ctx, self.actor, int(user_id), body, agent=agent)


class RightsHandler(ApiHandler):
    @operation("users:read", "What a user may, where and by which role; with a scope, why or why not.")
    async def get(self, user_id: str, query: RightsQuery) -> Rights:
        return await explaining.get_rights(self.ctx, self.actor, int(user_id), query)


routes = [
    (rf"/api/users/{ID}/view-as", ViewAsHandler),
    (rf"/api/users/{ID}/rights", RightsHandler),
]
