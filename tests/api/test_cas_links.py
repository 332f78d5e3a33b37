"""A CAS account linked to one's own, seen and removed by its owner."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from server.context import Context
from server.people.password_mail import MAIL_ACCOUNT
from server.people.tables import cas_links, users
from server.platform.tables import audit_log, tasks
from tests.api.cas_browser import Browser
from tests.api.cas_site import another, browser, clock, more, person, rows, server, settings, sign_in
from tests.api.client import Api
from tests.api.people import user
from tests.peers.http_peer import Answer, HttpPeer

__all__ = ["another", "browser", "clock", "more", "server", "settings"]

LINKS = "/api/auth/cas-links"


async def begin(api: Api, browser: Browser, **headers: str) -> Any:
    ticket = (await api.post("/api/auth/ticket")).result["ticket"]
    return await browser.ask(f"/cas/link?ticket={ticket}&next=/%23/me", **headers)


async def link(api: Api, browser: Browser, ticket: str) -> dict[str, str]:
    """The whole way; what the UI is told."""
    assert (await begin(api, browser)).code == 302
    return await browser.come_back(ticket)


@pytest.mark.gen_test
async def test_the_owner_links_and_signs_in_by_it(api: Api, browser: Browser, another: Browser, ctx: Context, server: HttpPeer) -> None:
    began = await begin(api, browser)
    leads = urlsplit(began.headers["Location"])
    assert parse_qs(leads.query)["renew"] == ["true"], "the password is asked for, whoever is signed in there"
    location = urlsplit(await browser.location("/cas/callback?ticket=ST-1"))
    assert (location.path, location.fragment, parse_qs(location.query)) == ("/", "/me", {"linked": ["1"]})
    assert parse_qs(server.requests[0].query)["renew"] == ["true"]
    assert browser.cookies == {}
    (shown,) = (await api.get(LINKS)).result
    assert (shown["server"], shown["cas_id"]) == (server.url + "/cas", "2021001")
    assert (await sign_in(another, "ST-2"))["user"]["username"] == "admin"
    (noted,) = await rows(ctx, audit_log, audit_log.c.action == "cas.link")
    assert (noted.actor, noted.target, noted.detail["cas_id"]) == ("admin", "user:1", "2021001")
    (mail,) = await rows(ctx, tasks, tasks.c.kind == MAIL_ACCOUNT)
    assert (mail.payload["user_id"], mail.payload["happened"]) == (1, "cas_linked")
    # A ticket counts once here, too.
    assert await link(api, browser, "ST-1") == {"error": "cas_ticket_invalid"}


@pytest.mark.gen_test
async def test_linked_again_nothing_changes(api: Api, browser: Browser, ctx: Context) -> None:
    assert await link(api, browser, "ST-1") == await link(api, browser, "ST-2") == {"linked": "1"}
    assert len(await rows(ctx, cas_links)) == 1
    assert len(await rows(ctx, tasks, tasks.c.kind == MAIL_ACCOUNT)) == 1


@pytest.mark.gen_test
async def test_what_somebody_else_holds_is_refused(api: Api, browser: Browser, another: Browser, ctx: Context) -> None:
    theirs = await sign_in(another, "ST-1")
    assert await link(api, browser, "ST-2") == {"error": "cas_link_taken"}
    (held,) = await rows(ctx, cas_links)
    assert held.user_id == theirs["user"]["id"]
    assert (await api.get(LINKS)).result == []


@pytest.mark.gen_test
async def test_only_a_signed_in_owner_begins(api: Api, anonymous: Api, browser: Browser) -> None:
    ticket = (await api.post("/api/auth/ticket")).result["ticket"]
    assert (await anonymous.get(f"/cas/link?ticket={ticket}&next=//evil.example")).fields == ["next"]
    assert (await anonymous.get("/cas/link?ticket=x")).type == "ticket_invalid"
    assert (await anonymous.get("/cas/link")).fields == ["ticket"]
    for site in ("cross-site", "same-site", "none"):
        headers = {"Sec-Fetch-Site": site}
        assert (await anonymous.get(f"/cas/link?ticket={ticket}", headers=headers)).type == "cas_link_elsewhere"
    assert (await browser.ask(f"/cas/link?ticket={ticket}", **{"Sec-Fetch-Site": "same-origin"})).code == 302
    assert (await anonymous.get(f"/cas/link?ticket={ticket}")).type == "ticket_invalid", "once"
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["users:read"]})).result["key"]
    of_key = (await anonymous.post("/api/auth/ticket", token=key)).result["ticket"]
    assert (await anonymous.get(f"/cas/link?ticket={of_key}")).status == 403
    assert (await anonymous.get(LINKS, token=key)).status == 403


@pytest.mark.gen_test
async def test_who_looks_with_anothers_eyes_links_nothing(api: Api, anonymous: Api, ctx: Context) -> None:
    ann = await user(ctx, anonymous, "ann", "student")
    ann_id = (await ann.get("/api/auth/me")).result["id"]
    eyes = api.as_caller((await api.post(f"/api/users/{ann_id}/view-as", {"reason": "a look"})).result["access_token"])
    ticket = (await eyes.post("/api/auth/ticket")).result["ticket"]
    assert (await anonymous.get(f"/cas/link?ticket={ticket}")).type == "view_only"
    assert (await eyes.delete(f"{LINKS}?cas_id=2021001")).type == "view_only"


@pytest.mark.gen_test
async def test_who_signs_out_meanwhile_links_nothing(api: Api, browser: Browser, ctx: Context, server: HttpPeer) -> None:
    await begin(api, browser)
    await api.post("/api/auth/logout")
    assert await browser.come_back("ST-1") == {"error": "session_over"}
    assert await rows(ctx, cas_links) == []
    assert server.requests == []


@pytest.mark.gen_test
async def test_removing(api: Api, anonymous: Api, browser: Browser, another: Browser, ctx: Context, server: HttpPeer) -> None:
    await link(api, browser, "ST-1")
    ann = await user(ctx, anonymous, "ann", "student")
    assert (await ann.delete(f"{LINKS}?cas_id=2021001")).type == "cas_link_not_found", "not anybody's"
    assert (await api.delete(f"{LINKS}?cas_id=2021001&server=http://other")).type == "cas_link_not_found"
    assert (await api.delete(LINKS)).fields == ["cas_id"]
    assert (await api.delete(f"{LINKS}?cas_id=2021001")).result == {"done": True}
    assert (await api.get(LINKS)).result == []
    assert [row.detail["cas_id"] for row in await rows(ctx, audit_log, audit_log.c.action == "cas.unlink")] == ["2021001"]
    assert (await sign_in(another, "ST-2"))["user"]["id"] != 1


@pytest.mark.gen_test
async def test_the_last_way_in_stays(anonymous: Api, browser: Browser, another: Browser, ctx: Context, server: HttpPeer) -> None:
    server.answer = lambda _request: Answer(200, person("2021001"))
    pair = await sign_in(browser, "ST-1")
    mine = anonymous.as_caller(pair["access_token"])
    assert (await mine.delete(f"{LINKS}?cas_id=2021001")).type == "cas_link_last"
    server.answer = lambda _request: Answer(200, person("2021002"))
    assert await link(mine, another, "ST-2") == {"linked": "1"}
    assert (await mine.delete(f"{LINKS}?cas_id=2021001")).status == 200
    assert (await mine.delete(f"{LINKS}?cas_id=2021002")).type == "cas_link_last"
    have = users.update().where(users.c.id == pair["user"]["id"]).values(email="a@x.cn", email_key="a@x.cn")
    await ctx.sql.write(lambda connection: connection.execute(have))
    assert (await mine.delete(f"{LINKS}?cas_id=2021002")).status == 200, "a mailed code is a way in, too"
