"""One HTTP exchange with a target, and what its status says about the task."""

from __future__ import annotations

import ssl
from datetime import datetime
from email.utils import parsedate_to_datetime

from tornado.httpclient import HTTPClientError, HTTPResponse
from tornado.httputil import HTTPInputError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from server.people.hr.targets.errors import LONGEST_WAIT_S, ErrorClass, TargetError

LARGEST_ANSWER = 4 * 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
# What is worth another try although the client is to blame.
_LATER = frozenset({408, 412, 423, 425, 429})


class HttpExchange:
    """A client of its own for each target; closed with it."""

    def __init__(self, *, timeout_s: float, verify: bool, concurrency: int) -> None:
        self._timeout_s = timeout_s
        self._verify = verify
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=concurrency, max_body_size=LARGEST_ANSWER)

    async def ask(self, method: str, url: str, *, headers: dict[str, str], body: bytes | None = None) -> HTTPResponse:
        """The answer, whatever its status. Raises TargetError of class away when there is none."""
        try:
            answer = await self._client.fetch(
                url,
                method=method,
                headers=headers,
                body=body,
                allow_nonstandard_methods=True,
                connect_timeout=min(CONNECT_TIMEOUT_S, self._timeout_s),
                request_timeout=self._timeout_s,
                follow_redirects=False,  # elsewhere is not whom our credentials are for
                validate_cert=self._verify,
                raise_error=False,
            )
        except ssl.SSLCertVerificationError as error:
            raise TargetError(ErrorClass.REFUSED, f"its certificate does not hold: {error.verify_message}") from error
        except (HTTPClientError, HTTPInputError, OSError, ValueError) as error:
            raise TargetError(ErrorClass.AWAY, f"{type(error).__name__}: {error}"[:500]) from error
        if answer.code == 599:  # Tornado's own: no whole answer came
            raise TargetError(ErrorClass.AWAY, str(answer.error or "no answer")[:500])
        return answer

    def close(self) -> None:
        self._client.close()


def refusal(answer: HTTPResponse, said: str, now: datetime) -> TargetError:
    """The error that a status outside 2xx stands for; `said` is what the target says of it."""
    detail = f"HTTP {answer.code} {said}".strip()[:1000]
    if answer.code in (401, 403):
        return TargetError(ErrorClass.REFUSED, detail)
    if answer.code in _LATER or (answer.code == 503 and "Retry-After" in answer.headers):
        return TargetError(ErrorClass.BUSY, detail, retry_after_s=_retry_after_s(answer, now))
    if answer.code >= 500:
        return TargetError(ErrorClass.AWAY, detail)
    return TargetError(ErrorClass.CONFLICT if answer.code == 409 else ErrorClass.INVALID, detail)


def _retry_after_s(answer: HTTPResponse, now: datetime) -> float | None:
    """Seconds, given as such or as a date; at most an hour."""
    given = answer.headers.get("Retry-After", "").strip()
    if not given:
        return None
    try:
        seconds = float(given) if given.isdigit() else (parsedate_to_datetime(given) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT_S)
