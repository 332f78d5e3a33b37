"""SCIM users."""

from __future__ import annotations

from typing import Any

from handlers.operation import operation
from handlers.scim.answering import SCOPE, ScimHandler
from server.people.scim import users
from server.people.scim.schemas import USER
from server.people.scim.searching import Search, Showing, search

ID = r"(?P<user_id>[^/]+)"


class UsersHandler(ScimHandler):
    @operation(SCOPE, "Users, filtered, sorted and by page.", raw=True, everywhere=True)
    async def get(self, query: Search) -> None:
        await self.scim(await search(self.ctx, (USER,), query, self.base))

    @operation(SCOPE, "Create a user, or bring back the one that was deleted under the name.", raw=True, everywhere=True)
    async def post(self, query: Showing, body: dict[str, Any]) -> None:
        await self.resource(await users.create_user(self.ctx, self.actor, body), query, status=201)


class UserHandler(ScimHandler):
    @operation(SCOPE, "One user.", raw=True, everywhere=True)
    async def get(self, user_id: str, query: Showing) -> None:
        await self.resource(await users.get_user(self.ctx, user_id), query)

    @operation(SCOPE, "Set all attributes of a user.", raw=True, everywhere=True)
    async def put(self, user_id: str, query: Showing, body: dict[str, Any]) -> None:
        await self.resource(await users.replace_user(self.ctx, self.actor, user_id, body, self.if_match), query)

    @operation(SCOPE, "Change a user by operations.", raw=True, everywhere=True)
    async def patch(self, user_id: str, query: Showing, body: dict[str, Any]) -> None:
        await self.resource(await users.patch_user(self.ctx, self.actor, user_id, body, self.if_match), query)

    @operation(SCOPE, "Disable a user everywhere at once, and show it over SCIM no more.", raw=True, everywhere=True)
    async def delete(self, user_id: str) -> None:
        await users.delete_user(self.ctx, self.actor, user_id, self.if_match)
        self.nothing()


routes = [
    (r"/scim/v2/Users", UsersHandler),
    (rf"/scim/v2/Users/{ID}", UserHandler),
]
