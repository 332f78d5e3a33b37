"""Which class each verb of a route table is in: it wants a scope, is open to anyone on purpose, or gives the caller what is their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from handlers.operation import operations_of
from server.scopes import ANYONE, SCOPES, SIGNED_IN
from tests.api.test_access import verbs

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
Routes = Iterable[tuple[str, type[Any]]]


def amiss(routes: Routes, *, opened: Collection[str], owned: Collection[str], sockets: Collection[str]) -> list[str]:
    """What is wrong with a route table, a sentence each; nothing when every verb is in exactly one class.

    `opened`, `owned`: the verbs that anyone may call and those with a case of ownership, as `GET /api/…`; `sockets`: addresses of sockets.
    """
    table = list(routes)
    wrong = [f"{pattern}: {why}" for pattern, handler in table for why in _undeclared(pattern, handler, sockets)]
    seen: set[str] = set()
    for method, path, declared in verbs(table):
        name = f"{method} {path}"
        seen.add(name)
        classes = {
            "a scope": declared.scope in SCOPES,
            "the list of open verbs": name in opened,
            "a case of ownership": name in owned,
        }
        wanted = {ANYONE: "the list of open verbs", SIGNED_IN: "a case of ownership"}.get(declared.scope, "a scope")
        if not classes[wanted]:
            wrong.append(f"{name} is not in {wanted}")
        wrong += [f"{name} is in {other}, and declares {declared.scope!r}" for other, is_in in classes.items() if is_in and other != wanted]
    wrong += [f"{name} is no verb of the table" for name in sorted({*opened, *owned} - seen)]
    return wrong


def _undeclared(pattern: str, handler: type[Any], sockets: Collection[str]) -> list[str]:
    """Verbs that a handler has without `@operation`; of a socket, whether it is a known one."""
    if issubclass(handler, WebSocketHandler):
        return [] if pattern in sockets else ["is a socket that nobody has looked at"]
    declared = operations_of(handler)
    found = []
    for method in METHODS:
        answering = getattr(handler, method, None)
        inherited = answering is getattr(RequestHandler, method)
        # HEAD is answered by GET, with its scope.
        if not inherited and method.upper() not in declared and method not in ("head", "options"):
            found.append(f"{method.upper()} declares no scope")
    if not declared:
        found.append("has no verb")
    return found
