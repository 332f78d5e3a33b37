"""What our SCIM server can do: configuration, resource types, schemas; and what concerns users and groups alike: .search and Bulk."""

from __future__ import annotations

from typing import Any

from handlers.operation import operation
from handlers.scim.answering import SCOPE, ScimHandler, scim_error, scim_status
from server.people.scim import bulk, discovery
from server.people.scim.bulk import Outcome
from server.people.scim.checking import check_message
from server.people.scim.schema_model import MESSAGES_URN, ResourceKind
from server.people.scim.schemas import GROUP, KINDS, USER
from server.people.scim.searching import ListResponse, SearchRequest, search


class ConfigurationHandler(ScimHandler):
    @operation(SCOPE, "What this SCIM server supports.", raw=True, everywhere=True)
    async def get(self) -> None:
        await self.scim(discovery.configuration(self.base, self._limit))


class ListedHandler(ScimHandler):
    """A list that is never filtered."""

    async def listed(self, described: list[dict[str, Any]]) -> None:
        await self.scim(ListResponse(total_results=len(described), start_index=1, items_per_page=len(described), resources=described))


class ResourceTypesHandler(ListedHandler):
    @operation(SCOPE, "The kinds of resources.", raw=True, everywhere=True)
    async def get(self) -> None:
        await self.listed(discovery.resource_types(self.base))


class ResourceTypeHandler(ScimHandler):
    @operation(SCOPE, "One kind of resource.", raw=True, everywhere=True)
    async def get(self, name: str) -> None:
        await self.scim(discovery.get_named(discovery.resource_types(self.base), name))


class SchemasHandler(ListedHandler):
    @operation(SCOPE, "The schemas of users and groups.", raw=True, everywhere=True)
    async def get(self) -> None:
        await self.listed(discovery.schemas(self.base))


class SchemaHandler(ScimHandler):
    @operation(SCOPE, "One schema.", raw=True, everywhere=True)
    async def get(self, name: str) -> None:
        await self.scim(discovery.get_named(discovery.schemas(self.base), name))


class SearchHandler(ScimHandler):
    """.search below one endpoint, or below all."""

    kinds: tuple[ResourceKind, ...] = KINDS

    @operation(SCOPE, "Search users and groups at once.", raw=True, everywhere=True)
    async def post(self, body: dict[str, Any]) -> None:
        await self.searched(body)

    async def searched(self, body: dict[str, Any]) -> None:
        wanted = self.converted(check_message("SearchRequest", body), SearchRequest).search()
        await self.scim(await search(self.ctx, self.kinds, wanted, self.base))


class UserSearchHandler(SearchHandler):
    kinds = (USER,)

    @operation(SCOPE, "Search users.", raw=True, everywhere=True)
    async def post(self, body: dict[str, Any]) -> None:
        await self.searched(body)


class GroupSearchHandler(SearchHandler):
    kinds = (GROUP,)

    @operation(SCOPE, "Search groups.", raw=True, everywhere=True)
    async def post(self, body: dict[str, Any]) -> None:
        await self.searched(body)


class BulkHandler(ScimHandler):
    @operation(SCOPE, "Many operations in one request.", raw=True, everywhere=True)
    async def post(self, body: dict[str, Any]) -> None:
        outcomes = await bulk.run(self.ctx, self.actor, body)
        await self.scim({"schemas": [f"{MESSAGES_URN}:BulkResponse"], "Operations": [self._told(one) for one in outcomes]})

    def _told(self, one: Outcome) -> dict[str, Any]:
        told: dict[str, Any] = {"method": one.method}
        if one.bulk_id:
            told["bulkId"] = one.bulk_id
        if one.resource_id:
            told["location"] = f"{self.base}/{one.endpoint}/{one.resource_id}"
        if one.error is not None:
            return {**told, "status": str(scim_status(one.error)), "response": scim_error(one.error, self.locale_wanted)}
        if one.read is None:
            return {**told, "status": "204"}
        return {**told, "version": one.read.version, "status": "201" if one.method == "POST" else "200"}


routes = [
    (r"/scim/v2/ServiceProviderConfig", ConfigurationHandler),
    (r"/scim/v2/ResourceTypes", ResourceTypesHandler),
    (r"/scim/v2/ResourceTypes/(?P<name>[^/]+)", ResourceTypeHandler),
    (r"/scim/v2/Schemas", SchemasHandler),
    (r"/scim/v2/Schemas/(?P<name>[^/]+)", SchemaHandler),
    (r"/scim/v2/\.search", SearchHandler),
    (r"/scim/v2/Users/\.search", UserSearchHandler),
    (r"/scim/v2/Groups/\.search", GroupSearchHandler),
    (r"/scim/v2/Bulk", BulkHandler),
]
