"""The self-test of authorization fails when it should: on tables of routes that are made up for it."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.base import ApiHandler
from handlers.operation import operation
from handlers.sockets import SocketHandler
from server.people.schemas import Done
from server.scopes import ANYONE, SIGNED_IN
from tests.api.route_classes import amiss


class Scoped(ApiHandler):
    @operation("users:read", "Users.")
    async def get(self) -> Done:
        return Done()


class Own(ApiHandler):
    @operation(SIGNED_IN, "What is the caller's own.")
    async def get(self, thing_id: str) -> Done:
        return Done()


class Open(ApiHandler):
    @operation(ANYONE, "Anyone's.")
    async def post(self) -> Done:
        return Done()


class Bare(Scoped):
    async def post(self) -> None:
        self.answer(None)


class Socket(SocketHandler):
    pass


ROUTES: list[tuple[str, type[Any]]] = [
    ("/api/users", Scoped),
    ("/api/own/(?P<thing_id>[0-9a-f]{32})", Own),
    ("/api/open", Open),
    ("/ws", Socket),
]
OPENED, OWNED, SOCKETS = {"POST /api/open"}, {f"GET /api/own/{32 * '0'}"}, {"/ws"}


def told(routes: list[tuple[str, type[Any]]] = ROUTES, **more: set[str]) -> list[str]:
    return amiss(routes, **{"opened": OPENED, "owned": OWNED, "sockets": SOCKETS, **more})


def test_a_table_in_order_has_nothing_amiss() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("routes", "more", "sentence"),
    [
        ([*ROUTES, ("/api/bare", Bare)], {}, "/api/bare: POST declares no scope"),
        ([*ROUTES, ("/api/more", Open)], {}, "POST /api/more is not in the list of open verbs"),
        ([*ROUTES, ("/api/mine/(?P<thing_id>[0-9]+)", Own)], {}, "GET /api/mine/1 is not in a case of ownership"),
        ([*ROUTES, ("/socket", Socket)], {}, "/socket: is a socket that nobody has looked at"),
        ([*ROUTES, ("/api/nothing", ApiHandler)], {}, "/api/nothing: has no verb"),
        (ROUTES, {"opened": {*OPENED, "GET /api/users"}}, "GET /api/users is in the list of open verbs, and declares 'users:read'"),
        (ROUTES, {"owned": {*OWNED, "POST /api/open"}}, "POST /api/open is in a case of ownership, and declares 'anyone'"),
        (ROUTES, {"opened": {*OPENED, "GET /api/gone"}}, "GET /api/gone is no verb of the table"),
        (ROUTES, {"owned": set()}, f"GET /api/own/{32 * '0'} is not in a case of ownership"),
    ],
)
def test_what_is_amiss_is_said(routes: list[tuple[str, type[Any]]], more: dict[str, set[str]], sentence: str) -> None:
    assert told(routes, **more) == [sentence]


def test_a_part_of_an_address_that_takes_no_example_is_an_error() -> None:
    with pytest.raises(LookupError, match="no example"):
        told([("/api/x/(?P<odd>[A-Z]{7})", Scoped)])
