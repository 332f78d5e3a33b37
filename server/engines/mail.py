"""The door for outgoing mail."""

from __future__ import annotations

import re
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Literal, Protocol

import msgspec

from server.clock import Clock
from server.config import Settings
from server.errors import DomainError

# Deliberately narrow: one plain address, nothing that could end a header or name a second recipient.
_ADDRESS = re.compile(r"[^\s,;:<>()\[\]\\\"@\x00-\x1f\x7f]+@[^\s,;:<>()\\\"@\x00-\x1f\x7f]+")
_MESSAGE_ID = re.compile(r"<?([A-Za-z0-9._%+=$-]+(?:@[A-Za-z0-9.-]+)?)>?")


class MailRefused(DomainError):
    """The mail will never be taken as it is; sending it again is of no use."""

    type = "mail_refused"


class Mail(msgspec.Struct, frozen=True):
    """One mail in two forms. A mail that is sent again keeps its `message_id`, by which receivers tell that it is the same."""

    to: list[str]
    subject: str
    html: str
    text: str
    message_id: str


class MailDoor(Protocol):
    mode: Literal["embedded", "distributed"]

    async def send(self, mail: Mail) -> None:
        """Hand the mail over. Raises MailRefused when that can never succeed, EngineAway when it may later."""

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


def open_mail(settings: Settings, clock: Clock) -> MailDoor:
    """The door that the settings ask for: EMAIL_API_URL before EMAIL_HOST before the outbox."""
    sender = settings.email_from or settings.email_host_user or "zhihui@localhost"
    if settings.email_api_url:
        from server.engines.mail_http import HttpMail

        return HttpMail(settings.email_api_url)
    if settings.email_host:
        from server.engines.mail_smtp import SmtpMail

        return SmtpMail(
            settings.email_host,
            settings.email_port,
            user=settings.email_host_user,
            password=settings.email_host_password,
            sender=sender,
            clock=clock,
        )
    from server.engines.mail_outbox import OutboxMail

    return OutboxMail(settings.data / "outbox", sender=sender, clock=clock)


def check_mail(mail: Mail) -> None:
    """MailRefused for a mail that must not leave: without recipients, or with a header that could become two."""
    if not mail.to:
        raise MailRefused(detail="no recipient")
    for address in mail.to:
        if not _ADDRESS.fullmatch(address):
            raise MailRefused(detail=f"not a mail address: {address!r}")
    if any(ord(character) < 32 or character in "\x7f\x85\u2028\u2029" for character in mail.subject):
        raise MailRefused(detail="control characters in the subject")
    if not _MESSAGE_ID.fullmatch(mail.message_id):
        raise MailRefused(detail=f"not a message id: {mail.message_id!r}")


def bare_id(mail: Mail) -> str:
    """The message id with its right-hand side, without the brackets."""
    identity = mail.message_id.strip("<>")
    return identity if "@" in identity else f"{identity}@zhihui"


def rfc5322(mail: Mail, sender: str, clock: Clock) -> EmailMessage:
    """The mail as a message of two alternative parts. Raises MailRefused like check_mail."""
    check_mail(mail)
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(mail.to)
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{bare_id(mail)}>"
    # Base64 whatever the text: no line can be too long and no relay has to re-encode it.
    message.set_content(mail.text, charset="utf-8", cte="base64")
    message.add_alternative(mail.html, subtype="html", charset="utf-8", cte="base64")
    return message
