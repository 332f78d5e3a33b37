"""Mail by SMTP."""

from __future__ import annotations

import asyncio
import ssl
from typing import Literal

import aiosmtplib

from server.clock import Clock
from server.engines.mail import Mail, MailRefused, rfc5322
from server.errors import EngineAway

TIMEOUT_S = 30.0
# The port on which TLS begins at once (RFC 8314); on others STARTTLS is used when it is offered.
TLS_PORT = 465


class SmtpMail:
    """A connection for each mail: they are few, and relays close idle ones."""

    mode: Literal["embedded", "distributed"] = "distributed"

    def __init__(self, host: str, port: int, *, user: str, password: str, sender: str, clock: Clock) -> None:
        self._host = host
        self._port = port
        self._user = user
        self._password = password
        self._sender = sender
        self._clock = clock
        self._context: ssl.SSLContext | None = None

    async def _connection(self) -> aiosmtplib.SMTP:
        if self._context is None:  # reading all the authorities' certificates takes long
            self._context = await asyncio.to_thread(ssl.create_default_context)
        return aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user or None,
            password=self._password if self._user else None,
            use_tls=self._port == TLS_PORT,
            start_tls=False if self._port == TLS_PORT else None,
            tls_context=self._context,
            timeout=TIMEOUT_S,
        )

    async def send(self, mail: Mail) -> None:
        message = rfc5322(mail, self._sender, self._clock)
        try:
            async with await self._connection() as connection:
                refused, _ = await connection.send_message(message, sender=self._sender, recipients=mail.to)
        except aiosmtplib.SMTPRecipientsRefused as error:
            _raise_refused({one.recipient: (one.code, one.message) for one in error.recipients}, error)
        except aiosmtplib.SMTPDataError as error:
            if error.code >= 500:
                raise MailRefused(detail=f"{error.code} {error.message}") from error
            raise EngineAway("mail", f"{error.code} {error.message}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise EngineAway("mail", str(error)) from error
        else:
            if refused:
                _raise_refused({address: (answer.code, answer.message) for address, answer in refused.items()}, None)

    async def ping(self) -> None:
        try:
            async with await self._connection() as connection:
                await connection.noop()
        except (aiosmtplib.SMTPException, OSError) as error:
            raise EngineAway("mail", str(error)) from error

    async def close(self) -> None:
        """Nothing stays open."""


def _raise_refused(refused: dict[str, tuple[int, str]], cause: Exception | None) -> None:
    """Some or all recipients were refused: for good when none of them may be taken later.

    Those who were taken have the mail. When it is sent again for the others' sake they may get it twice, under the same message id.
    """
    detail = "; ".join(f"{address}: {code} {text}" for address, (code, text) in refused.items())
    if all(code >= 500 for code, _ in refused.values()):
        raise MailRefused(detail=detail) from cause
    raise EngineAway("mail", detail) from cause
