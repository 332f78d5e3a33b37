"""Jobs about people: long imports of users and their undoing, mail about an account, and the end of a view."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs.registry import Giveup, Work, job
from server.context import Context
from server.engines.mail import MailRefused
from server.errors import NotSignedIn
from server.people import password_mail, user_import, view_as
from server.people.password_mail import MAIL_ACCOUNT, MAIL_ATTEMPTS, Happened
from server.people.user_import import IMPORT_USERS, UNDO_IMPORT, ImportInOtherState, ImportNotFound
from server.people.view_as import END_VIEW


@job(
    IMPORT_USERS,
    queue="account_tasks",
    max_attempts=20,
    backoff_s=2,
    backoff_most_s=300,
    time_limit_s=3600,
    resumable=True,
    gives_up_on=(ImportNotFound,),
)
async def import_users(ctx: Context, work: Work, import_id: str) -> dict[str, Any]:
    """Write what was planned for each row; after a restart it goes on where it was."""
    return await user_import.carry_out(ctx, import_id, work.progress)


@job(
    UNDO_IMPORT,
    queue="account_tasks",
    max_attempts=20,
    backoff_s=2,
    backoff_most_s=300,
    time_limit_s=3600,
    resumable=True,
    gives_up_on=(ImportNotFound, ImportInOtherState),
)
async def undo_import(ctx: Context, work: Work, import_id: str, user_id: int, key_id: int | None) -> dict[str, Any]:
    """Take an import back, by what whoever asked may do now; after a restart it goes on where it was."""
    try:
        return await user_import.carry_out_undo(ctx, import_id, user_id, key_id, work.progress)
    except NotSignedIn:
        raise Giveup("whoever asked for it is disabled, or the key was revoked") from None


@job(MAIL_ACCOUNT, queue="mail", max_attempts=MAIL_ATTEMPTS, backoff_s=5, time_limit_s=60, gives_up_on=(MailRefused,))
async def mail_account(ctx: Context, user_id: int, happened: str, at: str, mail_id: str) -> dict[str, object]:
    """Tell the owner of an account what was done to it."""
    mail = await password_mail.compose(ctx, user_id, Happened(happened), datetime.fromisoformat(at), mail_id)
    if mail is None:
        return {"sent": False, "why": "no mail address, or disabled"}
    await ctx.mail.send(mail)
    return {"sent": True}


@job(END_VIEW, queue="maintenance", max_attempts=20, backoff_s=2, backoff_most_s=60, time_limit_s=60, resumable=True)
async def end_view(ctx: Context, session_id: str) -> dict[str, bool]:
    """End a view whose time is over."""
    return {"ended": await view_as.end_expired(ctx, session_id)}
