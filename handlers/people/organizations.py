"""/api/organizations: the tree of organizations, and their members."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page, PageQuery
from server.people import organization_members, organizations
from server.people.organization_members import Member, MemberBody, MemberQuery
from server.people.organizations import Organization, OrganizationBody, OrganizationMove, OrganizationPatch, OrganizationQuery
from server.people.schemas import Done

ID = r"(?P<organization_id>[0-9]{1,15})"


class OrganizationsHandler(ApiHandler):
    @operation("organizations:read", "Organizations, by page; q searches names and codes, `under` keeps what lies below one.")
    async def get(self, query: OrganizationQuery) -> Page[Organization]:
        return await organizations.list_organizations(self.ctx, self.actor, query)

    @operation("organizations:write", "Make an organization below another one.", idempotent=True)
    async def post(self, body: OrganizationBody) -> Organization:
        return await organizations.create_organization(self.ctx, self.actor, body)


class OrganizationHandler(ApiHandler):
    @operation("organizations:read", "An organization.")
    async def get(self, organization_id: str) -> Organization:
        return await organizations.get_organization(self.ctx, self.actor, int(organization_id))

    @operation("organizations:write", "Change an organization's name, code or kind.")
    async def patch(self, organization_id: str, body: OrganizationPatch) -> Organization:
        return await organizations.change_organization(self.ctx, self.actor, int(organization_id), body)

    @operation("organizations:write", "Remove an organization that nothing belongs to.")
    async def delete(self, organization_id: str) -> Done:
        await organizations.remove_organization(self.ctx, self.actor, int(organization_id))
        return Done()


class MoveHandler(ApiHandler):
    @operation("organizations:write", "Move an organization, with all below it, under another one.")
    async def post(self, organization_id: str, body: OrganizationMove) -> Organization:
        return await organizations.move_organization(self.ctx, self.actor, int(organization_id), body.parent_id)


class MembersHandler(ApiHandler):
    @operation("users:read", "An organization's members.")
    async def get(self, organization_id: str, query: PageQuery) -> Page[Member]:
        return await organization_members.list_members(self.ctx, self.actor, int(organization_id), query)

    @operation("organizations:write", "Make a user a member, or give a member another position.")
    async def post(self, organization_id: str, body: MemberBody) -> Member:
        return await organization_members.put_member(self.ctx, self.actor, int(organization_id), body)

    @operation("organizations:write", "Take a member out of an organization.")
    async def delete(self, organization_id: str, query: MemberQuery) -> Done:
        await organization_members.remove_member(self.ctx, self.actor, int(organization_id), query.user_id)
        return Done()


routes = [
    (r"/api/organizations", OrganizationsHandler),
    (rf"/api/organizations/{ID}", OrganizationHandler),
    (rf"/api/organizations/{ID}/move", MoveHandler),
    (rf"/api/organizations/{ID}/members", MembersHandler),
]
