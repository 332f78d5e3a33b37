"""The base of all HTTP handlers: loads the caller, checks the scope, parses, answers in the envelope."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, HTTPError, stream_request_body

from handlers.answering import ENCODE, AnsweringHandler, Envelope, Requests
from handlers.errors import MethodNotAllowed, fields_of
from handlers.nesting import DEEPEST, is_too_deep
from handlers.operation import Operation, operations_of
from server.actor import NOBODY, Actor
from server.errors import Forbidden, Invalid, Malformed, NotSignedIn, TooLarge
from server.logs import request_id as request_id_in_logs
from server.messages import say, text
from server.people.identify import ViewOnly, identify
from server.platform import audit, kept_answers
from server.scopes import ANYONE, SIGNED_IN

__all__ = ["ApiHandler", "NotFoundHandler", "Requests", "bearer_of"]

T = TypeVar("T")

# A body that is too large is still read up to this, so that the client hears why.
SWALLOWED = 32 << 20
# Parameters of a query or a form; more of them only keep the server busy.
MOST_PARAMETERS = 100


def bearer_of(request: HTTPServerRequest) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


@stream_request_body
class ApiHandler(AnsweringHandler):
    """A handler of JSON requests. Verbs are declared with `@operation`; HEAD is answered as GET without the body."""

    actor: Actor = NOBODY
    # Whether the body is parsed by the verb (JSON) or taken as it streams in (uploads).
    streams = False

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        self.began = time.perf_counter()
        self._counted = False
        self._gone = False
        self._body = bytearray()
        self._too_large = False
        super().__init__(application, request, **kwargs)

    def compute_etag(self) -> None:
        return None

    async def prepare(self) -> None:
        request_id_in_logs.set(self.request_id)
        self._count()
        self.check_host()
        declared = self._declared()
        if declared is None:
            raise MethodNotAllowed()
        if not self.streams:
            self._check_length()
        await self.load_actor(declared)

    def _declared(self) -> Operation | None:
        """What the request's verb declares. An address whose GET changes something has no HEAD."""
        method = (self.request.method or "").lower()
        declared: Operation | None = getattr(getattr(self, "get" if method == "head" else method, None), "operation", None)
        return None if method == "head" and declared is not None and declared.bare_form else declared

    def allowed_methods(self) -> list[str]:
        declared = operations_of(type(self))
        head = ["HEAD"] if "GET" in declared and not declared["GET"].bare_form else []
        return [*declared, *head]

    async def head(self, *path: str, **named: str) -> None:
        answering = self.get(*path, **named)
        assert answering is not None
        await answering

    def _count(self) -> None:
        if not self._gone:
            self._counted = True
            self.requests.in_flight += 1

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            self.requests.in_flight -= 1

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
        if self.actor.viewer is not None and not self._reads(declared):
            await audit.note_denied(self.ctx, self.actor, ViewOnly.type, f"{self.request.method} {self.request.path}")
            raise ViewOnly()
        if declared.scope == ANYONE:
            return
        if not self.actor.signed_in:
            raise NotSignedIn()
        try:
            if declared.scope != SIGNED_IN:
                self.actor.require(declared.scope)
            if declared.everywhere and self.actor.organizations(declared.scope) is not None:
                raise Forbidden(scope=declared.scope)
        except Forbidden as denied:
            await self.note_denied(denied)
            raise

    def _reads(self, declared: Operation) -> bool:
        """Whether somebody who only looks, with another user's eyes, may ask this."""
        if declared.reads is not None:
            return declared.reads
        return self.request.method in ("GET", "HEAD") and not declared.bare_form

    async def note_denied(self, denied: Forbidden) -> None:
        """Put into the audit log that the caller was refused."""
        if self.actor.signed_in:
            scope = str(denied.params.get("scope", ""))
            await audit.note_denied(self.ctx, self.actor, scope, f"{self.request.method} {self.request.path}")

    # Parsing.

    def parse_body(self, kind: type[T], *, form: bool = False) -> T:
        """The JSON body as `kind`; Malformed or Invalid when it is not."""
        if self._too_large:
            raise self._too_large_error()
        content_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if form and (content_type == "application/x-www-form-urlencoded" or (not self._body and self.request.query)):
            source = self._body.decode("utf-8", "replace") if self._body else self._query
            return self._convert(source, kind)
        try:
            parsed = msgspec.json.decode(self._body or b"{}", type=kind)
        except msgspec.ValidationError as error:
            raise Invalid(fields=fields_of(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(detail=str(error) or type(error).__name__) from None
        if is_too_deep(self._body):
            raise Malformed(detail=text("json.too_deep", limit=DEEPEST))
        return parsed

    def raw_body(self) -> bytes:
        """The body as it came."""
        if self._too_large:
            raise self._too_large_error()
        return bytes(self._body)

    def parse_query(self, kind: type[T]) -> T:
        """The query parameters as `kind`; an unknown one is refused, so that a misspelt filter never means "all"."""
        return self._convert(self._query, kind)

    @property
    def _query(self) -> str:
        """The query; what a client should have escaped, and sent as plain UTF-8, comes from Tornado as Latin-1."""
        return self.request.query.encode("latin-1", "replace").decode("utf-8", "replace")

    def _convert(self, source: str, kind: type[T]) -> T:
        try:
            values = dict(parse_qsl(source, keep_blank_values=True, max_num_fields=MOST_PARAMETERS))
        except ValueError:
            raise Malformed(detail=text("form.too_many", limit=MOST_PARAMETERS)) from None
        try:
            return msgspec.convert(values, kind, strict=False)
        except msgspec.ValidationError as error:
            raise Invalid(fields=fields_of(error)) from None

    # Answering.

    def answer(self, result: Any, *, status: int = 200) -> None:
        """The envelope with `result`, and the end of the request."""
        self.set_status(status)
        self.finish(ENCODE(Envelope(code="2000", message=say("ok", self.locale_wanted), result=result)))

    async def answer_file(self, sha256: str, name: str, content_type: str) -> None:
        """A stored file, always as an attachment: nothing that was put in is shown as a page of ours. Raises FileMissing."""
        size = await self.ctx.files.size(sha256)
        self.set_header("Content-Type", content_type)
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}")
        self.set_header("Content-Length", str(size))
        if self.request.method == "HEAD":
            return
        async for chunk in self.ctx.files.iterate(sha256):
            self.write(chunk)
            await self.flush()

    async def answer_once(self, act: Callable[[], Awaitable[Any]], declared: Operation) -> None:
        """Do it once for one Idempotency-Key; the same key and body get the same answer again."""
        key = self.idempotency_key()
        kept = await kept_answers.begin(self.ctx, key)
        if kept is not None:
            self.set_status(kept.status)
            self.set_header("Idempotent-Replayed", "true")
            self.finish(self.from_kept(kept.body))
            return
        try:
            result = await act()
        except BaseException:
            await kept_answers.forget(self.ctx, key)  # nothing was done: the same key may try again
            raise
        envelope = Envelope(code="2000", message=say("ok", self.locale_wanted), result=result)
        await kept_answers.keep(self.ctx, key, declared.status, ENCODE(self.to_keep(envelope)).decode())
        self.set_status(declared.status)
        self.finish(ENCODE(envelope))

    def idempotency_key(self) -> kept_answers.Key:
        return kept_answers.Key(
            caller=f"{self.actor.kind}:{self.actor.user_id}",
            route=f"{self.request.method} {self.request.path}",
            key=self.request.headers["Idempotency-Key"],
            request=bytes(self._body),
        )

    def to_keep(self, envelope: Envelope) -> Envelope:
        """What of an answer is stored; a verb that answers with a secret leaves it out."""
        return envelope

    def from_kept(self, body: str) -> str | bytes:
        """The answer again."""
        return body

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if not self.request._body_future.done():
            # Tornado closes a connection whose request was answered before it was read, and does not say so.
            self.set_header("Connection", "close")
        super().write_error(status_code, **kwargs)

    def on_finish(self) -> None:
        self._uncount()
        # A stranger's method must not become a series of its own.
        method = self.request.method if self.request.method in self.SUPPORTED_METHODS else "other"
        took = time.perf_counter() - self.began
        self.ctx.metrics.requests.labels(method, self.route, str(self.get_status())).observe(took)

    def on_connection_close(self) -> None:
        """The client went away. Before its body has come the verb never runs, and on_finish never comes."""
        if not self.request._body_future.done():
            self._gone = True
            self._uncount()
        super().on_connection_close()


class NotFoundHandler(ApiHandler):
    """Whatever no route matches."""

    async def prepare(self) -> None:
        self._count()
        self.check_host()
        raise HTTPError(404)
