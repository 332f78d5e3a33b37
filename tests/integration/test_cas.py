"""Single sign-on with a real CAS server: there and back, and single logout, which it sends by itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest

from server import migrating
from server.config import Settings
from server.people import cas_client
from server.people.cas_answers import TicketRefused
from server.people.tables import cas_links, cas_sessions, sessions, users
from tests.api.cas_browser import Browser
from tests.api.client import Api
from tests.api.test_live_events import browser as open_socket
from tests.integration.house import House, open_house
from tests.peers.cas_server import PERSON, CasServer, running_cas
from tests.peers.mariadb import MariaDb
from tests.peers.process import free_port
from tests.peers.valkey import Valkey

pytestmark = pytest.mark.integration

_INPUT = re.compile(r'<input type="hidden" name="(\w+)"(?: value="([^"]*)")?')


@pytest.fixture(scope="module")
def port() -> int:
    """Where our server listens: the CAS server gives tickets for that address alone."""
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[CasServer]:
    with running_cas(tmp_path_factory.mktemp("cas"), service_of(port)) as peer:
        yield peer


def logout_of(ticket: str) -> str:
    """What a CAS server sends for a ticket, as the body of a form."""
    protocol = "urn:oasis:names:tc:SAML:2.0:protocol"
    index = f"<p:SessionIndex>{ticket}</p:SessionIndex>"
    return urlencode({"logoutRequest": f'<p:LogoutRequest xmlns:p="{protocol}">{index}</p:LogoutRequest>'})


def service_of(port: int) -> str:
    return f"http://127.0.0.1:{port}/cas/callback"


class Person:
    """Somebody with a browser: `here` is our site, `there` the CAS server."""

    def __init__(self, house_url: str, server: CasServer) -> None:
        self.here, self.there = Browser(house_url), Browser(server.url)

    async def begin(self, query: str = "") -> str:
        """Go to sign in; where the CAS server sends the browser: empty when it shows its form."""
        self._page = await self.here.location(f"/cas/login{query}")
        answer = await self.there.ask(self._page)
        self._form = answer.body.decode()
        return answer.headers.get("Location", "")

    async def fill_in(self) -> str:
        """Give the password there; where the CAS server sends the browser."""
        hidden = {name: unescape(value) for name, value in _INPUT.findall(self._form)}
        filled = {**hidden, "username": PERSON["username"], "password": PERSON["password"]}
        return await self.there.location(self._page, method="POST", body=urlencode(filled), Referer=self._page)

    async def come_back(self, location: str) -> dict[str, str]:
        """What our UI is told after the way back."""
        told = parse_qs(urlsplit(await self.here.location(location)).query)
        return {name: values[0] for name, values in told.items()}

    async def sign_in(self, query: str = "") -> dict[str, Any]:
        """The whole way, with the password where it is asked for; a token pair."""
        location = await self.begin(query) or await self.fill_in()
        pair: dict[str, Any] = await self.here.redeem((await self.come_back(location))["code"])
        assert isinstance(pair, dict), pair
        return pair

    async def log_out_there(self) -> None:
        assert (await self.there.ask("/logout")).code == 200

    async def status_of(self, pair: dict[str, Any], path: str = "/api/auth/me") -> int:
        bearer = {"Authorization": f"Bearer {pair['access_token']}"}
        return (await self.here.ask(path, accept="application/json", **bearer)).code

    def close(self) -> None:
        self.here.close()
        self.there.close()


@contextmanager
def person_at(url: str, server: CasServer) -> Iterator[Person]:
    somebody = Person(url, server)
    try:
        yield somebody
    finally:
        somebody.close()


@asynccontextmanager
async def house_with(data: Path, port: int, server: CasServer, **more: Any) -> AsyncIterator[House]:
    settings = {"bupt_cas_server_url": server.url, "bupt_cas_service_url": server.service, **more}
    async with open_house(data, port=port, loops=False, **settings) as house:
        yield house


@pytest.fixture(params=["embedded", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    if request.param == "embedded":
        yield {}
        return
    mariadb: MariaDb = request.getfixturevalue("mariadb")
    with mariadb.database() as named:
        migrating.migrate(Settings(data_dir=str(tmp_path), **named))
        yield named


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.gen_test(timeout=60)
async def test_there_and_back_and_out(data: Path, port: int, server: CasServer, database: dict[str, Any], version: int) -> None:
    async with house_with(data, port, server, bupt_cas_version=version, **database) as house:
        with person_at(house.url, server) as somebody, person_at(house.url, server) as other:
            assert await somebody.begin("?next=/%23/documents") == ""
            location = await somebody.fill_in()
            assert location.startswith(f"{service_of(port)}?ticket=ST-")
            ticket = parse_qs(urlsplit(location).query)["ticket"][0]
            page = await somebody.here.location(location)
            assert re.fullmatch(r"/\?code=[\w-]{40,}#/documents", page)
            pair = await somebody.here.redeem(parse_qs(urlsplit(page).query)["code"][0])
            assert (pair["user"]["username"], pair["user"]["name"], pair["user"]["email"]) == ("2021001", "张三", "zhangsan@bupt.example")
            assert pair["user"]["scopes"] == []
            (link,) = await house.rows(cas_links)
            assert link.cas_id == "2021001"
            assert link.attributes["employee_number"] == "2021001"
            assert sorted(link.attributes["all"]["alias"]) == ["san", "zs"]
            with pytest.raises(TicketRefused, match="INVALID_TICKET"):  # theirs counts it as used, too
                await cas_client.validate(house.ctx.settings, ticket)
            again = await somebody.sign_in()  # the CAS server knows the browser: no password
            elsewhere = await other.sign_in()
            assert again["user"]["id"] == elsewhere["user"]["id"] == pair["user"]["id"]
            me = Api(somebody.here._client, house.url, pair["access_token"])
            async with open_socket(me) as socket:
                await somebody.log_out_there()
                assert await socket.closed() == 4401
            assert await somebody.status_of(pair) == await somebody.status_of(again) == 401
            assert await other.status_of(elsewhere) == 200
            ended = await house.rows(sessions, sessions.c.end_reason == "cas_logout")
            assert len(ended) == 2
            assert len(await house.rows(cas_sessions, cas_sessions.c.ended_at.is_(None))) == 1


@pytest.mark.gen_test(timeout=60)
async def test_the_first_time_in_two_browsers_at_once(data: Path, port: int, server: CasServer, database: dict[str, Any]) -> None:
    async with house_with(data, port, server, **database) as house:
        with person_at(house.url, server) as one, person_at(house.url, server) as two:
            locations = [await somebody.begin() or await somebody.fill_in() for somebody in (one, two)]
            told = await asyncio.gather(one.come_back(locations[0]), two.come_back(locations[1]))
            pairs = [await one.here.redeem(told[0]["code"]), await two.here.redeem(told[1]["code"])]
            assert pairs[0]["user"]["id"] == pairs[1]["user"]["id"]
            assert len(await house.rows(users, users.c.username.like("2021001%"))) == 1


@pytest.mark.gen_test(timeout=60)
async def test_a_logout_before_the_code_was_used(data: Path, port: int, server: CasServer) -> None:
    async with house_with(data, port, server) as house:
        with person_at(house.url, server) as somebody:
            await somebody.begin()
            code = (await somebody.come_back(await somebody.fill_in()))["code"]
            await somebody.log_out_there()
            assert await somebody.here.redeem(code) == "cas_code_invalid"
            assert await house.rows(sessions, sessions.c.method == "cas") == []


@pytest.mark.gen_test(timeout=60)
async def test_the_password_again_or_nothing_at_all(data: Path, port: int, server: CasServer) -> None:
    async with house_with(data, port, server) as house:
        with person_at(house.url, server) as somebody:
            location = await somebody.begin("?gateway=true&next=/x")
            assert location == service_of(port)
            assert await somebody.here.location(location) == "/x"
            assert isinstance(await somebody.sign_in(), dict)
            assert isinstance(await somebody.sign_in("?gateway=true"), dict)
            assert await somebody.begin("?renew=true") == ""
            known = await somebody.begin()  # a ticket without the password
            await somebody.here.location("/cas/login?renew=true")
            assert await somebody.come_back(known) == {"error": "cas_ticket_invalid"}
            assert await somebody.begin("?renew=true") == ""
            assert "code" in await somebody.come_back(await somebody.fill_in())


@pytest.mark.gen_test(timeout=60)
async def test_a_ticket_for_another_address(data: Path, port: int, server: CasServer) -> None:
    async with house_with(data, port, server) as house:
        with person_at(house.url, server) as somebody:
            await somebody.begin()
            ticket = parse_qs(urlsplit(await somebody.fill_in()).query)["ticket"][0]
            elsewhere = msgspec.structs.replace(house.ctx.settings, bupt_cas_service_url=service_of(port) + "/")
            with pytest.raises(TicketRefused, match="INVALID_SERVICE"):
                await cas_client.validate(elsewhere, ticket)


@pytest.mark.gen_test(timeout=60)
async def test_a_server_that_hangs(data: Path, port: int, server: CasServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house_with(data, port, server) as house:
        with person_at(house.url, server) as somebody:
            await somebody.begin()
            location = await somebody.fill_in()
            with monkeypatch.context() as patched:
                patched.setattr(cas_client, "REQUEST_TIMEOUT_S", 0.3)
                server.freeze()
                try:
                    assert await somebody.come_back(location) == {"error": "cas_away"}
                finally:
                    server.thaw()


@pytest.mark.holds_loop  # two servers are opened on it
@pytest.mark.gen_test(timeout=60)
async def test_two_instances(data: Path, tmp_path: Path, port: int, server: CasServer, mariadb: MariaDb, valkey: Valkey) -> None:
    """The way back may lead to another instance than the way there, the code to the first, and the logout to the second."""
    with mariadb.database() as database:
        await asyncio.to_thread(migrating.migrate, Settings(data_dir=str(tmp_path), **database))
        shared = {**database, "redis_url": valkey.url, "secret_key": "a-key-that-both-instances-share-in-this-test"}
        async with house_with(data, port, server, **shared) as first, house_with(tmp_path / "b", free_port(), server, **shared) as second:
            with person_at(first.url, server) as somebody:
                await somebody.begin()
                location = await somebody.fill_in()
                told = await somebody.come_back(location.replace(first.url, second.url))
                pair = await somebody.here.redeem(told["code"])
                me = Api(somebody.here._client, first.url, pair["access_token"])
                async with open_socket(me) as socket:
                    ticket = parse_qs(urlsplit(location).query)["ticket"][0]
                    await somebody.here.ask(f"{second.url}/cas/callback", method="POST", body=logout_of(ticket))
                    assert await socket.closed() == 4401
                assert await somebody.status_of(pair) == 401
