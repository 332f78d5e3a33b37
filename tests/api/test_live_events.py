"""/ws/events: opened by a ticket, told what the caller may see, closed when the session ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from server.clock import HeldClock
from server.context import Context
from server.people.tables import role_grants, roles
from tests.api.client import Api
from tests.api.module import WAIT_S, FakeModule, until

NOBODYS_RUN = "run:" + 32 * "0"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def ticket_of(api: Api) -> str:
    answer = (await api.post("/api/auth/ticket")).result
    assert answer["expires_in"] == 30
    return str(answer["ticket"])


class Browser:
    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket
        self._over = False

    async def event(self) -> dict[str, Any]:
        message = await asyncio.wait_for(self.socket.read_message(), WAIT_S)
        assert message is not None, f"closed with {self.socket.close_code}"
        decoded: dict[str, Any] = msgspec.json.decode(message)
        return decoded

    async def ask(self, *subscribe: str, **more: Any) -> list[tuple[str, str]]:
        await self.socket.write_message(msgspec.json.encode({"subscribe": list(subscribe), **more}).decode())
        return [(event["topic"], event["event"]) for event in [await self.event() for _ in subscribe]]

    async def closed(self) -> int | None:
        while not self._over:
            self._over = await asyncio.wait_for(self.socket.read_message(), WAIT_S) is None
        return self.socket.close_code


@asynccontextmanager
async def browser(api: Api, ticket: str | None = None, **headers: str) -> AsyncIterator[Browser]:
    given = ticket if ticket is not None else await ticket_of(api)
    request = HTTPRequest(f"{api.base_url.replace('http', 'ws', 1)}/ws/events?ticket={given}", headers=headers)
    socket = await websocket_connect(request)
    opened = Browser(socket)
    try:
        yield opened
    finally:
        socket.close()
        await opened.closed()


async def refusal(api: Api, ticket: str, **headers: str) -> tuple[int, str]:
    """The status and the error's type of an upgrade that is refused."""
    with pytest.raises(HTTPClientError) as refused:
        async with browser(api, ticket, **headers):
            pass
    assert refused.value.response is not None
    envelope = msgspec.json.decode(refused.value.response.body)
    assert refused.value.response.headers["X-Content-Type-Options"] == "nosniff"
    assert envelope["error"]["request_id"] == refused.value.response.headers["X-Request-ID"]
    return refused.value.code, envelope["error"]["type"]


@pytest.mark.gen_test
async def test_a_ticket_opens_one_socket(api: Api) -> None:
    ticket = await ticket_of(api)
    async with browser(api, ticket) as one:
        assert await one.ask("modules") == [("modules", "subscribed")]
        assert await refusal(api, ticket) == (401, "ticket_invalid")


@pytest.mark.parametrize("ticket", ["", "x", "a" * 3000, "%00", "ticket:x"])
@pytest.mark.gen_test
async def test_what_is_no_ticket(api: Api, ticket: str) -> None:
    assert await refusal(api, ticket) == (401, "ticket_invalid")


@pytest.mark.gen_test
async def test_no_token_opens_a_socket(api: Api) -> None:
    assert (await refusal(api, api.token))[0] == 401
    assert (await refusal(api, "", Authorization=f"Bearer {api.token}"))[0] == 401


@pytest.mark.gen_test
async def test_a_ticket_ends_after_half_a_minute(api: Api, clock: HeldClock) -> None:
    ticket = await ticket_of(api)
    clock.advance(seconds=30)
    assert await refusal(api, ticket) == (401, "ticket_invalid")


@pytest.mark.gen_test
async def test_a_ticket_ends_with_its_session(api: Api) -> None:
    ticket = await ticket_of(api)
    await api.post("/api/auth/logout")
    assert await refusal(api, ticket) == (401, "session_over")


@pytest.mark.gen_test
async def test_a_page_of_another_site_is_refused(api: Api) -> None:
    ticket = await ticket_of(api)
    assert await refusal(api, ticket, Origin="https://evil.example") == (403, "origin_not_allowed")
    ticket = await ticket_of(api)
    assert await refusal(api, ticket, **{"Sec-Fetch-Site": "cross-site"}) == (403, "origin_not_allowed")
    async with browser(api, None, Origin=api.base_url) as own:
        assert await own.ask("modules") == [("modules", "subscribed")]


@pytest.mark.gen_test
async def test_plain_requests_get_an_envelope(api: Api) -> None:
    for path in ("/ws/events", "/websocket"):
        assert (await api.get(path)).type == "upgrade_needed"
        assert (await api.post(path, {})).type == "method_not_allowed"
        assert (await api.request("OPTIONS", path)).status == 405
        assert (await api.request("BREW", path)).status == 405


@pytest.mark.gen_test
async def test_only_what_may_be_seen_is_told(api: Api, anonymous: Api, ctx: Context, module: FakeModule, workflow: dict[str, Any]) -> None:
    run = (await api.post(f"/workflow/{workflow['id']}/execute", {})).result["run_id"]
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["modules:read"]})).result
    robot = anonymous.as_caller(key["key"])
    async with browser(robot) as limited:
        assert await limited.ask("modules", "runs", f"run:{run}", "task:" + 32 * "0", NOBODYS_RUN, "users", "", "run:", "*") == [
            ("modules", "subscribed"),
            *((topic, "refused") for topic in ("runs", f"run:{run}", "task:" + 32 * "0", NOBODYS_RUN, "users", "", "run:", "*")),
        ]
    async with browser(api) as admin:
        assert await admin.ask(f"run:{run}", "runs", NOBODYS_RUN) == [
            (f"run:{run}", "subscribed"),
            ("runs", "subscribed"),
            (NOBODYS_RUN, "refused"),
        ]
        await module.settle(await module.frame())
        seen = [await admin.event() for _ in range(3)]
        assert {(event["topic"], event["event"]) for event in seen} >= {(f"run:{run}", "StepChanged"), ("runs", "RunChanged")}
        numbers = [event["seq"] for event in seen]
        assert numbers == list(range(numbers[0], numbers[0] + 3))


@pytest.mark.gen_test
async def test_a_role_that_was_taken_away_is_gone_for_new_topics(api: Api, ctx: Context) -> None:
    async with browser(api) as one:
        await one.ask("modules")
        await ctx.sql.write(lambda connection: connection.execute(role_grants.delete()))
        assert await one.ask("runs") == [("runs", "refused")]


@pytest.mark.gen_test
async def test_an_organizations_own_sees_not_everybodys(api: Api, ctx: Context) -> None:
    def confine(connection: sa.Connection) -> None:
        from server.people.tables import organizations

        made = connection.execute(
            organizations.insert().values(parent_id=1, name="Physics", code="ph", kind="school", created_at=ctx.clock.now())
        )
        assert made.inserted_primary_key
        connection.execute(role_grants.update().values(organization_id=made.inserted_primary_key[0]))
        assert connection.execute(sa.select(sa.func.count()).select_from(roles)).scalar()

    await ctx.sql.write(confine)
    async with browser(api) as one:
        assert await one.ask("modules", "runs") == [("modules", "refused"), ("runs", "refused")]


@pytest.mark.gen_test
async def test_after_unsubscribing_nothing_comes(api: Api, module: FakeModule) -> None:
    async with browser(api) as one:
        await one.ask("modules")
        await one.ask("modules", unsubscribe=["modules"])
        await one.socket.write_message('{"unsubscribe": ["modules"]}')
        assert await one.ask("users") == [("users", "refused")]  # what was asked before is done
        assert module.socket is not None
        module.socket.close()
        await until(lambda: _offline(api, module))
        assert await one.ask("") == [("", "refused")]


async def _offline(api: Api, module: FakeModule) -> bool:
    return not (await api.get(f"/module/{module.hash}")).result["online"]


@pytest.mark.parametrize(
    "nonsense", ["", "x", "[]", '{"subscribe": "modules"}', '{"subscribe": [1]}', '{"say": []}', "null", "[" * 5000, b"\x00\xff"]
)
@pytest.mark.gen_test
async def test_nonsense_is_answered_and_the_socket_stays(api: Api, nonsense: str | bytes) -> None:
    async with browser(api) as one:
        await one.socket.write_message(nonsense, binary=isinstance(nonsense, bytes))
        answer = await one.event()
        assert answer["event"] == "error"
        assert answer["data"]["message"]
        assert await one.ask("modules") == [("modules", "subscribed")]


@pytest.mark.gen_test
async def test_there_is_a_limit_of_topics(api: Api) -> None:
    async with browser(api) as one:
        told = await one.ask(*(f"task:{number:032x}" for number in range(201)))
        assert [event for _, event in told].count("refused") == 1
        assert await one.ask(f"task:{0:032x}") == [(f"task:{0:032x}", "subscribed")], "what is followed already may be asked for again"


@pytest.mark.gen_test
async def test_logging_out_closes_the_sockets_of_that_session_alone(api: Api, anonymous: Api) -> None:
    from tests.embedded import ADMIN_PASSWORD

    pair = (await anonymous.post("/api/auth/login", {"username": "admin", "password": ADMIN_PASSWORD})).result
    other = anonymous.as_caller(pair["access_token"])
    async with browser(api) as mine, browser(other) as theirs:
        await mine.ask("modules")
        await other.post("/api/auth/logout")
        assert await theirs.closed() == 4401
        assert await mine.ask("runs") == [("runs", "subscribed")]


@pytest.mark.gen_test
async def test_revoking_a_key_closes_its_sockets(api: Api, anonymous: Api) -> None:
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["modules:read"]})).result
    other = (await api.post("/api/auth/api-keys", {"name": "l", "scopes": ["modules:read"]})).result
    async with (
        browser(anonymous.as_caller(key["key"])) as robot,
        browser(anonymous.as_caller(other["key"])) as stays,
        browser(api) as admin,
    ):
        await robot.ask("modules")
        waiting = await ticket_of(anonymous.as_caller(key["key"]))
        await api.delete(f"/api/auth/api-keys/{key['id']}")
        assert await robot.closed() == 4401
        assert await refusal(api, waiting) == (401, "key_invalid")
        assert await stays.ask("modules") == [("modules", "subscribed")]
        assert await admin.ask("modules") == [("modules", "subscribed")]


@pytest.mark.gen_test
async def test_the_module_key_gets_no_more_than_its_own(anonymous: Api) -> None:
    from tests.embedded import MODULE_KEY

    async with browser(anonymous.as_caller(MODULE_KEY)) as one:
        assert await one.ask("modules", "runs") == [("modules", "subscribed"), ("runs", "refused")]
