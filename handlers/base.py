"""The base of all HTTP handlers: loads the caller, checks the scope, parses, answers in the envelope."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from handlers.errors import Draining, HostNotAllowed, MethodNotAllowed, fields_of, status_of
from handlers.operation import Operation
from server.actor import NOBODY, Actor
from server.context import Context
from server.errors import DomainError, Invalid, Malformed, NotSignedIn, TooLarge, TooMany
from server.logs import request_id as request_id_in_logs
from server.messages import Locale, say, text
from server.people.identify import identify
from server.platform import kept_answers
from server.scopes import ANYONE, SIGNED_IN

log = logging.getLogger(__name__)
T = TypeVar("T")

ENCODE = msgspec.json.Encoder().encode
REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
# A body that is too large is still read up to this, so that the client hears why.
SWALLOWED = 32 << 20

HEADERS = {
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


def locale_of(request: HTTPServerRequest) -> Locale:
    """English when it is asked for before Chinese, else Chinese."""
    wanted = request.headers.get("Accept-Language", "").lower()
    english, chinese = wanted.find("en"), wanted.find("zh")
    return "en" if english >= 0 and (chinese < 0 or english < chinese) else "zh"


def bearer_of(request: HTTPServerRequest) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


@stream_request_body
class ApiHandler(RequestHandler):
    """A handler of JSON requests. Verbs are declared with `@operation`."""

    actor: Actor = NOBODY
    # Whether the body is parsed by the verb (JSON) or taken as it streams in (uploads).
    streams = False

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        self.ctx: Context = application.settings["ctx"]
        self.requests: Requests = application.settings["requests"]
        self.locale_wanted = locale_of(request)
        self.began = time.perf_counter()
        self._counted = False
        self._body = bytearray()
        self._too_large = False
        given = request.headers.get("X-Request-ID", "")
        self.request_id = given if REQUEST_ID.match(given) else uuid.uuid4().hex
        super().__init__(application, request, **kwargs)

    def initialize(self, route: str = "") -> None:
        self.route = route

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("X-Request-ID", self.request_id)

    def compute_etag(self) -> None:
        return None

    async def prepare(self) -> None:
        request_id_in_logs.set(self.request_id)
        self._counted = True
        self.requests.in_flight += 1
        self._check_host()
        declared: Operation | None = getattr(getattr(self, (self.request.method or "").lower(), None), "operation", None)
        if declared is None:
            raise MethodNotAllowed()
        if not self.streams:
            self._check_length()
        await self.load_actor(declared)

    def _check_host(self) -> None:
        hosts = self.ctx.settings.hosts
        if hosts and self.request.host_name.lower() not in hosts:
            raise HostNotAllowed()

    def _check_length(self) -> None:
        length = self.request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > self._limit:
            if int(length) > SWALLOWED:
                raise self._too_large_error()
            self._too_large = True

    @property
    def _limit(self) -> int:
        return self.ctx.settings.max_body_mb << 20

    def _too_large_error(self) -> TooLarge:
        return TooLarge(limit=f"{self.ctx.settings.max_body_mb} MiB")

    def data_received(self, chunk: bytes) -> None:
        if self._too_large or len(self._body) + len(chunk) > self._limit:
            self._too_large = True
            self._body.clear()
        else:
            self._body += chunk

    async def load_actor(self, declared: Operation) -> None:
        """Who calls, and whether they may."""
        bearer = bearer_of(self.request)
        try:
            self.actor = await identify(
                self.ctx, bearer, address=self.request.remote_ip or "", request_id=self.request_id, locale=self.locale_wanted
            )
        except NotSignedIn:
            if declared.scope != ANYONE:
                raise
        if declared.scope == ANYONE:
            return
        if not self.actor.signed_in:
            raise NotSignedIn()
        if declared.scope != SIGNED_IN:
            self.actor.require(declared.scope)

    # Parsing.

    def parse_body(self, kind: type[T], *, form: bool = False) -> T:
        """The JSON body as `kind`; Malformed or Invalid when it is not."""
        if self._too_large:
            raise self._too_large_error()
        content_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if form and (content_type == "application/x-www-form-urlencoded" or (not self._body and self.request.query)):
            source = self._body.decode("utf-8", "replace") if self._body else self.request.query
            return self._convert(dict(parse_qsl(source, keep_blank_values=True)), kind, strict=False)
        try:
            return msgspec.json.decode(self._body or b"{}", type=kind)
        except msgspec.ValidationError as error:
            raise Invalid(fields=fields_of(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(detail=str(error) or type(error).__name__) from None

    def raw_body(self) -> bytes:
        """The body as it came."""
        if self._too_large:
            raise self._too_large_error()
        return bytes(self._body)

    def parse_query(self, kind: type[T]) -> T:
        """The query parameters as `kind`; an unknown one is refused, so that a misspelt filter never means "all"."""
        return self._convert(dict(parse_qsl(self.request.query, keep_blank_values=True)), kind, strict=False)

    def _convert(self, values: dict[str, str], kind: type[T], *, strict: bool) -> T:
        try:
            return msgspec.convert(values, kind, strict=strict)
        except msgspec.ValidationError as error:
            raise Invalid(fields=fields_of(error)) from None

    # Answering.

    def answer(self, result: Any, *, status: int = 200) -> None:
        """The envelope with `result`, and the end of the request."""
        self.set_status(status)
        self.finish(ENCODE(Envelope(code="2000", message=say("ok", self.locale_wanted), result=result)))

    async def answer_once(self, act: Callable[[], Awaitable[Any]], declared: Operation) -> None:
        """Do it once for one Idempotency-Key; the same key and body get the same answer again."""
        key = kept_answers.Key(
            caller=f"{self.actor.kind}:{self.actor.user_id}",
            route=f"{self.request.method} {self.request.path}",
            key=self.request.headers["Idempotency-Key"],
            request=bytes(self._body),
        )
        kept = await kept_answers.begin(self.ctx, key)
        if kept is not None:
            self.set_status(kept.status)
            self.set_header("Idempotent-Replayed", "true")
            self.finish(kept.body)
            return
        try:
            result = await act()
        except BaseException:
            await kept_answers.forget(self.ctx, key)  # nothing was done: the same key may try again
            raise
        body = ENCODE(Envelope(code="2000", message=say("ok", self.locale_wanted), result=result))
        await kept_answers.keep(self.ctx, key, declared.status, body.decode())
        self.set_status(declared.status)
        self.finish(body)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error as an envelope; the trace goes to the log alone."""
        exception = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(exception, HTTPError):
            exception = _from_tornado(exception, self.requests.draining)
        elif not isinstance(exception, DomainError):
            exception = DomainError()
        status, code = status_of(exception)
        self.set_status(status)
        if isinstance(exception, TooMany):
            self.set_header("Retry-After", str(exception.retry_after))
        if status == 503:
            self.set_header("Retry-After", "2")
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        locale = self.locale_wanted
        detail = ErrorDetail(
            type=exception.type,
            fields={name: [reason.say(locale) for reason in reasons] for name, reasons in exception.fields.items()},
            request_id=self.request_id,
        )
        self.finish(ENCODE(ErrorEnvelope(code=code, message=exception.text.say(locale), error=detail)))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if isinstance(value, HTTPError) or (isinstance(value, DomainError) and type(value) is not DomainError):
            return
        log.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb) if value else None)

    def on_finish(self) -> None:
        if self._counted:
            self._counted = False
            self.requests.in_flight -= 1
        metrics = self.ctx.metrics
        metrics.requests.labels(self.request.method, self.route, str(self.get_status())).observe(time.perf_counter() - self.began)

    def on_connection_close(self) -> None:
        # The client went away while the verb still works; on_finish will not come by itself before the verb ends.
        super().on_connection_close()


def _from_tornado(error: HTTPError, draining: bool) -> DomainError:
    """What Tornado itself refuses, in our words."""
    from handlers.errors import RouteNotFound

    if error.status_code == 404:
        return RouteNotFound()
    if error.status_code == 405:
        return MethodNotAllowed()
    if error.status_code == 413:
        return TooLarge(limit="")
    if draining and error.status_code == 503:
        return Draining()
    if error.status_code < 500:
        return Malformed(detail=error.log_message or error.reason or text("error.malformed", detail="").english())
    return DomainError()


class NotFoundHandler(ApiHandler):
    """Whatever no route matches."""

    async def prepare(self) -> None:
        self._counted = True
        self.requests.in_flight += 1
        raise HTTPError(404)
