"""Jobs of the mail queue."""

from __future__ import annotations

from jobs.registry import job
from server.context import Context
from server.dispatch import failure_mail
from server.dispatch.progressing import FAILURE_MAIL
from server.engines.mail import MailRefused


@job(FAILURE_MAIL, queue="mail", max_attempts=10, backoff_s=5, time_limit_s=60, gives_up_on=(MailRefused,))
async def run_failed(ctx: Context, run_id: str) -> dict[str, object]:
    """Tell those whom the workflow names that a run did not succeed; each try has the same mail id, so a relay drops a second copy."""
    await failure_mail.notify(ctx, run_id)
    mail = await failure_mail.compose(ctx, run_id)
    if mail is None:
        return {"sent": False, "why": "nobody is to be told"}
    await ctx.mail.send(mail)
    return {"sent": True, "to": len(mail.to)}
