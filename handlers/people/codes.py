"""/api/auth: mail codes, and what they are good for; the caller's own new password."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.people import codes, password_change, registration
from server.people.codes import CodeAsked, CodeRequest
from server.people.password_change import PasswordChange, PasswordReset
from server.people.registration import CodeLogin, Registration
from server.people.schemas import Done, Me, TokenPair
from server.scopes import ANYONE, SIGNED_IN


class CodeHandler(ApiHandler):
    @operation(ANYONE, "Mail a code to register, to set a new password or to sign in; always the same answer.")
    async def post(self, body: CodeRequest) -> CodeAsked:
        return await codes.ask(self.ctx, self.actor, body)


class RegisterHandler(ApiHandler):
    @operation(ANYONE, "Register with a mail code, where REGISTRATION=on.")
    async def post(self, body: Registration) -> Me:
        return await registration.register(self.ctx, self.actor, body)


class LoginCodeHandler(ApiHandler):
    @operation(ANYONE, "Sign in with a mail code.")
    async def post(self, body: CodeLogin) -> TokenPair:
        return await registration.log_in_by_code(self.ctx, self.actor, body, agent=self.request.headers.get("User-Agent", ""))


class ResetPasswordHandler(ApiHandler):
    @operation(ANYONE, "Set a new password by a mail code; all sessions end.")
    async def post(self, body: PasswordReset) -> Done:
        await password_change.reset(self.ctx, self.actor, body)
        return Done()


class ChangePasswordHandler(ApiHandler):
    @operation(SIGNED_IN, "Set a new password by the present one; all other sessions end.")
    async def post(self, body: PasswordChange) -> Done:
        await password_change.change(self.ctx, self.actor, body)
        return Done()


routes = [
    (r"/api/auth/code", CodeHandler),
    (r"/api/auth/register", RegisterHandler),
    (r"/api/auth/login-code", LoginCodeHandler),
    (r"/api/auth/reset-password", ResetPasswordHandler),
    (r"/api/auth/change-password", ChangePasswordHandler),
]
