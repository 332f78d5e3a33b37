"""The job that mails a code."""

from __future__ import annotations

from datetime import datetime

from jobs.registry import job
from server.context import Context
from server.engines.mail import MailRefused
from server.messages import Locale
from server.people import code_mail
from server.people.codes import MAIL_ATTEMPTS, MAIL_CODE, Purpose


@job(MAIL_CODE, queue="mail", max_attempts=MAIL_ATTEMPTS, backoff_s=2, backoff_most_s=60, time_limit_s=60, gives_up_on=(MailRefused,))
async def mail_code(ctx: Context, email: str, purpose: str, seed: str, locale: Locale, until: str) -> dict[str, object]:
    """Send the code that belongs to a seed, as long as it holds. What comes back says nothing about the mailbox, for tasks are shown."""
    mail = None
    if ctx.clock.now() < datetime.fromisoformat(until):
        mail = await code_mail.compose(ctx, email, Purpose(purpose), seed, locale)
    if mail is not None:
        await ctx.mail.send(mail)
    return {}
