"""Delivers what waits for a webhook: takes it, posts it, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.platform.notifications import webhook_queue, webhooks
from server.platform.notifications.kinds import sentence_of
from server.platform.notifications.webhook_formats import Line, NotTaken
from server.platform.notifications.webhook_queue import Taken
from server.platform.sealing import SealBroken
from server.platform.tables import notification_webhooks


async def deliver(ctx: Context, webhook_id: int, is_active: Callable[[sa.Connection, int], bool]) -> dict[str, Any]:
    """Post what is a webhook's turn; what is not taken comes again later. `is_active`: whether a person may still be told."""
    now = ctx.clock.now()

    def take(connection: sa.Connection) -> Taken | None:
        owner = connection.execute(sa.select(notification_webhooks.c.user_id).where(notification_webhooks.c.id == webhook_id)).scalar()
        return webhook_queue.take(connection, now, webhook_id, owner is None or is_active(connection, owner))

    taken = await ctx.sql.write(take)
    if taken is None:
        return {"sent": 0, "why": "nobody is to be told"}
    if not taken.rows:
        return {"sent": 0} if taken.until is None else {"sent": 0, "until": taken.until.isoformat()}
    hook = taken.webhook
    try:
        await webhooks.send(ctx, hook, [_line(ctx, hook, row) for row in taken.rows])
    except (NotTaken, SealBroken) as refused:
        why, after_s = str(refused), refused.retry_after_s if isinstance(refused, NotTaken) else None
        await ctx.sql.write(lambda connection: webhook_queue.give_back(connection, ctx.clock.now(), taken, why, after_s))
        return {"sent": 0, "why": why}
    await ctx.sql.write(lambda connection: webhook_queue.settle(connection, ctx.clock.now(), taken))
    return {"sent": len(taken.rows)}


def _line(ctx: Context, hook: Any, row: Any) -> Line:
    link = f"{ctx.settings.url}{row.link}" if row.link else ""
    words = sentence_of(row.kind, row.params, hook.locale)
    return Line(f"{row.webhook_id}-{row.event_key[:32]}", row.kind, words, row.params, link, row.created_at)
