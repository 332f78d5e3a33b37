"""The mail that tells several notifications together, in both languages."""

from __future__ import annotations

from datetime import datetime
from html import escape

import sqlalchemy as sa

from server.context import Context
from server.engines.mail import Mail
from server.messages import Locale, say
from server.people.tables import users
from server.people.user_schemas import UserState
from server.platform.notifications.kinds import sentence_of
from server.platform.tables import notifications

MOST_LINES = 100
_LOCALES: tuple[Locale, ...] = ("zh", "en")


async def compose(ctx: Context, user_id: int, at: datetime) -> Mail | None:
    """What waited for the instant and has not been read in the application; None when that is nothing, or nobody is to be told."""
    untold = sa.or_(notifications.c.read_at.is_(None), notifications.c.shown.is_(False))
    wanted = (
        sa.select(notifications, users.c.email)
        .join(users, users.c.id == notifications.c.user_id)
        .where(notifications.c.user_id == user_id, notifications.c.digest_at == at, untold)
        .where(users.c.state == UserState.ACTIVE.value, users.c.email.is_not(None))
        .order_by(notifications.c.id)
    )
    rows = await ctx.sql.read(lambda connection: connection.execute(wanted).all())
    if not rows:
        return None
    text, html = [], []
    for row in rows[:MOST_LINES]:
        sentences = [sentence_of(row.kind, row.params, locale) for locale in _LOCALES]
        link = f"{ctx.settings.url}{row.link}" if row.link else ""
        text.append("\n".join(part for part in (*sentences, link) if part))
        linked = f"<br><a href='{escape(link)}'>{escape(link)}</a>" if link else ""
        html.append(f"<p>{'<br>'.join(escape(sentence) for sentence in sentences)}{linked}</p>")
    if len(rows) > MOST_LINES:
        more = " / ".join(say("notification.webhook.more", locale, number=len(rows) - MOST_LINES) for locale in _LOCALES)
        text.append(more)
        html.append(f"<p>{escape(more)}</p>")
    why = [say("mail.notification.why", locale) for locale in _LOCALES]
    text += why
    html += [f"<p><small>{escape(sentence)}</small></p>" for sentence in why]
    only = sentence_of(rows[0].kind, rows[0].params, "zh")
    subject = only if len(rows) == 1 else " / ".join(say("mail.digest.subject", locale, number=len(rows)) for locale in _LOCALES)
    # One digest, one mail: a retried sending has the same message id.
    identity = f"<digest-{user_id}-{int(at.timestamp())}@zhihui>"
    body = "\n\n".join(text) + "\n"
    return Mail(to=[rows[0].email], subject=" ".join(subject.split())[:120], html="".join(html), text=body, message_id=identity)
