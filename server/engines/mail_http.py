"""Mail by POST to an HTTP endpoint."""

from __future__ import annotations

from typing import Literal

import msgspec
from tornado.httpclient import AsyncHTTPClient, HTTPError

from server.engines.mail import Mail, MailRefused, bare_id, check_mail
from server.engines.reachable import check_reachable
from server.errors import EngineAway

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 30.0
# What a client is to blame for, but may well succeed later: timeout, too early, too many.
TRANSIENT = frozenset({408, 425, 429})


class HttpMail:
    """Endpoints differ in what they answer: any 2xx is sent."""

    mode: Literal["embedded", "distributed"] = "distributed"

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = AsyncHTTPClient(force_instance=True)

    async def send(self, mail: Mail) -> None:
        check_mail(mail)
        body = {"to": mail.to, "subject": mail.subject, "content": mail.html, "text": mail.text}
        try:
            answer = await self._client.fetch(
                self._url,
                method="POST",
                body=msgspec.json.encode(body),
                headers={"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": bare_id(mail)},
                connect_timeout=CONNECT_TIMEOUT_S,
                request_timeout=REQUEST_TIMEOUT_S,
                follow_redirects=False,
                raise_error=False,
            )
        except (HTTPError, OSError) as error:
            raise EngineAway("mail", str(error)) from error
        if 200 <= answer.code < 300:
            return
        if answer.code == 599:  # Tornado's own: no answer came
            raise EngineAway("mail", str(answer.error or "no answer"))
        if 400 <= answer.code < 500 and answer.code not in TRANSIENT:
            raise MailRefused(detail=f"HTTP {answer.code}")
        raise EngineAway("mail", f"HTTP {answer.code}")

    async def ping(self) -> None:
        """Whether the endpoint's host takes connections; it need not know any request but ours."""
        await check_reachable("mail", self._url)

    async def close(self) -> None:
        self._client.close()
