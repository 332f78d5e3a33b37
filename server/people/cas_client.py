"""Asks the CAS server: the address of its sign-in page, and whom a ticket stands for."""

from __future__ import annotations

from urllib.parse import urlencode

from tornado.httpclient import HTTPClientError, HTTPResponse
from tornado.httputil import HTTPInputError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from server.config import Settings
from server.errors import EngineAway
from server.people.cas_answers import LARGEST_ANSWER, AnswerGarbled, CasPerson, read_validation

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 10.0
CALLBACK = "/cas/callback"


class CasAway(EngineAway):
    """The CAS server does not answer; signing in there can be tried again."""

    type = "cas_away"


class CasGarbled(EngineAway):
    """It answers, but not as the protocol says."""

    type = "cas_garbled"


def server_url(settings: Settings) -> str:
    """The CAS server's address; links of accounts are kept under it."""
    return settings.bupt_cas_server_url.strip().rstrip("/")


def service_url(settings: Settings) -> str:
    """Our callback address, letter by letter as it is registered: the CAS server compares it."""
    return settings.bupt_cas_service_url.strip() or settings.url + CALLBACK


def login_address(settings: Settings, *, renew: bool = False, gateway: bool = False) -> str:
    """The sign-in page. `renew` asks for the password even of those who are signed in there; `gateway` asks nobody anything."""
    parameters = {"service": service_url(settings)}
    if renew:
        parameters["renew"] = "true"
    elif gateway:
        parameters["gateway"] = "true"
    return f"{server_url(settings)}/login?{urlencode(parameters)}"


async def validate(settings: Settings, ticket: str, *, renew: bool = False) -> CasPerson:
    """Whom a ticket stands for. Raises TicketRefused, CasAway and CasGarbled.

    The server counts the ticket as used from now on.
    """
    path = "/serviceValidate" if settings.bupt_cas_version == 2 else "/p3/serviceValidate"
    parameters = {"service": service_url(settings), "ticket": ticket, **({"renew": "true"} if renew else {})}
    answer = await _get(f"{server_url(settings)}{path}?{urlencode(parameters)}")
    if answer.code >= 500:
        raise CasAway("cas", f"HTTP {answer.code}")
    if answer.code != 200:
        raise CasGarbled("cas", f"HTTP {answer.code}")
    try:
        return read_validation(answer.body or b"")
    except AnswerGarbled as error:
        raise CasGarbled("cas", str(error)) from None


async def _get(url: str) -> HTTPResponse:
    """One request on a client of its own: sign-ins are rare, and nothing stays open between them."""
    client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=LARGEST_ANSWER)
    try:
        answer = await client.fetch(
            url,
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
            follow_redirects=False,  # elsewhere is not the server that we trust
            decompress_response=False,
            headers={"Accept": "application/xml, text/xml"},
            raise_error=False,
        )
    except (HTTPClientError, HTTPInputError, OSError, ValueError) as error:
        raise CasAway("cas", f"{type(error).__name__}: {_without_query(error, url)}") from None
    finally:
        client.close()
    if answer.code == 599:  # Tornado's own: no whole answer came
        raise CasAway("cas", _without_query(answer.error, url))
    return answer


def _without_query(error: object, url: str) -> str:
    """An error's words without the ticket that stands in the address."""
    return str(error).replace(url, url.partition("?")[0])[:300]
