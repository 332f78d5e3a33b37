"""The mail that brings a code, or says why there is none."""

from __future__ import annotations

import hashlib
from html import escape

import sqlalchemy as sa

from server.context import Context
from server.engines.mail import Mail
from server.messages import Locale, say
from server.people.codes import LIFE_S, Purpose, code_from, mailbox_of
from server.people.tables import users


async def compose(ctx: Context, email: str, purpose: Purpose, seed: str, locale: Locale) -> Mail | None:
    """The mail to a mailbox that asked for a code; None when a code would be of no use there, of which nobody is told.

    Who registers with an address that has an account is told that by mail, instead of a code.
    """
    mailbox = mailbox_of(email)
    owner = sa.select(users.c.username, users.c.state).where(users.c.email_key == mailbox)
    user = await ctx.sql.read(lambda connection: connection.execute(owner).one_or_none())
    if purpose is Purpose.REGISTER:
        if ctx.settings.registration == "off":
            return None
        if user is not None:
            told = [say("mail.code.account_exists", locale, email=email, username=user.username)]
            return _mail(email, seed, locale, told, code="")
        lead = say("mail.code.register", locale, email=email)
    elif user is None or user.state != "active":
        return None
    else:
        lead = say("mail.code.reset" if purpose is Purpose.RESET else "mail.code.login", locale, username=user.username)
    after = [say("mail.code.holds", locale, minutes=LIFE_S // 60), say("mail.code.not_you", locale)]
    return _mail(email, seed, locale, [lead, *after], code=code_from(ctx, seed))


def _mail(email: str, seed: str, locale: Locale, sentences: list[str], *, code: str) -> Mail:
    """The code stands after the first sentence, and never in the subject, which shows on locked screens."""
    text, html = [sentences[0]], [f"<p>{escape(sentences[0])}</p>"]
    if code:
        text.append(code)
        html.append(f"<p style='font-size:1.6em;letter-spacing:.2em'><b>{escape(code)}</b></p>")
    text += sentences[1:]
    html += [f"<p>{escape(sentence)}</p>" for sentence in sentences[1:]]
    # Sent again it is the same mail; the seed itself stays out of it.
    identity = hashlib.sha256(seed.encode()).hexdigest()[:32]
    subject = say("mail.code.subject", locale)
    return Mail(to=[email], subject=subject, html="".join(html), text="\n\n".join(text) + "\n", message_id=f"<code-{identity}@zhihui>")
