"""The mail that tells somebody of a new password."""

from __future__ import annotations

from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest

from jobs.all import JOBS
from server.clock import HeldClock
from server.context import Context
from server.people.password_mail import MAIL_ACCOUNT, Happened, compose
from server.people.tables import users
from server.platform import tasks
from tests.api.client import Api
from tests.api.mailed_codes import code_for, mails, text_of
from tests.api.people import user

OLD, NEW = "a password", "quite another secret"
MAILBOX = "ann@example.org"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def ann(ctx: Context, anonymous: Api, **more: Any) -> Api:
    api = await user(ctx, anonymous, "annabel", "student")
    values = {"email": MAILBOX, "email_key": MAILBOX, **more}
    await ctx.sql.write(lambda connection: connection.execute(users.update().where(users.c.username == "annabel").values(values)))
    return api


async def told(ctx: Context) -> list[EmailMessage]:
    """Do the tasks of mail about accounts, and take what came into the outbox."""
    now = ctx.clock.now()
    claimed = await ctx.sql.write(lambda connection: tasks.claim(connection, "mail", 50, owner="test", now=now, lease=timedelta(minutes=1)))
    for task in claimed:
        assert task.kind == MAIL_ACCOUNT
        assert not {OLD, NEW} & {str(value) for value in task.payload.values()}
        await JOBS[task.kind].function(ctx, **task.payload)
        await JOBS[task.kind].function(ctx, **task.payload)  # a second try is the same mail
    return await mails(ctx)


@pytest.mark.gen_test
async def test_a_change_is_told_in_both_languages(anonymous: Api, ctx: Context) -> None:
    api = await ann(ctx, anonymous)
    assert (await api.post("/api/auth/change-password", {"old_password": OLD, "password": NEW})).status == 200
    found = await told(ctx)
    assert len({mail["Message-ID"] for mail in found}) == 1
    mail, text = found[0], text_of(found[0])
    assert mail["To"] == MAILBOX
    assert "密码已于 2026-01-01 08:00 CST 更改" in text
    assert "The password of annabel" in text
    assert NEW not in mail.as_string()
    assert OLD not in mail.as_string()


@pytest.mark.gen_test
async def test_a_reset_is_told(anonymous: Api, ctx: Context) -> None:
    await ann(ctx, anonymous)
    code = await code_for(ctx, anonymous, MAILBOX, "reset")
    assert (await anonymous.post("/api/auth/reset-password", {"email": MAILBOX, "code": code, "password": NEW})).status == 200
    mail = (await told(ctx))[0]
    assert "set anew by a mailed code" in text_of(mail)
    assert code not in text_of(mail)


@pytest.mark.gen_test
async def test_what_is_refused_is_not_told(anonymous: Api, ctx: Context) -> None:
    api = await ann(ctx, anonymous)
    assert (await api.post("/api/auth/change-password", {"old_password": "wrong", "password": NEW})).status == 422
    assert await told(ctx) == []


@pytest.mark.parametrize("more", [{"email": None, "email_key": None}, {"state": "disabled"}])
@pytest.mark.gen_test
async def test_nobody_to_tell(anonymous: Api, ctx: Context, more: dict[str, Any]) -> None:
    user_id = (await (await ann(ctx, anonymous)).get("/api/auth/me")).result["id"]
    await ctx.sql.write(lambda connection: connection.execute(users.update().where(users.c.id == user_id).values(more)))
    for happened in Happened:
        assert await compose(ctx, user_id, happened, ctx.clock.now(), "x") is None
