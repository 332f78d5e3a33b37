"""/module: registration, lists, one module, messages."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.dispatch import modules
from server.dispatch.errors import RegistrationRefused
from server.dispatch.module_schemas import MessageRequest, MessageSent, Module, ModulePatch, Registered, RegisterRequest
from server.people.schemas import Done
from server.scopes import ANYONE

HASH = r"(?P<hash>[0-9a-f]{32})"


class RegisterHandler(ApiHandler):
    """Open to loopback in development; else to the module key and to modules:write, which the action checks."""

    async def prepare(self) -> None:
        await super().prepare()
        # A page of somebody else's, in a browser on the same machine, also comes from loopback.
        if not self.actor.signed_in and self.request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise RegistrationRefused(scope="modules:write")

    @operation(ANYONE, "Register a module, by query parameters.", form=True)
    async def get(self, body: RegisterRequest) -> Registered:
        return await modules.register(self.ctx, self.actor, body)

    @operation(ANYONE, "Register a module.", form=True)
    async def post(self, body: RegisterRequest) -> Registered:
        body.key = body.key or self.get_query_argument("key", "")
        return await modules.register(self.ctx, self.actor, body)


class OnlineHandler(ApiHandler):
    @operation(ANYONE, "The modules that are online; open on the same terms as registration, and to modules:read.")
    async def get(self) -> list[Module]:
        return await modules.list_modules(self.ctx, self.actor, online_only=True)


class ListHandler(ApiHandler):
    @operation("modules:read", "All modules.")
    async def get(self) -> list[Module]:
        return await modules.list_modules(self.ctx, self.actor)


class MessageHandler(ApiHandler):
    @operation("modules:send", "Send a message to a module's socket.")
    async def post(self, body: MessageRequest) -> MessageSent:
        return MessageSent(message=await modules.send_message(self.ctx, self.actor, body.module_hash, body.message))


class ModuleHandler(ApiHandler):
    @operation("modules:read", "A module.")
    async def get(self, hash: str) -> Module:
        return await modules.get_module(self.ctx, self.actor, hash)

    @operation("modules:write", "Change a module's description or requirements.")
    async def patch(self, hash: str, body: ModulePatch) -> Module:
        return await modules.patch_module(self.ctx, self.actor, hash, body)

    @operation("modules:write", "Remove a module and close its sockets.")
    async def delete(self, hash: str) -> Done:
        await modules.remove_module(self.ctx, self.actor, hash)
        return Done()


routes = [
    (r"/module/register", RegisterHandler),
    (r"/module/online", OnlineHandler),
    (r"/module/list", ListHandler),
    (r"/module/send_message", MessageHandler),
    (rf"/module/{HASH}", ModuleHandler),
]
