"""Signing in and out: tokens, their rotation, and their end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.context import Context
from server.people.passwords import Passwords
from server.people.tables import sessions, users
from server.platform.tables import audit_log
from tests.api.client import Api
from tests.embedded import ADMIN_PASSWORD, cheap_passwords

LOGIN = {"username": "admin", "password": ADMIN_PASSWORD}


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.mark.gen_test
async def test_login_answers_with_a_pair_and_the_user(anonymous: Api) -> None:
    pair = (await anonymous.post("/api/auth/login", LOGIN)).result
    assert set(pair) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert pair["token_type"] == "Bearer"
    assert pair["expires_in"] == 900
    assert pair["user"]["username"] == "admin"
    me = (await anonymous.get("/api/auth/me", token=pair["access_token"])).result
    assert me == pair["user"]
    assert me["roles"] == ["administrator"]
    assert "users:write" in me["scopes"]
    assert me["organizations"][0]["id"] == 1


@pytest.mark.parametrize("name", ["ADMIN", " Admin "])
@pytest.mark.gen_test
async def test_the_case_of_a_name_does_not_matter(anonymous: Api, name: str) -> None:
    assert (await anonymous.post("/api/auth/login", {**LOGIN, "username": name})).status == 200


@pytest.mark.gen_test
async def test_unknown_wrong_and_disabled_look_alike(anonymous: Api, ctx: Context) -> None:
    wrong = await anonymous.post("/api/auth/login", {**LOGIN, "password": "wrong"})
    unknown = await anonymous.post("/api/auth/login", {"username": "nobody", "password": "nobody"})
    await ctx.sql.write(lambda connection: connection.execute(users.update().values(state="disabled")))
    disabled = await anonymous.post("/api/auth/login", LOGIN)
    for answer in (wrong, unknown, disabled):
        assert (answer.status, answer.type) == (401, "credentials_wrong")
    assert wrong.envelope["message"] == unknown.envelope["message"] == disabled.envelope["message"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["username"]),
        ({"username": "admin"}, ["password"]),
        ({"username": "", "password": "x"}, ["username"]),
        ({"username": 1, "password": "x"}, ["username"]),
        ({"username": "a", "password": None}, ["password"]),
        ({**LOGIN, "remember": True}, ["remember"]),
        ({"username": "a", "password": "x" * 2000}, ["password"]),
        ([], ["body"]),
        ("admin", ["body"]),
    ],
)
@pytest.mark.gen_test
async def test_a_login_that_lacks_something(anonymous: Api, body: object, fields: list[str]) -> None:
    assert (await anonymous.post("/api/auth/login", body)).fields == fields


@pytest.mark.gen_test
async def test_guessing_is_slowed_and_ends_by_itself(anonymous: Api, clock: HeldClock) -> None:
    for _ in range(5):
        assert (await anonymous.post("/api/auth/login", {**LOGIN, "password": "wrong"})).status == 401
    slowed = await anonymous.post("/api/auth/login", LOGIN)
    assert (slowed.status, slowed.type) == (429, "too_many")
    assert slowed.headers["Retry-After"] == "2"
    elsewhere = await anonymous.post("/api/auth/login", LOGIN, headers={"X-Forwarded-For": "203.0.113.9"})
    assert elsewhere.status == 200, "a stranger's guesses lock nobody out"
    clock.advance(seconds=2)
    assert (await anonymous.post("/api/auth/login", LOGIN)).status == 200


@pytest.mark.gen_test
async def test_guesses_that_come_at_once_are_slowed_all_the_same(anonymous: Api) -> None:
    wrong = {**LOGIN, "password": "wrong"}
    answers = await asyncio.gather(*(anonymous.post("/api/auth/login", wrong) for _ in range(20)))
    statuses = [answer.status for answer in answers]
    assert statuses.count(429) >= 13
    assert statuses.count(401) + statuses.count(429) == 20


@pytest.mark.gen_test
async def test_sign_ins_that_come_at_once_all_succeed(anonymous: Api) -> None:
    answers = await asyncio.gather(*(anonymous.post("/api/auth/login", LOGIN) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}


@pytest.mark.gen_test
async def test_a_password_of_older_cost_is_hashed_anew(anonymous: Api, ctx: Context) -> None:
    def stored(connection: sa.Connection) -> str:
        return str(connection.execute(sa.select(users.c.password_hash)).scalar_one())

    before = await ctx.sql.read(stored)
    dearer = cheap_passwords()
    dearer._hasher.__init__(time_cost=2, memory_cost=16, parallelism=1)  # type: ignore[misc]
    ctx.services.add(dearer)
    assert (await anonymous.post("/api/auth/login", LOGIN)).status == 200
    after = await ctx.sql.read(stored)
    assert after != before
    assert not ctx.services.get(Passwords).needs_rehash(after)
    assert (await anonymous.post("/api/auth/login", LOGIN)).status == 200


@pytest.mark.gen_test
async def test_refreshing_rotates(anonymous: Api) -> None:
    first = (await anonymous.post("/api/auth/login", LOGIN)).result
    second = (await anonymous.post("/api/auth/refresh", {"refresh_token": first["refresh_token"]})).result
    assert second["refresh_token"] != first["refresh_token"]
    third = (await anonymous.post("/api/auth/refresh", {"refresh_token": second["refresh_token"]})).result
    assert (await anonymous.get("/api/auth/me", token=third["access_token"])).status == 200


@pytest.mark.gen_test
async def test_reuse_ends_that_session_alone(anonymous: Api) -> None:
    stolen = (await anonymous.post("/api/auth/login", LOGIN)).result
    other = (await anonymous.post("/api/auth/login", LOGIN)).result
    newer = (await anonymous.post("/api/auth/refresh", {"refresh_token": stolen["refresh_token"]})).result
    reused = await anonymous.post("/api/auth/refresh", {"refresh_token": stolen["refresh_token"]})
    assert (reused.status, reused.type) == (401, "refresh_reused")
    for token in (newer["access_token"], stolen["access_token"]):
        assert (await anonymous.get("/api/auth/me", token=token)).type == "session_over"
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": newer["refresh_token"]})).status == 401
    assert (await anonymous.get("/api/auth/me", token=other["access_token"])).status == 200
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": other["refresh_token"]})).status == 200


@pytest.mark.gen_test
async def test_of_two_who_refresh_at_once_one_succeeds(anonymous: Api) -> None:
    pair = (await anonymous.post("/api/auth/login", LOGIN)).result
    body = {"refresh_token": pair["refresh_token"]}
    answers = await asyncio.gather(*(anonymous.post("/api/auth/refresh", body) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]


@pytest.mark.gen_test
async def test_tokens_are_good_for_their_own_purpose(anonymous: Api) -> None:
    pair = (await anonymous.post("/api/auth/login", LOGIN)).result
    assert (await anonymous.get("/api/auth/me", token=pair["refresh_token"])).type == "token_invalid"
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": pair["access_token"]})).type == "token_invalid"
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": "x"})).type == "token_invalid"


@pytest.mark.gen_test
async def test_tokens_end_in_time(anonymous: Api, clock: HeldClock) -> None:
    pair = (await anonymous.post("/api/auth/login", LOGIN)).result
    clock.advance(minutes=15)
    assert (await anonymous.get("/api/auth/me", token=pair["access_token"])).type == "token_expired"
    fresh = (await anonymous.post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})).result
    assert (await anonymous.get("/api/auth/me", token=fresh["access_token"])).status == 200
    clock.advance(days=14)
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": fresh["refresh_token"]})).type == "token_expired"


@pytest.mark.gen_test
async def test_logout_ends_access_at_once(anonymous: Api) -> None:
    pair = (await anonymous.post("/api/auth/login", LOGIN)).result
    other = (await anonymous.post("/api/auth/login", LOGIN)).result
    mine = anonymous.as_caller(pair["access_token"])
    assert (await mine.post("/api/auth/logout")).status == 200
    assert (await mine.get("/api/auth/me")).type == "session_over"
    assert (await mine.post("/api/auth/logout")).status == 401
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})).status == 401
    assert (await anonymous.get("/api/auth/me", token=other["access_token"])).status == 200


@pytest.mark.gen_test
async def test_a_disabled_user_is_out_at_once(api: Api, anonymous: Api, ctx: Context) -> None:
    pair = (await anonymous.post("/api/auth/login", LOGIN)).result
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["users:read"]})).result["key"]
    await ctx.sql.write(lambda connection: connection.execute(users.update().values(state="disabled")))
    assert (await api.get("/api/auth/me")).status == 401
    assert (await anonymous.get("/api/users", token=key)).status == 401
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]})).status == 401


@pytest.mark.parametrize(
    "header",
    [
        "Basic YWRtaW46YWRtaW4=",
        "Bearer",
        "Bearer ",
        "bearer x",
        "Bearer a b",
        "x",
        "Bearer " + "a." * 2000,
        "Bearer zk_",
        "Bearer \xff\xfe",
    ],
)
@pytest.mark.gen_test
async def test_what_is_no_token(anonymous: Api, header: str) -> None:
    assert (await anonymous.get("/api/auth/me", headers={"Authorization": header})).status == 401


@pytest.mark.gen_test
async def test_signing_in_and_out_is_in_the_audit_log(anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    clock.advance(seconds=1)
    await anonymous.post("/api/auth/login", {"username": "admin", "password": "not-my-password"})
    pair = (await anonymous.post("/api/auth/login", LOGIN, headers={"X-Request-ID": "from-me"})).result
    await anonymous.post("/api/auth/logout", token=pair["access_token"])
    since = sa.select(audit_log).where(audit_log.c.at >= clock.now() - timedelta(seconds=1)).order_by(audit_log.c.id)
    rows = [row for row in await ctx.sql.read(lambda connection: connection.execute(since).all()) if row.action.startswith("log")]
    assert [row.action for row in rows] == ["login.refused", "login", "logout"]
    assert {row.address for row in rows} == {"127.0.0.1"}
    assert rows[1].request_id == "from-me"
    written = repr(rows)
    for secret in ("not-my-password", ADMIN_PASSWORD, pair["access_token"], pair["refresh_token"]):
        assert secret not in written


@pytest.mark.gen_test
async def test_nothing_secret_is_stored(anonymous: Api, ctx: Context) -> None:
    pair = (await anonymous.post("/api/auth/login", LOGIN)).result
    rows = await ctx.sql.read(lambda connection: connection.execute(sa.select(sessions)).all())
    assert rows
    for secret in (pair["access_token"], pair["refresh_token"], ADMIN_PASSWORD):
        assert secret not in repr(rows)
