"""The caller's own webhooks."""

from __future__ import annotations

from server.actor import Actor
from server.context import Context
from server.platform.notifications import webhooks
from server.platform.notifications.preferences import own_id
from server.platform.notifications.webhooks import Owner, Tried, Webhook, WebhookBody, WebhookPatch, Webhooks


async def list_own(ctx: Context, actor: Actor) -> Webhooks:
    """Raises Forbidden for keys."""
    owner = Owner(user_id=own_id(actor))
    return await ctx.sql.read(lambda connection: webhooks.list_of(connection, owner))


async def create_own(ctx: Context, actor: Actor, body: WebhookBody) -> Webhook:
    """Raises Forbidden for keys, Invalid naming the field."""
    owner = Owner(user_id=own_id(actor))
    return await ctx.sql.write(lambda connection: webhooks.make(ctx, connection, actor, owner, body))


async def change_own(ctx: Context, actor: Actor, webhook_id: int, patch: WebhookPatch) -> Webhook:
    """Raises Forbidden for keys, WebhookNotFound, Invalid naming the field."""
    owner = Owner(user_id=own_id(actor))
    return await ctx.sql.write(lambda connection: webhooks.change(ctx, connection, actor, owner, webhook_id, patch))


async def remove_own(ctx: Context, actor: Actor, webhook_id: int) -> None:
    """Raises Forbidden for keys, WebhookNotFound."""
    owner = Owner(user_id=own_id(actor))
    await ctx.sql.write(lambda connection: webhooks.remove(ctx, connection, actor, owner, webhook_id))


async def try_own(ctx: Context, actor: Actor, webhook_id: int) -> Tried:
    """Raises Forbidden for keys, WebhookNotFound."""
    return await webhooks.send_test(ctx, Owner(user_id=own_id(actor)), webhook_id)
