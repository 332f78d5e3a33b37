"""Sessions seen and ended, by their user and by who may change the user."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.context import Context
from server.people.tables import sessions
from server.platform.tables import audit_log
from tests.api.client import Api
from tests.api.people import organization, user
from tests.api.test_live_events import browser
from tests.embedded import ADMIN_PASSWORD

LOGIN = {"username": "admin", "password": ADMIN_PASSWORD}
MINE = "/api/auth/sessions"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def another(anonymous: Api, agent: str = "a phone", **login: str) -> Api:
    """Signed in once more."""
    pair = (await anonymous.post("/api/auth/login", {**LOGIN, **login}, headers={"User-Agent": agent})).result
    return anonymous.as_caller(pair["access_token"])


async def shown(api: Api, path: str = MINE) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await api.get(path)).result["items"]
    return items


async def id_of(api: Api) -> str:
    (current,) = [session["id"] for session in await shown(api) if session["current"]]
    return str(current)


async def user_id_of(api: Api) -> int:
    return int((await api.get("/api/auth/me")).result["id"])


@pytest.mark.gen_test
async def test_the_callers_open_sessions_newest_first(api: Api, anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    clock.advance(minutes=1)
    phone = await another(anonymous)
    await user(ctx, anonymous, "teacher", "teacher")
    first, second = await shown(phone)
    assert first == {
        "id": first["id"],
        "address": "127.0.0.1",
        "agent": "a phone",
        "method": "password",
        "created_at": first["created_at"],
        "seen_at": first["created_at"],
        "expires_at": first["expires_at"],
        "current": True,
    }
    assert (first["created_at"], first["expires_at"]) == ("2026-01-01T00:01:00Z", "2026-01-15T00:01:00Z")
    assert not second["current"]
    assert second["id"] == await id_of(api)
    assert [session["agent"] for session in await shown(phone, f"{MINE}?q=phone")] == ["a phone"]
    page = (await phone.get(f"{MINE}?page_size=1&page=2")).result
    assert (page["total"], [session["id"] for session in page["items"]]) == (2, [second["id"]])


@pytest.mark.gen_test
async def test_what_is_over_is_not_shown(api: Api, anonymous: Api, clock: HeldClock) -> None:
    phone = await another(anonymous)
    await phone.post("/api/auth/logout")
    assert len(await shown(api)) == 1
    clock.advance(days=14)
    assert len(await shown(await another(anonymous))) == 1


@pytest.mark.gen_test
async def test_a_refreshed_session_was_seen(anonymous: Api, clock: HeldClock) -> None:
    pair = (await anonymous.post("/api/auth/login", LOGIN)).result
    clock.advance(minutes=10)
    pair = (await anonymous.post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})).result
    (session,) = await shown(anonymous.as_caller(pair["access_token"]))
    assert (session["created_at"], session["seen_at"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z")


@pytest.mark.gen_test
async def test_ending_one_closes_its_tokens_and_its_sockets_at_once(api: Api, anonymous: Api) -> None:
    pair = (await anonymous.post("/api/auth/login", LOGIN)).result
    phone = anonymous.as_caller(pair["access_token"])
    async with browser(phone) as theirs, browser(api) as ours:
        assert (await api.delete(f"{MINE}/{await id_of(phone)}")).status == 200
        assert await theirs.closed() == 4401
        assert (await phone.get("/api/auth/me")).type == "session_over"
        assert (await anonymous.post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})).status == 401
        assert await ours.ask("modules") == [("modules", "subscribed")]


@pytest.mark.gen_test
async def test_ending_all_others_keeps_the_present_one(api: Api, anonymous: Api, ctx: Context) -> None:
    phone, laptop = await another(anonymous), await another(anonymous)
    teacher = await user(ctx, anonymous, "teacher", "teacher")
    async with browser(phone) as theirs, browser(teacher) as strangers:
        assert (await api.delete(MINE)).result == {"ended": 2}
        assert await theirs.closed() == 4401
        assert await strangers.ask("modules") == [("modules", "refused")]
    for ended in (phone, laptop):
        assert (await ended.get("/api/auth/me")).type == "session_over"
    assert (await api.delete(MINE)).result == {"ended": 0}
    assert len(await shown(api)) == 1
    assert len(await shown(teacher)) == 1


@pytest.mark.gen_test
async def test_ones_own_present_session_can_be_ended(api: Api) -> None:
    assert (await api.delete(f"{MINE}/{await id_of(api)}")).status == 200
    assert (await api.get(MINE)).type == "session_over"


@pytest.mark.gen_test
async def test_somebody_elses_session_is_not_there(api: Api, anonymous: Api, ctx: Context) -> None:
    teacher = await user(ctx, anonymous, "teacher", "teacher")
    theirs, mine = await id_of(teacher), await id_of(api)
    over = await another(anonymous)
    ended = await id_of(over)
    await over.post("/api/auth/logout")
    for caller, session_id in ((api, theirs), (teacher, mine), (api, ended), (api, 32 * "0")):
        refused = await caller.delete(f"{MINE}/{session_id}")
        assert (refused.status, refused.type) == (404, "session_not_found")
    assert (await teacher.get("/api/auth/me")).status == (await api.get("/api/auth/me")).status == 200


@pytest.mark.gen_test
async def test_a_key_neither_sees_nor_ends_sessions(api: Api, anonymous: Api) -> None:
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["users:read"]})).result["key"]
    script = anonymous.as_caller(key)
    assert (await script.get(MINE)).status == 403
    assert (await script.delete(MINE)).status == 403
    assert (await script.delete(f"{MINE}/{await id_of(api)}")).status == 403
    assert len(await shown(api)) == 1


@pytest.mark.gen_test
async def test_who_may_change_a_user_sees_and_ends_that_users_sessions(anonymous: Api, ctx: Context) -> None:
    physics, chemistry = await organization(ctx, "physics"), await organization(ctx, "chemistry")
    head = await user(ctx, anonymous, "head", "organization_admin", physics)
    inside = await user(ctx, anonymous, "inside", "student", physics)
    outside = await user(ctx, anonymous, "outside", "student", chemistry)
    above = await user(ctx, anonymous, "above", "student", 1)
    theirs = f"/api/users/{await user_id_of(inside)}/sessions"
    await another(anonymous, username="inside", password="a password")
    assert [session["current"] for session in await shown(head, theirs)] == [False, False]
    assert (await inside.get(theirs)).status == (await inside.delete(theirs)).status == 403
    for other in (outside, above):
        path = f"/api/users/{await user_id_of(other)}/sessions"
        for answer in (await head.get(path), await head.delete(path)):
            assert (answer.status, answer.type) == (404, "user_not_found")
        assert (await other.get("/api/auth/me")).status == 200
    assert (await head.get("/api/users/999999/sessions")).type == "user_not_found"
    stronger = await user(ctx, anonymous, "stronger", "operator", physics)
    refused = await head.delete(f"/api/users/{await user_id_of(stronger)}/sessions")
    assert (refused.status, refused.type) == (403, "user_above")
    async with browser(inside) as socket:
        assert (await head.delete(theirs)).result == {"ended": 2}
        assert await socket.closed() == 4401
    assert (await inside.get("/api/auth/me")).type == "session_over"
    assert await shown(head, theirs) == []


@pytest.mark.gen_test
async def test_an_administrator_ends_sessions_anywhere_and_sees_which_is_the_own(api: Api, anonymous: Api, ctx: Context) -> None:
    student = await user(ctx, anonymous, "student", "student", await organization(ctx, "physics"))
    assert (await api.delete(f"/api/users/{await user_id_of(student)}/sessions")).result == {"ended": 1}
    assert (await student.get("/api/auth/me")).type == "session_over"
    assert [session["current"] for session in await shown(api, f"/api/users/{await user_id_of(api)}/sessions")] == [True]


@pytest.mark.gen_test
async def test_ends_are_in_the_audit_log(api: Api, anonymous: Api, ctx: Context) -> None:
    phone = await another(anonymous)
    ended, kept = await id_of(phone), await id_of(api)
    await api.delete(f"{MINE}/{ended}")
    await another(anonymous)
    await api.delete(MINE)
    asked = sa.select(audit_log).where(audit_log.c.action.like("session.%")).order_by(audit_log.c.id)
    one, rest = await ctx.sql.read(lambda connection: connection.execute(asked).all())
    user_id = await user_id_of(api)
    assert (one.action, one.target, one.detail, one.user_id) == ("session.end", f"user:{user_id}", {"session": ended}, user_id)
    assert (rest.action, rest.detail) == ("session.end_all", {"number": 1, "kept": kept})
    reasons = sa.select(sessions.c.end_reason).where(sessions.c.ended_at.is_not(None))
    assert set(await ctx.sql.read(lambda connection: connection.execute(reasons).scalars().all())) == {"ended_by_user"}
