"""SCIM groups."""

from __future__ import annotations

from typing import Any

from handlers.operation import operation
from handlers.scim.answering import SCOPE, ScimHandler
from server.people.scim import groups
from server.people.scim.schemas import GROUP
from server.people.scim.searching import Search, Showing, search

ID = r"(?P<organization_id>[^/]+)"


class GroupsHandler(ScimHandler):
    @operation(SCOPE, "Groups, filtered, sorted and by page.", raw=True, everywhere=True)
    async def get(self, query: Search) -> None:
        await self.scim(await search(self.ctx, (GROUP,), query, self.base))

    @operation(SCOPE, "Create a group: an organization below the root.", raw=True, everywhere=True)
    async def post(self, query: Showing, body: dict[str, Any]) -> None:
        await self.resource(await groups.create_group(self.ctx, self.actor, body), query, status=201)


class GroupHandler(ScimHandler):
    @operation(SCOPE, "One group.", raw=True, everywhere=True)
    async def get(self, organization_id: str, query: Showing) -> None:
        with_members = query.projection().shows(GROUP, "members")
        await self.resource(await groups.get_group(self.ctx, organization_id, with_members=with_members), query)

    @operation(SCOPE, "Set name and members of a group.", raw=True, everywhere=True)
    async def put(self, organization_id: str, query: Showing, body: dict[str, Any]) -> None:
        await self.resource(await groups.replace_group(self.ctx, self.actor, organization_id, body, self.if_match), query)

    @operation(SCOPE, "Change a group by operations.", raw=True, everywhere=True)
    async def patch(self, organization_id: str, query: Showing, body: dict[str, Any]) -> None:
        await self.resource(await groups.patch_group(self.ctx, self.actor, organization_id, body, self.if_match), query)

    @operation(SCOPE, "Remove a group that nothing but members hang on.", raw=True, everywhere=True)
    async def delete(self, organization_id: str) -> None:
        await groups.delete_group(self.ctx, self.actor, organization_id, self.if_match)
        self.nothing()


routes = [
    (r"/scim/v2/Groups", GroupsHandler),
    (rf"/scim/v2/Groups/{ID}", GroupHandler),
]
