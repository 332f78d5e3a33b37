"""What the server mails, read from the outbox as its receiver would."""

from __future__ import annotations

import re
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from jobs.codes import mail_code
from server.context import Context
from server.people.codes import MAIL_CODE
from server.platform import tasks
from tests.api.client import Api


async def ask(api: Api, email: str, purpose: str, **more: Any) -> None:
    assert (await api.post("/api/auth/code", {"email": email, "purpose": purpose}, **more)).result == {"expires_in": 600}


async def mails(ctx: Context) -> list[EmailMessage]:
    """Do the queued tasks of mail, as a worker would, and take what came into the outbox."""
    now = ctx.clock.now()
    claimed = await ctx.sql.write(lambda connection: tasks.claim(connection, "mail", 50, owner="test", now=now, lease=timedelta(minutes=1)))
    for task in claimed:
        assert task.kind == MAIL_CODE
        result = await mail_code(ctx, **task.payload)
        assert await ctx.sql.write(lambda connection, task=task, result=result: tasks.succeed(connection, task, "test", result, now))
    found = []
    for path in sorted((ctx.settings.data / "outbox").glob("*.eml")):
        found.append(message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=default))
        path.unlink()
    return found


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def code_in(mail: EmailMessage) -> str:
    """The one line of six digits, in both forms of the mail."""
    (code,) = re.findall(r"^([0-9]{6})\r?$", text_of(mail), re.MULTILINE)
    html = mail.get_body(("html",))
    assert html is not None
    assert f"<b>{code}</b>" in html.get_content()
    assert code not in mail["Subject"]
    return str(code)


async def code_for(ctx: Context, api: Api, email: str, purpose: str) -> str:
    """Ask for a code and read it."""
    await ask(api, email, purpose)
    (mail,) = await mails(ctx)
    assert mail["To"] == email
    return code_in(mail)


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"
