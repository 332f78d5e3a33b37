"""Each kind of target on a real other side, and how that side is looked at without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
import sqlalchemy as sa
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop

from server.context import Context
from server.people.tables import users
from server.platform.notifications.webhook_formats import SIGNATURE, signature
from tests.hr_people import HrPeople
from tests.peers import scim_server, slapd
from tests.peers.http_peer import Answer, HttpPeer, running_http
from tests.peers.scim_server import ScimServer, running_scim
from tests.peers.slapd import Slapd, running_slapd

SECRET = "the secret of the receiver"
KINDS = ("local", "ldap", "scim", "webhook")


class Side(Protocol):
    kind: str
    settings: dict[str, Any]

    async def account(self, username: str) -> dict[str, Any] | None:
        """name, email and active of an account, as the other side itself has it."""


class LocalSide:
    kind = "local"

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.settings: dict[str, Any] = {}

    async def account(self, username: str) -> dict[str, Any] | None:
        wanted = sa.select(users).where(users.c.username == username)
        found = await self._ctx.sql.read(lambda connection: connection.execute(wanted).one_or_none())
        return {"name": found.name, "email": found.email, "active": found.state == "active"} if found else None


class LdapSide:
    kind = "ldap"

    def __init__(self, peer: Slapd) -> None:
        self._peer = peer
        self.settings = {"url": peer.url, "bind_dn": slapd.ADMIN, "password": slapd.PASSWORD, "base": slapd.PEOPLE, "timeout_s": 5}

    async def account(self, username: str) -> dict[str, Any] | None:
        found = [one for one in self._peer.entries(slapd.PEOPLE).values() if one["uid"] == [username]]
        if not found:
            return None
        (one,) = found
        return {"name": one["cn"][0], "email": one.get("mail", [None])[0], "active": "pwdAccountLockedTime" not in one}


class ScimSide:
    kind = "scim"

    def __init__(self, peer: ScimServer) -> None:
        self._peer = peer
        self.settings = {"url": peer.url, "token": scim_server.TOKEN, "timeout_s": 5}

    async def account(self, username: str) -> dict[str, Any] | None:
        found = [one for one in self._peer.users() if one["userName"] == username]
        if not found:
            return None
        (one,) = found
        emails = one.get("emails") or [{"value": None}]
        return {"name": one["displayName"], "email": emails[0]["value"], "active": one["active"]}


class WebhookSide:
    """A receiver that keeps accounts; it takes a delivery that it has seen before as done."""

    kind = "webhook"

    def __init__(self, peer: HttpPeer) -> None:
        self.peer = peer
        self.settings = {"url": f"{peer.url}/accounts", "secret": SECRET, "timeout_s": 5}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.keys: list[str] = []
        peer.answer = self.take

    def take(self, request: HTTPServerRequest) -> Answer:
        at = int(request.headers[SIGNATURE].partition(",")[0].removeprefix("t="))
        assert request.headers[SIGNATURE] == signature(SECRET, request.body, at)
        said = msgspec.json.decode(request.body)
        self.keys.append(request.headers["Idempotency-Key"])
        assert self.keys[-1] == said["id"]
        account = said["account"]
        self.accounts[account["username"]] = account
        state = "active" if account["active"] else "disabled"
        return Answer(body={"id": f"w-{account['employee_no']}", "state": state})

    async def account(self, username: str) -> dict[str, Any] | None:
        found = self.accounts.get(username)
        return {name: found[name] for name in ("name", "email", "active")} if found else None


@pytest.fixture(scope="session")
def scim_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScimServer]:
    with running_scim(tmp_path_factory.mktemp("scim")) as peer:
        yield peer


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Slapd]:
    """It enforces locks."""
    with running_slapd(_made(tmp_path / "slapd")) as peer:
        peer.enforce_locks()
        yield peer


@pytest.fixture
def receiver(io_loop: IOLoop) -> Iterator[HttpPeer]:
    stack = AsyncExitStack()
    yield io_loop.run_sync(lambda: stack.enter_async_context(running_http()))
    io_loop.run_sync(stack.aclose)


@pytest.fixture
def people(io_loop: IOLoop, ctx: Context) -> HrPeople:
    opened: HrPeople = io_loop.run_sync(HrPeople(ctx).open)
    return opened


@pytest.fixture(params=KINDS)
def side(request: pytest.FixtureRequest, ctx: Context) -> Side:
    if request.param == "ldap":
        return LdapSide(request.getfixturevalue("directory"))
    if request.param == "scim":
        peer = request.getfixturevalue("scim_peer")
        for one in peer.users():
            peer.ask("DELETE", f"/Users/{one['id']}")
        return ScimSide(peer)
    if request.param == "webhook":
        return WebhookSide(request.getfixturevalue("receiver"))
    return LocalSide(ctx)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
