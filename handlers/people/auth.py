"""/api/auth: signing in and out, the caller's own view, tickets for browser sockets."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.people import sessions, tickets, users, view_as
from server.people.schemas import Done, LoginRequest, Me, RefreshRequest, Ticket, TokenPair
from server.people.user_schemas import MePatch
from server.scopes import ANYONE, SIGNED_IN


class LoginHandler(ApiHandler):
    @operation(ANYONE, "Sign in with a user name or mail address and a password.")
    async def post(self, body: LoginRequest) -> TokenPair:
        return await sessions.log_in(self.ctx, self.actor, body, agent=self.request.headers.get("User-Agent", ""))


class RefreshHandler(ApiHandler):
    @operation(ANYONE, "A new pair of tokens for a refresh token; reuse of an old one ends the session.")
    async def post(self, body: RefreshRequest) -> TokenPair:
        return await sessions.refresh(self.ctx, self.actor, body.refresh_token)


class LogoutHandler(ApiHandler):
    @operation(SIGNED_IN, "End the session, its tokens and its sockets.", reads=True)
    async def post(self) -> Done:
        await sessions.log_out(self.ctx, self.actor)
        return Done()


class MeHandler(ApiHandler):
    @operation(SIGNED_IN, "The caller, with roles, scopes and organizations.")
    async def get(self) -> Me:
        return await view_as.get_own(self.ctx, self.actor)

    @operation(SIGNED_IN, "Change one's own name.")
    async def patch(self, body: MePatch) -> Me:
        return await users.change_own(self.ctx, self.actor, body)


class TicketHandler(ApiHandler):
    @operation(SIGNED_IN, "A ticket for one browser socket, good for thirty seconds.", reads=True)
    async def post(self) -> Ticket:
        return await tickets.issue(self.ctx, self.actor)


routes = [
    (r"/api/auth/login", LoginHandler),
    (r"/api/auth/refresh", RefreshHandler),
    (r"/api/auth/logout", LogoutHandler),
    (r"/api/auth/me", MeHandler),
    (r"/api/auth/ticket", TicketHandler),
]
