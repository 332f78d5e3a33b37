"""The mail that tells what a notification tells, in both languages: nobody has said yet which one they read."""

from __future__ import annotations

from html import escape

import sqlalchemy as sa

from server.context import Context
from server.engines.mail import Mail
from server.messages import Locale, say
from server.people.tables import users
from server.people.user_schemas import UserState
from server.platform.notifications.kinds import sentence_of
from server.platform.tables import notifications

_LOCALES: tuple[Locale, ...] = ("zh", "en")


async def compose(ctx: Context, notification_id: int) -> Mail | None:
    """The mail, or None when its reader has no address or is disabled, or the notification is gone."""
    wanted = (
        sa.select(notifications, users.c.email)
        .join(users, users.c.id == notifications.c.user_id)
        .where(notifications.c.id == notification_id, users.c.state == UserState.ACTIVE.value, users.c.email.is_not(None))
    )
    row = await ctx.sql.read(lambda connection: connection.execute(wanted).one_or_none())
    if row is None:
        return None
    sentences = [sentence_of(row.kind, row.params, locale) for locale in _LOCALES]
    why = [say("mail.notification.why", locale) for locale in _LOCALES]
    opened = " / ".join(say("mail.notification.link", locale) for locale in _LOCALES)
    text, html = list(sentences), [f"<p>{escape(sentence)}</p>" for sentence in sentences]
    if row.link:
        link = f"{ctx.settings.url}{row.link}"
        text.append(f"{opened}: {link}")
        html.append(f"<p><a href='{escape(link)}'>{escape(opened)}</a></p>")
    text += why
    html += [f"<p><small>{escape(sentence)}</small></p>" for sentence in why]
    # One notification, one mail: a retried sending has the same message id.
    identity = f"<notification-{row.event_key[:32]}-{row.user_id}@zhihui>"
    subject = " ".join(sentences[0].split())[:120]
    return Mail(to=[row.email], subject=subject, html="".join(html), text="\n\n".join(text) + "\n", message_id=identity)
