"""What anyone who has signed in may do to their own, and to nobody else's: one case a verb, asked by another administrator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from server.app import ROUTES
from server.context import Context
from server.knowledge.tables import conversations
from server.people.tables import cas_links
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import notify
from server.platform.tables import notifications
from tests.api.client import Api
from tests.api.people import user
from tests.api.route_classes import amiss
from tests.api.test_access import ID, OPENED
from tests.api.test_live_events import browser
from tests.embedded import ADMIN_PASSWORD

Case = Callable[[Api, Api, Context], Awaitable[None]]
OWNED: dict[str, Case] = {}
SOCKETS = {"/ws/events", "/websocket"}


def case(*names: str) -> Callable[[Case], Case]:
    """The case of ownership of some verbs: `mine` has something, `other` may all that an administrator may, and reaches none of it."""

    def keep(function: Case) -> Case:
        for name in names:
            assert name not in OWNED, f"two cases for {name}"
            OWNED[name] = function
        return function

    return keep


def test_every_verb_is_in_one_class() -> None:
    """A new route wants a scope, or a case here, or a line in the list of what anyone may do."""
    assert amiss(ROUTES, opened=OPENED, owned=OWNED, sockets=SOCKETS) == []


async def is_in(api: Api) -> bool:
    return (await api.get("/api/auth/me")).status == 200


async def session_ids(api: Api) -> set[str]:
    return {one["id"] for one in (await api.get("/api/auth/sessions")).result["items"]}


@case("POST /api/auth/logout")
async def a_sign_out(mine: Api, other: Api, ctx: Context) -> None:
    assert (await other.post("/api/auth/logout")).status == 200
    assert not await is_in(other)
    assert await is_in(mine)


@case("GET /api/auth/me", "PATCH /api/auth/me")
async def ones_own_account(mine: Api, other: Api, ctx: Context) -> None:
    before = (await mine.get("/api/auth/me")).result
    assert (await other.patch("/api/auth/me", {"name": "Mallory"})).result["username"] == "other"
    assert (await other.get("/api/auth/me")).result["name"] == "Mallory"
    assert (await mine.get("/api/auth/me")).result == before


@case("POST /api/auth/ticket")
async def a_ticket(mine: Api, other: Api, ctx: Context) -> None:
    key = (await mine.post("/api/auth/api-keys", {"name": "k", "scopes": ["users:read"]})).result["key"]
    async with browser(mine.as_caller(key)) as limited, browser(other) as full:
        assert await limited.ask("modules") == [("modules", "refused")]
        assert await full.ask("modules") == [("modules", "subscribed")]


@case("POST /api/auth/change-password")
async def a_password(mine: Api, other: Api, ctx: Context) -> None:
    new = {"password": "quite another horse"}
    assert (await other.post("/api/auth/change-password", {"old_password": ADMIN_PASSWORD, **new})).status == 422
    assert (await other.post("/api/auth/change-password", {"old_password": "a password", **new})).status == 200
    assert await is_in(mine)
    assert (await mine.post("/api/auth/login", {"username": "admin", "password": ADMIN_PASSWORD})).status == 200


@case("GET /api/auth/sessions", "DELETE /api/auth/sessions", f"DELETE /api/auth/sessions/{ID}")
async def sessions(mine: Api, other: Api, ctx: Context) -> None:
    mine_ids, other_ids = await session_ids(mine), await session_ids(other)
    assert mine_ids
    assert other_ids
    assert not mine_ids & other_ids
    for session_id in mine_ids:
        assert (await other.delete(f"/api/auth/sessions/{session_id}")).status == 404
    assert (await other.delete("/api/auth/sessions")).result == {"ended": 0}
    assert await is_in(mine)


@case("GET /api/auth/cas-links", "DELETE /api/auth/cas-links")
async def sign_on_links(mine: Api, other: Api, ctx: Context) -> None:
    now = ctx.clock.now()
    row = {
        "server": "https://cas.example.org",
        "cas_id": "2026001",
        "user_id": 1,
        "attributes": {},
        "created_at": now,
        "last_login_at": now,
    }
    await ctx.sql.write(lambda connection: connection.execute(cas_links.insert().values(**row)))
    assert [one["cas_id"] for one in (await mine.get("/api/auth/cas-links")).result] == ["2026001"]
    assert (await other.get("/api/auth/cas-links")).result == []
    gone = await other.delete("/api/auth/cas-links?cas_id=2026001&server=https://cas.example.org")
    assert gone.status == 404
    assert len((await mine.get("/api/auth/cas-links")).result) == 1


@case("GET /api/auth/api-keys", "POST /api/auth/api-keys", "DELETE /api/auth/api-keys/1")
async def api_keys(mine: Api, other: Api, ctx: Context) -> None:
    made = (await mine.post("/api/auth/api-keys", {"name": "mine", "scopes": ["users:read"]})).result
    theirs = (await other.post("/api/auth/api-keys", {"name": "theirs", "scopes": ["users:read"]})).result
    assert [one["id"] for one in (await mine.get("/api/auth/api-keys")).result] == [made["id"]]
    assert [one["id"] for one in (await other.get("/api/auth/api-keys")).result] == [theirs["id"]]
    assert (await other.as_caller(theirs["key"]).get("/api/auth/me")).result["username"] == "other"
    assert (await other.delete(f"/api/auth/api-keys/{made['id']}")).status == 404
    assert await is_in(mine.as_caller(made["key"]))


@case("GET /api/notifications", "GET /api/notifications/unread-count", "POST /api/notifications/read")
async def what_one_is_told(mine: Api, other: Api, ctx: Context) -> None:
    given = {"name": "n", "organization": "o"}
    await ctx.sql.write(lambda connection: notify(connection, ctx.clock.now(), [1], Kind.MEMBER_JOINED, "e", given))
    [told] = (await mine.get("/api/notifications")).result["items"]
    assert (await other.get("/api/notifications?kind=member.joined")).result["total"] == 0
    assert (await other.get("/api/notifications/unread-count")).result == {"unread": 0}
    for body in ({"ids": [told["id"]]}, {"all": True}):
        assert (await other.post("/api/notifications/read", body)).result["read"] == 0
    unread = sa.select(notifications.c.read_at).where(notifications.c.user_id == 1)
    assert await ctx.sql.read(lambda connection: connection.execute(unread).scalars().all()) == [None]
    assert (await mine.get("/api/notifications/unread-count")).result == {"unread": 1}


@case("GET /api/notifications/preferences", "PUT /api/notifications/preferences")
async def what_one_wants_to_be_told(mine: Api, other: Api, ctx: Context) -> None:
    path = "/api/notifications/preferences"
    before = (await mine.get(path)).result
    choice = {"preferences": [{"kind": "member.joined", "app": False, "mail": True}]}
    assert (await other.put(path, choice)).result != before
    assert (await mine.get(path)).result == before


@case("GET /api/notifications/settings", "PUT /api/notifications/settings")
async def when_one_wants_to_be_told(mine: Api, other: Api, ctx: Context) -> None:
    path = "/api/notifications/settings"
    before = (await mine.get(path)).result
    assert (await other.put(path, {"mail": "daily"})).result != before
    assert (await mine.get(path)).result == before


@case(
    "GET /api/notifications/webhooks",
    "POST /api/notifications/webhooks",
    "PATCH /api/notifications/webhooks/1",
    "DELETE /api/notifications/webhooks/1",
    "POST /api/notifications/webhooks/1/test",
)
async def where_one_is_told(mine: Api, other: Api, ctx: Context) -> None:
    path = "/api/notifications/webhooks"
    body = {"name": "mine", "url": "https://example.org/x", "secret": 16 * "s"}
    made = (await mine.post(path, body)).result
    assert (await other.get(path)).result == {"webhooks": []}
    one = f"{path}/{made['id']}"
    answers = (await other.patch(one, {"name": "theirs"}), await other.delete(one), await other.post(f"{one}/test"))
    assert [answer.type for answer in answers] == 3 * ["webhook_not_found"]
    assert (await mine.get(path)).result["webhooks"] == [made]


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize("name", sorted(OWNED))
async def test_what_is_somebodys_own_is_nobody_elses(api: Api, anonymous: Api, ctx: Context, name: str) -> None:
    await OWNED[name](api, await user(ctx, anonymous, "other", "administrator"), ctx)


@pytest.mark.gen_test
async def test_conversations_are_nobody_elses_whatever_they_may(api: Api, anonymous: Api, ctx: Context) -> None:
    """They want a scope, and then ownership on top of it."""
    now, number = ctx.clock.now(), 32 * "c"
    row: dict[str, Any] = {"id": number, "user_id": 1, "title": "mine", "scope": {}, "created_at": now, "updated_at": now}
    await ctx.sql.write(lambda connection: connection.execute(conversations.insert().values(**row)))
    other = await user(ctx, anonymous, "other", "administrator")
    assert (await other.get("/api/conversations")).result["total"] == 0
    where = f"/api/conversations/{number}"
    rated = await other.post(f"{where}/messages/{ID}/feedback", {"value": 1})
    for answer in (await other.get(where), await other.patch(where, {"title": "x"}), await other.delete(where), rated):
        assert (answer.status, answer.type) == (404, "conversation_not_found")
    assert [one["title"] for one in (await api.get("/api/conversations")).result["items"]] == ["mine"]


@pytest.mark.gen_test
async def test_sessions_of_others_are_for_who_may_change_their_user(api: Api, anonymous: Api, ctx: Context) -> None:
    teacher = await user(ctx, anonymous, "teacher", "teacher")
    number = (await teacher.get("/api/auth/me")).result["id"]
    for path in ("/api/users/1/sessions", f"/api/users/{number}/sessions"):
        assert (await teacher.get(path)).status == 403
        assert (await teacher.delete(path)).status == 403
    assert (await api.get(f"/api/users/{number}/sessions")).result["total"] == 1
    assert (await api.delete(f"/api/users/{number}/sessions")).result == {"ended": 1}
    assert not await is_in(teacher)
    assert await is_in(api)
