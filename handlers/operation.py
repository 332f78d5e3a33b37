"""What a verb declares: who may, what it takes, what it answers. The source of the checks and of the OpenAPI document."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

import msgspec

from server.errors import Forbidden
from server.scopes import ANYONE, SCOPES, SIGNED_IN

Method = Callable[..., Awaitable[Any]]


class Operation(msgspec.Struct, frozen=True):
    """One verb of one route. `body`, `query` and `result` are the types of the method's parameters and answer; None where it has none."""

    scope: str
    summary: str
    body: Any
    query: Any
    result: Any
    status: int
    idempotent: bool
    raw: bool  # answers by itself (files, streams), outside the envelope
    bare_form: bool
    upload: Any  # the type of the form's fields beside its files
    everywhere: bool  # what belongs to no organization: the scope must be held at the root
    reads: bool | None  # whether it changes nothing; None: as its method says


def operation(
    scope: str,
    summary: str,
    *,
    status: int = 200,
    idempotent: bool = False,
    raw: bool = False,
    form: bool = False,
    upload: Any = None,
    everywhere: bool = False,
    reads: bool | None = None,
) -> Callable[[Method], Method]:
    """Declare a verb. The method's parameters `body` and `query` are parsed by their types, and what it returns is the answer.

    `scope` is one of server/scopes.py, SIGNED_IN or ANYONE; a misspelt one fails at import. `idempotent` honours Idempotency-Key.
    `upload` describes a multipart form, which the handler takes as it streams in. `form` also takes the body as form fields or query
    parameters, as older module clients send it. `everywhere` is for what belongs to no organization: a scope that is held in some
    organization alone is not enough. `reads` says of a verb that is no GET that it changes nothing a viewer may not change, and of a GET
    the opposite.
    """
    if scope not in SCOPES and scope not in (ANYONE, SIGNED_IN):
        raise ValueError(f"unknown scope {scope!r}")

    def declare(method: Method) -> Method:
        hints = get_type_hints(method, include_extras=True)
        parameters = inspect.signature(method).parameters
        described = Operation(
            scope=scope,
            summary=summary,
            body=hints.get("body") if "body" in parameters else None,
            query=hints.get("query") if "query" in parameters else None,
            result=hints.get("return"),
            status=status,
            idempotent=idempotent,
            raw=raw,
            bare_form=form,
            upload=upload,
            everywhere=everywhere,
            reads=reads,
        )

        @functools.wraps(method)
        async def verb(self: Any, *path: str, **named: str) -> None:
            try:
                await answer(self, *path, **named)
            except Forbidden as denied:  # by the action, for the thing's own sake
                await self.note_denied(denied)
                raise

        async def answer(self: Any, *path: str, **named: str) -> None:
            if described.query is not None:
                named["query"] = self.parse_query(described.query)
            if described.body is not None:
                named["body"] = self.parse_body(described.body, form=form)
            if described.idempotent and "Idempotency-Key" in self.request.headers:
                await self.answer_once(lambda: method(self, *path, **named), described)
                return
            result = await method(self, *path, **named)
            if not described.raw:
                self.answer(result, status=described.status)

        verb.operation = described  # type: ignore[attr-defined]
        return verb

    return declare


def operations_of(handler: type[Any]) -> dict[str, Operation]:
    """The declared verbs of a handler class, by HTTP method in capitals."""
    found = {}
    for name in ("get", "post", "put", "patch", "delete"):
        declared = getattr(getattr(handler, name, None), "operation", None)
        if declared is not None:
            found[name.upper()] = declared
    return found
