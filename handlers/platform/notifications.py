"""Notifications of the caller: what they want to be told of, when and where; and the webhooks of organizations."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page
from server.people import organization_webhooks
from server.people.schemas import Done
from server.platform.notifications import delivery_settings, own_webhooks, preferences, reading
from server.platform.notifications.delivery_settings import DeliverySettings
from server.platform.notifications.preferences import Choices, Preferences
from server.platform.notifications.reading import Notification, NotificationQuery, Read, ReadRequest, Unread
from server.platform.notifications.webhooks import PlaceWebhookBody, PlaceWebhookPatch, Tried, Webhook, WebhookBody, WebhookPatch, Webhooks
from server.scopes import SIGNED_IN

ID = r"(?P<webhook_id>[0-9]{1,15})"
PLACE = r"/api/organizations/(?P<organization_id>[0-9]{1,15})/webhooks"


class NotificationsHandler(ApiHandler):
    @operation(SIGNED_IN, "The caller's notifications, newest first; unread=1 for those that have not been read.")
    async def get(self, query: NotificationQuery) -> Page[Notification]:
        return await reading.list_own(self.ctx, self.actor, query)


class UnreadCountHandler(ApiHandler):
    @operation(SIGNED_IN, "How many of the caller's notifications have not been read.")
    async def get(self) -> Unread:
        return await reading.count_unread(self.ctx, self.actor)


class ReadHandler(ApiHandler):
    @operation(SIGNED_IN, "Mark some or all of the caller's notifications as read.")
    async def post(self, body: ReadRequest) -> Read:
        return await reading.mark_read(self.ctx, self.actor, body)


class PreferencesHandler(ApiHandler):
    @operation(SIGNED_IN, "What the caller is told in the application, by mail and at their webhooks.")
    async def get(self) -> Preferences:
        return await preferences.get_preferences(self.ctx, self.actor)

    @operation(SIGNED_IN, "Choose what to be told in the application, by mail and at webhooks; what is left out stays.")
    async def put(self, body: Choices) -> Preferences:
        return await preferences.put_preferences(self.ctx, self.actor, body)


class SettingsHandler(ApiHandler):
    @operation(SIGNED_IN, "When the caller's mails go out: at once or once a day, and their quiet hours.")
    async def get(self) -> DeliverySettings:
        return await delivery_settings.get_settings(self.ctx, self.actor)

    @operation(SIGNED_IN, "Choose when mails go out; what is left out is as for those who have chosen nothing.")
    async def put(self, body: DeliverySettings) -> DeliverySettings:
        return await delivery_settings.put_settings(self.ctx, self.actor, body)


class WebhooksHandler(ApiHandler):
    @operation(SIGNED_IN, "The caller's webhooks; addresses and secrets are not shown.")
    async def get(self) -> Webhooks:
        return await own_webhooks.list_own(self.ctx, self.actor)

    @operation(SIGNED_IN, "Have a webhook told of what the caller is told of.", idempotent=True)
    async def post(self, body: WebhookBody) -> Webhook:
        return await own_webhooks.create_own(self.ctx, self.actor, body)


class WebhookHandler(ApiHandler):
    @operation(SIGNED_IN, "Change one of the caller's webhooks; a new address makes it forget the secret.")
    async def patch(self, webhook_id: str, body: WebhookPatch) -> Webhook:
        return await own_webhooks.change_own(self.ctx, self.actor, int(webhook_id), body)

    @operation(SIGNED_IN, "Remove one of the caller's webhooks, with what waits for it.")
    async def delete(self, webhook_id: str) -> Done:
        await own_webhooks.remove_own(self.ctx, self.actor, int(webhook_id))
        return Done()


class WebhookTestHandler(ApiHandler):
    @operation(SIGNED_IN, "Send a test message to one of the caller's webhooks.")
    async def post(self, webhook_id: str) -> Tried:
        return await own_webhooks.try_own(self.ctx, self.actor, int(webhook_id))


class PlaceWebhooksHandler(ApiHandler):
    @operation("organizations:write", "The webhooks of an organization; addresses and secrets are not shown.")
    async def get(self, organization_id: str) -> Webhooks:
        return await organization_webhooks.list_webhooks(self.ctx, self.actor, int(organization_id))

    @operation("organizations:write", "Have a webhook told of what happens in an organization and below it.", idempotent=True)
    async def post(self, organization_id: str, body: PlaceWebhookBody) -> Webhook:
        return await organization_webhooks.create_webhook(self.ctx, self.actor, int(organization_id), body)


class PlaceWebhookHandler(ApiHandler):
    @operation("organizations:write", "Change a webhook of an organization; a new address makes it forget the secret.")
    async def patch(self, organization_id: str, webhook_id: str, body: PlaceWebhookPatch) -> Webhook:
        return await organization_webhooks.change_webhook(self.ctx, self.actor, int(organization_id), int(webhook_id), body)

    @operation("organizations:write", "Remove a webhook of an organization, with what waits for it.")
    async def delete(self, organization_id: str, webhook_id: str) -> Done:
        await organization_webhooks.remove_webhook(self.ctx, self.actor, int(organization_id), int(webhook_id))
        return Done()


class PlaceWebhookTestHandler(ApiHandler):
    @operation("organizations:write", "Send a test message to a webhook of an organization.")
    async def post(self, organization_id: str, webhook_id: str) -> Tried:
        return await organization_webhooks.try_webhook(self.ctx, self.actor, int(organization_id), int(webhook_id))


routes = [
    (r"/api/notifications", NotificationsHandler),
    (r"/api/notifications/unread-count", UnreadCountHandler),
    (r"/api/notifications/read", ReadHandler),
    (r"/api/notifications/preferences", PreferencesHandler),
    (r"/api/notifications/settings", SettingsHandler),
    (r"/api/notifications/webhooks", WebhooksHandler),
    (rf"/api/notifications/webhooks/{ID}", WebhookHandler),
    (rf"/api/notifications/webhooks/{ID}/test", WebhookTestHandler),
    (PLACE, PlaceWebhooksHandler),
    (rf"{PLACE}/{ID}", PlaceWebhookHandler),
    (rf"{PLACE}/{ID}/test", PlaceWebhookTestHandler),
]
