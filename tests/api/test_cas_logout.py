"""CAS single logout: what a ticket has opened ends with it, and a stranger ends nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.context import Context
from server.people import cas, cas_client
from server.people.cas_logout import KEPT_FOR, sweep_tickets
from server.people.retention import sweep_sessions
from server.people.tables import cas_sessions, sessions
from server.platform.tables import audit_log
from tests.api.cas_browser import Browser
from tests.api.cas_site import LOGOUT, browser, clock, log_out, more, person, rows, server, settings, sign_in
from tests.api.client import Api
from tests.api.test_live_events import browser as open_socket

__all__ = ["browser", "clock", "more", "server", "settings"]


@pytest.mark.gen_test
async def test_a_logout_there_ends_the_session_and_its_sockets(browser: Browser, anonymous: Api, api: Api, ctx: Context) -> None:
    pair = await sign_in(browser, "ST-1")
    mine = anonymous.as_caller(pair["access_token"])
    async with open_socket(mine) as socket, open_socket(api) as others:
        assert await socket.ask("modules") == [("modules", "refused")]
        assert (await log_out(anonymous, "ST-1")).status == 200
        assert await socket.closed() == 4401
        assert await others.ask("modules") == [("modules", "subscribed")]
    assert (await mine.get("/api/auth/me")).type == "session_over"
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})).status == 401
    (session,) = await rows(ctx, sessions, sessions.c.method == "cas")
    assert session.end_reason == "cas_logout"
    assert (await log_out(anonymous, "ST-1")).status == 200
    assert len(await rows(ctx, audit_log, audit_log.c.action == "logout")) == 1


@pytest.mark.gen_test
async def test_a_logout_there_ends_what_is_not_yet_a_session(browser: Browser, anonymous: Api, ctx: Context) -> None:
    await browser.location("/cas/login")
    code = (await browser.come_back("ST-1"))["code"]
    await log_out(anonymous, "ST-1")
    assert await browser.redeem(code) == "cas_code_invalid"
    assert await rows(ctx, sessions, sessions.c.method == "cas") == []


@pytest.mark.gen_test
async def test_a_logout_there_while_the_session_opens(
    browser: Browser, anonymous: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = cas.open_session

    async def logged_out_meanwhile(*given: Any, **named: Any) -> Any:
        pair = await opening(*given, **named)
        assert (await log_out(anonymous, "ST-1")).status == 200
        return pair

    monkeypatch.setattr(cas, "open_session", logged_out_meanwhile)
    await browser.location("/cas/login")
    assert await browser.redeem((await browser.come_back("ST-1"))["code"]) == "cas_code_invalid"
    (session,) = await rows(ctx, sessions, sessions.c.method == "cas")
    assert session.end_reason == "cas_logout"


@pytest.mark.gen_test
async def test_a_logout_there_while_we_ask(browser: Browser, anonymous: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async def logged_out_meanwhile(*_: Any, **__: Any) -> Any:
        assert (await log_out(anonymous, "ST-1")).status == 200
        return cas_client.read_validation(person())

    monkeypatch.setattr(cas, "validate", logged_out_meanwhile)
    await browser.location("/cas/login")
    assert await browser.come_back("ST-1") == {"error": "cas_ticket_invalid"}
    (ticket,) = await rows(ctx, cas_sessions)
    assert ticket.ended_at is not None


@pytest.mark.gen_test
async def test_a_stranger_ends_nothing(browser: Browser, anonymous: Api, api: Api, ctx: Context) -> None:
    pair = await sign_in(browser, "ST-1")
    (session,) = await rows(ctx, sessions, sessions.c.method == "cas")
    (ticket,) = await rows(ctx, cas_sessions)
    for guess in ("ST-2", "", "*", session.id, ticket.ticket_hash, "st-1", "ST-1 or 1=1"):
        answer = await log_out(anonymous, guess, name="2021001")
        assert (answer.status, answer.result) == (200, {"done": True})
    assert (await api.get("/api/auth/me")).status == 200
    assert (await anonymous.get("/api/auth/me", token=pair["access_token"])).status == 200


CASES: list[Callable[[], str]] = [
    lambda: "logoutRequest=x",
    lambda: "logoutRequest=",
    lambda: "x=y",
    lambda: "logoutRequest=" + quote("<!DOCTYPE x [<!ENTITY a 'b'>]>" + LOGOUT.format(ticket="&a;", name="")),
    lambda: "logoutRequest=" + quote(LOGOUT.format(ticket="x" * 70_000, name="")),
]


@pytest.mark.parametrize("make", CASES)
@pytest.mark.gen_test
async def test_what_is_no_logout(anonymous: Api, make: Callable[[], str]) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await anonymous.post("/cas/callback", body=make(), headers=form)).fields == ["logoutRequest"]


@pytest.mark.gen_test
async def test_old_tickets_are_forgotten_with_their_sessions(browser: Browser, ctx: Context, clock: HeldClock) -> None:
    await sign_in(browser, "ST-1")
    await browser.location("/cas/login")
    await browser.come_back("ST-2")
    now = clock.now()

    def sweep(connection: sa.Connection) -> list[int]:
        early = sweep_tickets(connection, now + KEPT_FOR, 10)
        unused = sweep_tickets(connection, now + 2 * KEPT_FOR, 10)
        sweep_sessions(connection, now + 3 * KEPT_FOR, 10)
        return [early, unused, sweep_tickets(connection, now + 3 * KEPT_FOR, 10)]

    assert await ctx.sql.write(sweep) == [0, 1, 1]
