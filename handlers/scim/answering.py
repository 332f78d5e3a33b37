"""How everything under /scim/v2 answers: resources as they are, errors in SCIM's form, versions in the headers."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec

from handlers.answering import ENCODE
from handlers.base import ApiHandler
from handlers.errors import RouteNotFound, fields_of, status_of
from handlers.nesting import DEEPEST, is_too_deep
from handlers.operation import Operation, operation
from server.errors import DomainError, Invalid, Malformed
from server.messages import Locale, text
from server.people.scim.errors import ScimRefused, VersionMismatch
from server.people.scim.group_resources import ReadGroup
from server.people.scim.group_resources import shown as shown_group
from server.people.scim.schema_model import MESSAGES_URN
from server.people.scim.schemas import GROUP, USER
from server.people.scim.searching import Showing
from server.people.scim.user_resources import ReadUser
from server.people.scim.user_resources import shown as shown_user
from server.people.scim.versions import is_named

T = TypeVar("T")
SCOPE = "scim:manage"
CONTENT_TYPE = "application/scim+json"


class ScimError(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """RFC 7644, 3.12."""

    schemas: tuple[str, ...]
    status: str
    detail: str
    scim_type: str = ""


def scim_status(error: DomainError) -> int:
    """The HTTP status of an error, by SCIM's customs: a wrong value is a 400."""
    if isinstance(error, VersionMismatch):
        return 412
    return 400 if isinstance(error, Invalid) else status_of(error)[0]


def scim_error(error: DomainError, locale: Locale) -> ScimError:
    said = [f"{name}: {reason.say(locale)}" for name, reasons in error.fields.items() for reason in reasons]
    kind = (
        "invalidValue" if isinstance(error, Invalid) else "invalidSyntax" if type(error) is Malformed else getattr(error, "scim_type", "")
    )
    return ScimError(
        schemas=(f"{MESSAGES_URN}:Error",),
        status=str(scim_status(error)),
        detail=" ".join([error.text.say(locale), *said]),
        scim_type=kind,
    )


class ScimHandler(ApiHandler):
    """A handler whose verbs are declared with `raw`, and answer with `resource`, `scim` or `nothing`."""

    @property
    def base(self) -> str:
        """The address of the SCIM server as clients reach it."""
        return f"{self.ctx.settings.url}/scim/v2"

    @property
    def if_match(self) -> str:
        return self.request.headers.get("If-Match", "")

    def parse_body(self, kind: type[T], *, form: bool = False) -> T:
        """The JSON body, whatever its content type is called. Raises ScimRefused."""
        body = self.raw_body()
        try:
            parsed = msgspec.json.decode(body or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # a ValidationError is a DecodeError
            raise ScimRefused(detail=str(error) or type(error).__name__) from None
        if is_too_deep(body):
            raise ScimRefused(detail=text("json.too_deep", limit=DEEPEST))
        return parsed

    def converted(self, body: dict[str, Any], kind: type[T]) -> T:
        """A body as the struct that it should be. Raises Invalid, naming the field."""
        try:
            return msgspec.convert(body, kind)
        except msgspec.ValidationError as error:
            raise Invalid(fields=fields_of(error)) from None

    async def scim(self, document: Any) -> None:
        """Answer with a document; a long list is written in a thread."""
        self.finish_scim(await asyncio.to_thread(ENCODE, document))

    async def resource(self, read: ReadUser | ReadGroup, query: Showing, *, status: int = 200) -> None:
        """Answer with a user or a group; 304 when a GET names the version that it has."""
        self.set_header("ETag", read.version)
        if self.request.method in ("GET", "HEAD") and is_named(self.request.headers.get("If-None-Match", ""), read.version):
            self.set_status(304)
            self.finish()
            return
        self.set_status(status)
        if status == 201:
            self.set_header("Location", f"{self.base}{(USER if isinstance(read, ReadUser) else GROUP).endpoint}/{read.row.id}")
        self.finish_scim(await asyncio.to_thread(_written, read, query, self.base))

    def finish_scim(self, written: bytes) -> None:
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(written)

    def nothing(self) -> None:
        self.set_status(204)
        self.finish()

    def error_body(self, error: DomainError) -> bytes:
        super().error_body(error)  # the headers that go with it
        self.set_status(scim_status(error))
        self.set_header("Content-Type", CONTENT_TYPE)
        return ENCODE(scim_error(error, self.locale_wanted))


def _written(read: ReadUser | ReadGroup, query: Showing, base: str) -> bytes:
    if isinstance(read, ReadUser):
        return ENCODE(query.projection().of(USER, shown_user(read, base)))
    return ENCODE(query.projection().of(GROUP, shown_group(read, base)))


class NothingHandler(ScimHandler):
    """Every other address below /scim/v2, so that it is SCIM's form that says so."""

    def _declared(self) -> Operation | None:
        declared: Operation = self.get.operation  # type: ignore[attr-defined]
        return declared

    async def prepare(self) -> None:
        await super().prepare()
        raise RouteNotFound()

    @operation(SCOPE, "There is nothing at any other address.", raw=True, everywhere=True)
    async def get(self, name: str) -> None:
        raise RouteNotFound()


routes = [(r"/scim/v2/(?P<name>.*)", NothingHandler)]
