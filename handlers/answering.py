"""How every handler answers: the envelope, the headers on every answer, errors in our words and never a page."""

from __future__ import annotations

import logging
import re
import uuid
from functools import lru_cache
from typing import Any

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler

from handlers.errors import Draining, HostNotAllowed, MethodNotAllowed, OriginNotAllowed, RouteNotFound, status_of
from server.context import Context
from server.errors import DomainError, Malformed, TooLarge, TooMany
from server.messages import Locale

log = logging.getLogger(__name__)

ENCODE = msgspec.json.Encoder().encode
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
ENGINE_RETRY_S = 2

HEADERS = {
    "Server": "zhihui",
    "Content-Type": "application/json; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Envelope(msgspec.Struct):
    code: str
    message: str
    result: Any = None


class ErrorDetail(msgspec.Struct):
    type: str
    fields: dict[str, list[str]]
    request_id: str


class ErrorEnvelope(Envelope):
    error: ErrorDetail | None = None


class Requests:
    """Counts the requests in flight, and knows whether the server is going down."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.draining = False


@lru_cache(maxsize=256)
def locale_for(accept_language: str) -> Locale:
    """English when it is wanted more than Chinese, or instead of it (RFC 9110, 12.5.4); else Chinese."""
    wanted = {"zh": 0.0, "en": 0.0}
    for part in accept_language.lower().split(","):
        tag, _, parameters = part.partition(";")
        language = tag.strip().partition("-")[0]
        if language not in wanted:
            continue
        try:
            quality = float(parameters.partition("=")[2]) if parameters.strip().startswith("q") else 1.0
        except ValueError:
            quality = 0.0
        if quality > max(wanted.values()):  # of two that are wanted alike, the one that is named first
            wanted[language] = quality
    return "en" if wanted["en"] > wanted["zh"] else "zh"


def locale_of(request: HTTPServerRequest) -> Locale:
    return locale_for(request.headers.get("Accept-Language", "")[:200])


def request_id_of(request: HTTPServerRequest) -> str:
    """The request's own id when it has a usable one, else a new one."""
    given = request.headers.get("X-Request-ID", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class AnsweringHandler(RequestHandler):
    """What HTTP handlers and sockets have in common. A socket answers only when it refuses the upgrade."""

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        self.ctx: Context = application.settings["ctx"]
        self.requests: Requests = application.settings["requests"]
        self.locale_wanted = locale_of(request)
        self.request_id = request_id_of(request)
        super().__init__(application, request, **kwargs)

    def initialize(self, route: str = "") -> None:
        self.route = route

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("X-Request-ID", self.request_id)

    def check_host(self) -> None:
        """Raise HostNotAllowed for a name that is not served here."""
        hosts = self.ctx.settings.hosts
        if hosts and self.request.host_name.lower() not in hosts:
            raise HostNotAllowed()

    def allowed_methods(self) -> list[str]:
        """The methods that this address takes."""
        return ["GET"]

    def error_body(self, error: DomainError) -> bytes:
        """The envelope of an error; sets the status and the headers that go with it."""
        status, code = status_of(error)
        self.set_status(status)
        if isinstance(error, TooMany):
            self.set_header("Retry-After", str(error.retry_after))
        if isinstance(error, MethodNotAllowed):
            self.set_header("Allow", ", ".join(self.allowed_methods()))
        if status == 503:
            self.set_header("Retry-After", str(ENGINE_RETRY_S))
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        locale = self.locale_wanted
        detail = ErrorDetail(
            type=error.type,
            fields={name: [reason.say(locale) for reason in reasons] for name, reasons in error.fields.items()},
            request_id=self.request_id,
        )
        return ENCODE(ErrorEnvelope(code=code, message=error.text.say(locale), error=detail))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error as an envelope; the trace goes to the log alone."""
        exception = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(exception, HTTPError):
            exception = in_our_words(exception, draining=self.requests.draining)
        elif not isinstance(exception, DomainError):
            exception = DomainError()
        self.finish(self.error_body(exception))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if isinstance(value, HTTPError) or (isinstance(value, DomainError) and type(value) is not DomainError):
            return
        if isinstance(value, StreamClosedError):
            log.debug("%s %s: the client went away", self.request.method, self.request.path)
            return
        log.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb) if value and typ else None)


def in_our_words(error: HTTPError, *, draining: bool = False) -> DomainError:
    """What Tornado itself refuses, as one of our errors."""
    if error.status_code == 403:
        return OriginNotAllowed()
    if error.status_code == 404:
        return RouteNotFound()
    if error.status_code == 405:
        return MethodNotAllowed()
    if error.status_code == 413:
        return TooLarge(limit="")
    if draining and error.status_code == 503:
        return Draining()
    if error.status_code < 500:
        return Malformed(detail=error.get_message() or error.reason or str(error.status_code))
    return DomainError()
