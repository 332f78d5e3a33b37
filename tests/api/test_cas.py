"""Single sign-on against a CAS server that answers as the test says, its faults included."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import pytest
from tornado.testing import bind_unused_port

from server.clock import HeldClock
from server.config import Settings
from server.context import Context
from server.people import cas_client
from server.people.tables import cas_links, cas_sessions, sessions, users
from server.platform.tables import audit_log
from tests.api.cas_browser import Browser
from tests.api.cas_site import LOGOUT, REFUSED, SERVICE, another, browser, clock, more, person, rows, server, settings, sign_in
from tests.api.client import Api
from tests.embedded import settings_in
from tests.peers.http_peer import Answer, HttpPeer

__all__ = ["another", "browser", "clock", "more", "server", "settings"]


@pytest.mark.gen_test
async def test_the_login_leads_to_the_server_and_marks_the_browser(browser: Browser, server: HttpPeer) -> None:
    leads = urlsplit(await browser.location("/cas/login?next=/%23/documents"))
    assert f"{leads.scheme}://{leads.netloc}{leads.path}" == f"{server.url}/cas/login"
    assert parse_qs(leads.query) == {"service": [SERVICE]}
    (cookie,) = browser.last.values()
    assert (cookie.key, cookie["path"], cookie["samesite"], cookie["httponly"], cookie["secure"]) == ("zhihui-cas", "/", "Lax", True, "")
    assert int(cookie["max-age"]) == 600
    assert parse_qs(urlsplit(await browser.location("/cas/login?renew=true")).query)["renew"] == ["true"]
    assert parse_qs(urlsplit(await browser.location("/cas/login?gateway=true")).query)["gateway"] == ["true"]
    assert server.requests == []


@pytest.mark.gen_test
async def test_behind_https_the_cookie_is_for_https_alone(browser: Browser) -> None:
    await browser.location("/cas/login", **{"X-Forwarded-Proto": "https"})
    (cookie,) = browser.last.values()
    assert (cookie.key, cookie["secure"], cookie["path"], cookie["domain"]) == ("__Host-zhihui-cas", True, "/", "")


@pytest.mark.parametrize("page", ["//evil.example", "https://evil.example/", "/\\evil.example", "x", "", "/%0d%0aX:%20y"])
@pytest.mark.gen_test
async def test_it_leads_back_to_this_site_alone(anonymous: Api, page: str) -> None:
    assert (await anonymous.get(f"/cas/login?next={page}")).fields == ["next"]


@pytest.mark.gen_test
async def test_the_whole_way(browser: Browser, anonymous: Api, ctx: Context, server: HttpPeer) -> None:
    await browser.location("/cas/login?next=/%23/documents")
    location = urlsplit(await browser.location("/cas/callback?ticket=ST-1"))
    assert (location.path, location.fragment) == ("/", "/documents")
    (asked,) = server.requests
    assert asked.path == "/cas/p3/serviceValidate"
    assert parse_qs(asked.query) == {"service": [SERVICE], "ticket": ["ST-1"]}
    pair = await browser.redeem(parse_qs(location.query)["code"][0])
    assert set(pair) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert browser.cookies == {}
    me = (await anonymous.get("/api/auth/me", token=pair["access_token"])).result
    assert (me["username"], me["name"], me["email"], me["roles"], me["scopes"]) == ("2021001", "Zhang San", "zs@bupt.example", [], [])
    (user,) = await rows(ctx, users, users.c.username == "2021001")
    assert (user.kind, user.state, user.password_hash, user.organization_id) == ("person", "active", None, 1)
    (link,) = await rows(ctx, cas_links)
    assert (link.server, link.cas_id, link.user_id) == (server.url + "/cas", "2021001", user.id)
    assert link.attributes["employee_number"] == "2021001"
    assert link.attributes["all"] == {"name": ["Zhang San"], "mail": ["zs@bupt.example"], "employeeNumber": ["2021001"]}
    (session,) = await rows(ctx, sessions, sessions.c.user_id == user.id)
    assert session.method == "cas"
    (ticket,) = await rows(ctx, cas_sessions)
    assert ticket.session_id == session.id
    assert "ST-1" not in ticket.ticket_hash
    noted = [(row.action, row.target) for row in await rows(ctx, audit_log, audit_log.c.target == f"user:{user.id}")]
    assert noted == [("user.create", f"user:{user.id}"), ("login", f"user:{user.id}")]


@pytest.mark.gen_test
async def test_neither_ticket_nor_code_is_logged(browser: Browser, server: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    await browser.location("/cas/login")
    code = (await browser.come_back("ST-top-secret"))["code"]
    await browser.ask(f"/?code={code}")
    server.answer = lambda _request: Answer(500)
    await browser.come_back("ST-top-secret-too")
    assert "/cas/callback" in caplog.text
    assert "single sign-on: HTTP 500" in caplog.text
    assert "top-secret" not in caplog.text
    assert code not in caplog.text


@pytest.mark.parametrize("more", [{"bupt_cas_version": 2}])
@pytest.mark.gen_test
async def test_the_second_version_of_the_protocol(browser: Browser, server: HttpPeer) -> None:
    await sign_in(browser)
    assert server.requests[0].path == "/cas/serviceValidate"


@pytest.mark.gen_test
async def test_a_password_that_was_asked_for_again_is_checked_for(browser: Browser, server: HttpPeer) -> None:
    await browser.location("/cas/login?renew=true")
    await browser.come_back("ST-1")
    assert parse_qs(server.requests[0].query)["renew"] == ["true"]


@pytest.mark.gen_test
async def test_who_is_not_signed_in_there_comes_back_as_he_went(browser: Browser, server: HttpPeer) -> None:
    await browser.location("/cas/login?gateway=true&next=/x")
    assert await browser.location("/cas/callback") == "/x"
    assert server.requests == []
    await browser.location("/cas/login")
    assert await browser.location("/cas/callback") == "/?error=cas_ticket_invalid"


@pytest.mark.gen_test
async def test_the_next_time_it_is_the_same_user(browser: Browser, ctx: Context, server: HttpPeer) -> None:
    first = await sign_in(browser, "ST-1")
    server.answer = lambda _request: Answer(200, person(name="Zhang Si", mail="other@bupt.example"))
    second = await sign_in(browser, "ST-2")
    assert second["user"] == first["user"]
    (link,) = await rows(ctx, cas_links)
    assert link.attributes["name"] == "Zhang Si"


@pytest.mark.gen_test
async def test_neither_a_name_nor_a_mail_address_links_anything(browser: Browser, ctx: Context, server: HttpPeer) -> None:
    await ctx.sql.write(
        lambda connection: connection.execute(
            users.update().where(users.c.id == 1).values(email="admin@bupt.example", email_key="admin@bupt.example")
        )
    )
    server.answer = lambda _request: Answer(200, person("Admin", mail="ADMIN@bupt.example"))
    pair = await sign_in(browser)
    assert (pair["user"]["username"], pair["user"]["email"], pair["user"]["roles"]) == ("Admin-2", None, [])
    assert pair["user"]["id"] != 1


@pytest.mark.gen_test
async def test_people_of_like_names_are_different_people(browser: Browser, another: Browser, server: HttpPeer) -> None:
    server.answer = lambda request: Answer(200, person("Bob" if "ST-1" in request.query else "bob"))
    await asyncio.gather(browser.location("/cas/login"), another.location("/cas/login"))
    told = await asyncio.gather(browser.come_back("ST-1"), another.come_back("ST-2"))
    one, two = await browser.redeem(told[0]["code"]), await another.redeem(told[1]["code"])
    assert one["user"]["id"] != two["user"]["id"]


@pytest.mark.gen_test
async def test_a_ticket_is_used_once(browser: Browser, another: Browser, server: HttpPeer, clock: HeldClock) -> None:
    await asyncio.gather(browser.location("/cas/login"), another.location("/cas/login"))
    told = await asyncio.gather(browser.come_back("ST-1"), browser.come_back("ST-1"), another.come_back("ST-1"))
    assert sorted(next(iter(one)) for one in told) == ["code", "error", "error"]
    assert len(server.requests) == 1
    clock.advance(seconds=90)
    assert await browser.come_back("ST-1") == {"error": "cas_ticket_invalid"}
    assert len(server.requests) == 1, "a used one is not even asked about"


@pytest.mark.parametrize("ticket", ["", "PT-1", "x", "ST-%0a", "ST-%C3%A4", "ST-" + "x" * 300])
@pytest.mark.gen_test
async def test_what_is_no_ticket(browser: Browser, server: HttpPeer, ticket: str) -> None:
    await browser.location("/cas/login")
    assert await browser.come_back(ticket) == {"error": "cas_ticket_invalid"}
    assert server.requests == []


@pytest.mark.gen_test
async def test_a_ticket_counts_only_in_a_browser_that_began(browser: Browser, server: HttpPeer, clock: HeldClock) -> None:
    assert await browser.come_back("ST-1") == {"error": "cas_state"}
    for forged in ("x", "2|1:0|10:1700000000|3:cas|4:e30=|" + "0" * 64):
        browser.cookies = {"zhihui-cas": forged}
        assert await browser.come_back("ST-1") == {"error": "cas_state"}
    await browser.location("/cas/login")
    clock.advance(seconds=601)
    assert await browser.come_back("ST-1") == {"error": "cas_state"}
    assert server.requests == []


@pytest.mark.gen_test
async def test_a_code_holds_once_for_half_a_minute_in_its_browser(browser: Browser, another: Browser, clock: HeldClock) -> None:
    await asyncio.gather(browser.location("/cas/login"), another.location("/cas/login"))
    code = (await browser.come_back("ST-1"))["code"]
    kept = dict(browser.cookies)
    assert isinstance(await browser.redeem(code), dict)
    browser.cookies = dict(kept)
    assert await browser.redeem(code) == "cas_code_invalid"
    code = (await browser.come_back("ST-2"))["code"]
    assert await another.redeem(code) == "cas_code_invalid"
    code = (await browser.come_back("ST-3"))["code"]
    assert await Browser(browser.base_url, browser._client).redeem(code) == "cas_state"
    clock.advance(seconds=31)
    assert await browser.redeem(code) == "cas_code_invalid"
    assert await browser.redeem("guessed") == "cas_code_invalid"


@pytest.mark.parametrize("body", [{}, {"code": ""}, {"code": 1}, {"code": "x", "next": "/"}, {"code": "x" * 300}])
@pytest.mark.gen_test
async def test_a_body_without_a_code(anonymous: Api, body: Any) -> None:
    assert (await anonymous.post("/api/auth/cas", body)).status == 422


FAULTS: dict[str, tuple[Answer, str]] = {
    "refused": (Answer(200, REFUSED), "cas_ticket_invalid"),
    "down": (Answer(503, "down"), "cas_away"),
    "not there": (Answer(404, "no"), "cas_garbled"),
    "elsewhere": (Answer(302, "", {"Location": "https://evil.example/"}), "cas_garbled"),
    "a page": (Answer(200, "<html><p>sign in</html>"), "cas_garbled"),
    "nothing": (Answer(200, ""), "cas_garbled"),
    "a DTD": (Answer(200, b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + person("&a;")), "cas_garbled"),
    "two people": (Answer(200, person("a</cas:user><cas:user>b")), "cas_garbled"),
    "too much": (Answer(200, person(name="x" * 400_000)), "cas_away"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.gen_test
async def test_a_server_that_does_not_answer_well(browser: Browser, ctx: Context, server: HttpPeer, fault: str) -> None:
    answer, error = FAULTS[fault]
    good, server.answer = server.answer, lambda _request: answer
    await browser.location("/cas/login")
    assert await browser.location("/cas/callback?ticket=ST-1") == f"/?error={error}"
    assert await rows(ctx, cas_links) == []
    server.answer = good
    told = await browser.come_back("ST-1")  # loaded again
    assert list(told) == (["error"] if fault == "refused" else ["code"])


@pytest.mark.parametrize("kind", ["absent", "hangs up", "silent"])
@pytest.mark.gen_test
async def test_a_server_that_is_away(browser: Browser, server: HttpPeer, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(cas_client, "REQUEST_TIMEOUT_S", 0.3)
    taken: list[asyncio.StreamWriter] = []

    async def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        if kind == "hangs up":
            writer.close()

    socket, port = bind_unused_port()
    listening = await asyncio.start_server(take, sock=socket)
    if kind == "absent":
        listening.close()
    monkeypatch.setattr(cas_client, "server_url", lambda _settings: f"http://127.0.0.1:{port}")
    await browser.location("/cas/login")
    answer = await browser.ask("/cas/callback?ticket=ST-1", accept="application/json")
    envelope = msgspec.json.decode(answer.body)
    assert (answer.code, envelope["error"]["type"]) == (503, "cas_away")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "ST-1" not in answer.body.decode()
    assert await browser.come_back("ST-1") == {"error": "cas_away"}
    listening.close()
    for writer in taken:
        writer.close()


@pytest.mark.gen_test
async def test_programs_get_an_envelope(anonymous: Api) -> None:
    answer = await anonymous.get("/cas/callback?ticket=ST-1", headers={"Accept": "application/json"})
    assert (answer.status, answer.type) == (401, "cas_state")
    assert (await anonymous.request("HEAD", "/cas/callback?ticket=ST-1")).status == 405


@pytest.mark.gen_test
async def test_who_is_disabled_stays_out(browser: Browser, ctx: Context) -> None:
    pair = await sign_in(browser, "ST-1")
    await browser.location("/cas/login")
    waiting = (await browser.come_back("ST-2"))["code"]
    disable = users.update().where(users.c.id == pair["user"]["id"]).values(state="disabled")
    await ctx.sql.write(lambda connection: connection.execute(disable))
    assert await browser.redeem(waiting) == "cas_user_disabled"
    await browser.location("/cas/login")
    assert await browser.come_back("ST-3") == {"error": "cas_user_disabled"}
    (noted,) = await rows(ctx, audit_log, audit_log.c.action == "login.refused")
    assert noted.target == f"user:{pair['user']['id']}"


@pytest.mark.parametrize("more", [{"cas_create_users": "off"}])
@pytest.mark.gen_test
async def test_accounts_need_not_be_made_by_signing_in(browser: Browser, ctx: Context, server: HttpPeer) -> None:
    await browser.location("/cas/login")
    assert await browser.come_back("ST-1") == {"error": "cas_user_unknown"}
    assert await rows(ctx, users, users.c.id != 1) == []
    now = ctx.clock.now()
    link = {"server": server.url + "/cas", "cas_id": "2021001", "user_id": 1, "attributes": {}, "created_at": now, "last_login_at": now}
    await ctx.sql.write(lambda connection: connection.execute(cas_links.insert().values(**link)))
    assert (await sign_in(browser, "ST-2"))["user"]["username"] == "admin"


@pytest.mark.gen_test
async def test_trying_tickets_is_slowed(browser: Browser, server: HttpPeer) -> None:
    server.answer = lambda _request: Answer(200, REFUSED)
    await browser.location("/cas/login")
    told = [(await browser.come_back(f"ST-{number}"))["error"] for number in range(8)]
    assert told[:5] == ["cas_ticket_invalid"] * 5
    assert told[-1] == "too_many"
    assert len(server.requests) < 8


class TestSwitchedOff:
    @pytest.fixture
    def settings(self, tmp_path: Any) -> Settings:
        return settings_in(tmp_path / "data")

    @pytest.mark.gen_test
    async def test_there_is_nothing(self, anonymous: Api) -> None:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        logout = "logoutRequest=" + quote(LOGOUT.format(ticket="ST-1", name=""))
        for answer in (
            await anonymous.get("/cas/login"),
            await anonymous.get("/cas/callback?ticket=ST-1"),
            await anonymous.post("/cas/callback", body=logout, headers=form),
            await anonymous.post("/api/auth/cas", {"code": "x"}),
        ):
            assert (answer.status, answer.type) == (404, "cas_off")
