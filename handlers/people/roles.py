"""/api/roles: sets of scopes, and who has them where."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page, PageQuery
from server.people import role_grants, roles
from server.people.role_grants import RoleGrants
from server.people.roles import Role, RoleBody, RolePatch
from server.people.schemas import Done


class RolesHandler(ApiHandler):
    @operation("roles:read", "Roles, by page; q searches names and descriptions.")
    async def get(self, query: PageQuery) -> Page[Role]:
        return await roles.list_roles(self.ctx, query)

    @operation("roles:write", "Make a role of scopes that the caller holds everywhere.", idempotent=True, everywhere=True)
    async def post(self, body: RoleBody) -> Role:
        return await roles.create_role(self.ctx, self.actor, body)


class RoleHandler(ApiHandler):
    @operation("roles:read", "A role.")
    async def get(self, role_id: str) -> Role:
        return await roles.get_role(self.ctx, int(role_id))

    @operation("roles:write", "Change a role; its holders feel it at once.", everywhere=True)
    async def patch(self, role_id: str, body: RolePatch) -> Role:
        return await roles.change_role(self.ctx, self.actor, int(role_id), body)

    @operation("roles:write", "Remove a role that nobody has.", everywhere=True)
    async def delete(self, role_id: str) -> Done:
        await roles.remove_role(self.ctx, self.actor, int(role_id))
        return Done()


class UserRolesHandler(ApiHandler):
    @operation("roles:read", "The roles of a user, each with the organization where it holds.")
    async def get(self, user_id: str) -> RoleGrants:
        return await role_grants.get_grants(self.ctx, self.actor, int(user_id))

    @operation("roles:write", "Set the roles of a user.")
    async def put(self, user_id: str, body: RoleGrants) -> RoleGrants:
        return await role_grants.put_grants(self.ctx, self.actor, int(user_id), body)


routes = [
    (r"/api/roles", RolesHandler),
    (r"/api/roles/(?P<role_id>[0-9]{1,15})", RoleHandler),
    (r"/api/users/(?P<user_id>[0-9]{1,15})/roles", UserRolesHandler),
]
