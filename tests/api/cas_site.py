"""A server of ours whose CAS server answers as the test says, and what the tests of single sign-on do with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from tornado.ioloop import IOLoop

from server.clock import HeldClock
from server.config import Settings
from server.context import Context
from tests.api.cas_browser import Browser
from tests.api.client import Api
from tests.embedded import settings_in
from tests.peers.http_peer import Answer, HttpPeer, running_http

SERVICE = "http://zh.example:10080/cas/callback"
LOGOUT = """<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="x" Version="2.0">
<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">{name}</saml:NameID>
<samlp:SessionIndex>{ticket}</samlp:SessionIndex></samlp:LogoutRequest>"""


def person(cas_id: str = "2021001", **attributes: str) -> bytes:
    said = "".join(f"<cas:{name}>{value}</cas:{name}>" for name, value in attributes.items())
    return f"""<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationSuccess><cas:user>{cas_id}</cas:user>
    <cas:attributes>{said}</cas:attributes></cas:authenticationSuccess></cas:serviceResponse>""".encode()


REFUSED = b"""<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">
<cas:authenticationFailure code="INVALID_TICKET">no</cas:authenticationFailure></cas:serviceResponse>"""


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def server(io_loop: IOLoop) -> Iterator[HttpPeer]:
    """The CAS server; it takes every ticket."""
    running = running_http()
    peer: HttpPeer = io_loop.run_sync(running.__aenter__)
    peer.answer = lambda _request: Answer(200, person(name="Zhang San", mail="zs@bupt.example", employeeNumber="2021001"))
    yield peer
    io_loop.run_sync(lambda: running.__aexit__(None, None, None))


@pytest.fixture
def more() -> dict[str, Any]:
    """Further settings of a test."""
    return {}


@pytest.fixture
def settings(tmp_path: Any, server: HttpPeer, more: dict[str, Any]) -> Settings:
    return settings_in(tmp_path / "data", bupt_cas_server_url=server.url + "/cas/", bupt_cas_service_url=SERVICE, **more)


@pytest.fixture
def browser(anonymous: Api) -> Browser:
    return Browser(anonymous.base_url, anonymous.client)


@pytest.fixture
def another(anonymous: Api) -> Browser:
    return Browser(anonymous.base_url, anonymous.client)


async def sign_in(browser: Browser, ticket: str = "ST-1") -> dict[str, Any]:
    """The whole way to a token pair."""
    await browser.location("/cas/login")
    pair: dict[str, Any] = await browser.redeem((await browser.come_back(ticket))["code"])
    assert isinstance(pair, dict), pair
    return pair


async def log_out(anonymous: Api, ticket: str, name: str = "") -> Any:
    body = "logoutRequest=" + quote(LOGOUT.format(ticket=ticket, name=name))
    return await anonymous.post("/cas/callback", body=body, headers={"Content-Type": "application/x-www-form-urlencoded"})


async def rows(ctx: Context, table: sa.Table, *where: Any) -> list[Any]:
    return await ctx.sql.read(lambda connection: list(connection.execute(sa.select(table).where(*where))))
