"""/api/users: the people of the institution."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page, PageQuery
from server.people import users
from server.people.schemas import User


class UsersHandler(ApiHandler):
    @operation("users:read", "Users, by page; q searches names and mail addresses.")
    async def get(self, query: PageQuery) -> Page[User]:
        return await users.list_users(self.ctx, self.actor, query)


routes = [(r"/api/users", UsersHandler)]
