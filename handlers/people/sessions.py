"""/api/auth/sessions and /api/users/ID/sessions: who is signed in where."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page, PageQuery
from server.people import session_list
from server.people.schemas import Done
from server.people.session_list import Ended, OpenSession
from server.scopes import SIGNED_IN


class OwnSessionsHandler(ApiHandler):
    @operation(SIGNED_IN, "The caller's open sessions, newest first; q searches addresses and agents.")
    async def get(self, query: PageQuery) -> Page[OpenSession]:
        return await session_list.list_own(self.ctx, self.actor, query)

    @operation(SIGNED_IN, "End all sessions of the caller but this one; their sockets close.")
    async def delete(self) -> Ended:
        return await session_list.end_others(self.ctx, self.actor)


class OwnSessionHandler(ApiHandler):
    @operation(SIGNED_IN, "End one session of the caller; its sockets close.")
    async def delete(self, session_id: str) -> Done:
        await session_list.end_own(self.ctx, self.actor, session_id)
        return Done()


class UserSessionsHandler(ApiHandler):
    @operation("users:write", "A user's open sessions, newest first.")
    async def get(self, user_id: str, query: PageQuery) -> Page[OpenSession]:
        return await session_list.list_of_user(self.ctx, self.actor, int(user_id), query)

    @operation("users:write", "End all sessions of a user; their sockets close.")
    async def delete(self, user_id: str) -> Ended:
        return await session_list.end_of_user(self.ctx, self.actor, int(user_id))


routes = [
    (r"/api/auth/sessions", OwnSessionsHandler),
    (r"/api/auth/sessions/(?P<session_id>[0-9a-f]{32})", OwnSessionHandler),
    (r"/api/users/(?P<user_id>[0-9]{1,18})/sessions", UserSessionsHandler),
]
