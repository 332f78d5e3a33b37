"""The mail that tells the owner of an account what was done to it: a new password, or a new link of single sign-on."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from html import escape
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from server.context import Context
from server.engines.mail import Mail
from server.ids import new_id
from server.messages import Locale, say
from server.people.tables import users
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import notify
from server.platform.tasks import Queue, enqueue

MAIL_ACCOUNT = "mail.account"
MAIL_ATTEMPTS = 10
# Nobody's language is kept: the mail says it in both.
LOCALES: tuple[Locale, ...] = ("zh", "en")


class Happened(StrEnum):
    PASSWORD_CHANGED = "password_changed"  # by the present one
    PASSWORD_RESET = "password_reset"  # by a mail code
    PASSWORD_SET = "password_set"  # by an administrator
    CAS_LINKED = "cas_linked"


def queue_mail(connection: sa.Connection, now: datetime, user_id: int, happened: Happened) -> None:
    """Put mail and notification in, in the transaction of what they tell about; publish TaskQueued(Queue.MAIL) after the commit."""
    if happened is not Happened.CAS_LINKED:
        notify(connection, now, [user_id], Kind.PASSWORD_CHANGED, f"{user_id}:{now.isoformat()}", {})
    payload = {"user_id": user_id, "happened": happened.value, "at": now.isoformat(), "mail_id": new_id()}
    enqueue(connection, Queue.MAIL, MAIL_ACCOUNT, payload, now=now, max_attempts=MAIL_ATTEMPTS)


async def compose(ctx: Context, user_id: int, happened: Happened, at: datetime, mail_id: str) -> Mail | None:
    """The mail, or None for one who has no mail address or is disabled. It holds no secret and no link to follow."""
    owner = sa.select(users.c.username, users.c.email).where(users.c.id == user_id, users.c.state == "active")
    user = await ctx.sql.read(lambda connection: connection.execute(owner).one_or_none())
    if user is None or not user.email:
        return None
    when = at.astimezone(ZoneInfo(ctx.settings.timezone)).strftime("%Y-%m-%d %H:%M %Z")
    told = [
        say(key, locale, username=user.username, when=when, site=ctx.settings.url)
        for locale in LOCALES
        for key in (f"mail.account.{happened.value}", "mail.account.not_you")
    ]
    subject = " / ".join(say("mail.account.subject", locale) for locale in LOCALES)
    html = "".join(f"<p>{escape(sentence)}</p>" for sentence in told)
    # Sent again it is the same mail.
    return Mail(to=[user.email], subject=subject, html=html, text="\n\n".join(told) + "\n", message_id=f"<account-{mail_id}@zhihui>")
