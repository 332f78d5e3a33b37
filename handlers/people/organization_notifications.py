"""Who in an organization is told of what."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.people import organization_notifications
from server.people.organization_notifications import OrganizationChoices, OrganizationNotifications


class OrganizationNotificationsHandler(ApiHandler):
    @operation("organizations:read", "Who in an organization is told of what: its own choices, and those that it inherits.")
    async def get(self, organization_id: str) -> OrganizationNotifications:
        return await organization_notifications.get_choices(self.ctx, self.actor, int(organization_id))

    @operation("organizations:write", "Choose who in an organization is told of what; a kind that is left out is inherited.")
    async def put(self, organization_id: str, body: OrganizationChoices) -> OrganizationNotifications:
        return await organization_notifications.put_choices(self.ctx, self.actor, int(organization_id), body)


routes = [(r"/api/organizations/(?P<organization_id>[0-9]{1,15})/notifications", OrganizationNotificationsHandler)]
