"""Jobs of notifications: telling by mail, one by one or together, and at webhooks."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from jobs.registry import job
from server.context import Context
from server.engines.mail import MailRefused
from server.people import digest_mail, notification_mail, told
from server.platform.notifications import telling, webhook_delivery
from server.platform.notifications.telling import DIGEST_MAIL, NOTIFICATION_MAIL
from server.platform.notifications.webhook_queue import WEBHOOK_POST
from server.platform.schedules.actions import SystemSchedule
from server.platform.tables import notifications

SCHEDULES: tuple[SystemSchedule, ...] = ()


@job(NOTIFICATION_MAIL, queue="mail", max_attempts=10, backoff_s=5, time_limit_s=60, gives_up_on=(MailRefused,))
async def send(ctx: Context, notification_id: int) -> dict[str, object]:
    """Mail one notification; each try has the same mail id, so a relay drops a second copy."""
    which = notifications.c.id == notification_id

    def put_off(connection: sa.Connection) -> bool:
        user_id = connection.execute(sa.select(notifications.c.user_id).where(which)).scalar()
        return user_id is not None and telling.put_off(connection, ctx.clock.now(), user_id, which)

    if await ctx.sql.write(put_off):
        return {"sent": False, "why": "quiet hours"}
    mail = await notification_mail.compose(ctx, notification_id)
    if mail is None:
        return {"sent": False, "why": "nobody is to be told"}
    await ctx.mail.send(mail)
    return {"sent": True}


@job(DIGEST_MAIL, queue="mail", max_attempts=10, backoff_s=5, time_limit_s=60, gives_up_on=(MailRefused,))
async def send_digest(ctx: Context, user_id: int, at: str) -> dict[str, object]:
    """Mail what waited for an instant together; each try has the same mail id."""
    slot = datetime.fromisoformat(at)
    which = notifications.c.digest_at == slot
    if await ctx.sql.write(lambda connection: telling.put_off(connection, ctx.clock.now(), user_id, which)):
        return {"sent": False, "why": "quiet hours"}
    mail = await digest_mail.compose(ctx, user_id, slot)
    if mail is None:
        return {"sent": False, "why": "nobody is to be told"}
    await ctx.mail.send(mail)
    return {"sent": True}


@job(WEBHOOK_POST, queue="mail", max_attempts=5, backoff_s=5, time_limit_s=60)
async def post(ctx: Context, webhook_id: int) -> dict[str, object]:
    """Post what waits for a webhook; what it does not take waits longer each time."""
    return await webhook_delivery.deliver(ctx, webhook_id, told.is_active)
