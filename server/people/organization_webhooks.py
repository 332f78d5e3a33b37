"""The webhooks of an organization: told of what happens in it and below it, when those in charge should hear of that."""

from __future__ import annotations

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.people.organizations import access_organization
from server.platform.notifications import webhooks
from server.platform.notifications.webhooks import Owner, PlaceWebhookBody, PlaceWebhookPatch, Tried, Webhook, Webhooks


async def list_webhooks(ctx: Context, actor: Actor, organization_id: int) -> Webhooks:
    """Only for those who may change the organization: others need not know of its chats. Raises OrganizationNotFound, Forbidden."""

    def transaction(connection: sa.Connection) -> Webhooks:
        access_organization(connection, actor, organization_id, to_change=True)
        return webhooks.list_of(connection, Owner(organization_id=organization_id))

    return await ctx.sql.read(transaction)


async def create_webhook(ctx: Context, actor: Actor, organization_id: int, body: PlaceWebhookBody) -> Webhook:
    """Raises OrganizationNotFound, Forbidden, Invalid naming the field."""

    def transaction(connection: sa.Connection) -> Webhook:
        access_organization(connection, actor, organization_id, to_change=True)
        return webhooks.make(ctx, connection, actor, Owner(organization_id=organization_id), body)

    return await ctx.sql.write(transaction)


async def change_webhook(ctx: Context, actor: Actor, organization_id: int, webhook_id: int, patch: PlaceWebhookPatch) -> Webhook:
    """Raises OrganizationNotFound, Forbidden, WebhookNotFound, Invalid naming the field."""

    def transaction(connection: sa.Connection) -> Webhook:
        access_organization(connection, actor, organization_id, to_change=True)
        return webhooks.change(ctx, connection, actor, Owner(organization_id=organization_id), webhook_id, patch)

    return await ctx.sql.write(transaction)


async def remove_webhook(ctx: Context, actor: Actor, organization_id: int, webhook_id: int) -> None:
    """Raises OrganizationNotFound, Forbidden, WebhookNotFound."""

    def transaction(connection: sa.Connection) -> None:
        access_organization(connection, actor, organization_id, to_change=True)
        webhooks.remove(ctx, connection, actor, Owner(organization_id=organization_id), webhook_id)

    await ctx.sql.write(transaction)


async def try_webhook(ctx: Context, actor: Actor, organization_id: int, webhook_id: int) -> Tried:
    """Send a test message. Raises OrganizationNotFound, Forbidden, WebhookNotFound."""
    await ctx.sql.read(lambda connection: access_organization(connection, actor, organization_id, to_change=True))
    return await webhooks.send_test(ctx, Owner(organization_id=organization_id), webhook_id)
