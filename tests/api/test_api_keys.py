"""API keys: limited to their scopes, shown once, ended by revoking, time, or their owner's end."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.context import Context
from server.people.tables import api_keys, role_grants
from server.platform.tables import kept_answers
from server.scopes import ALL
from tests.api.client import Api


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def new_key(api: Api, *scopes: str, **more: object) -> dict[str, object]:
    made: dict[str, object] = (await api.post("/api/auth/api-keys", {"name": "robot", "scopes": list(scopes), **more})).result
    return made


@pytest.mark.gen_test
async def test_a_key_does_what_its_scopes_say(api: Api, anonymous: Api) -> None:
    made = await new_key(api, "modules:read")
    assert str(made["key"]).startswith(f"zk_{made['prefix']}_")
    robot = anonymous.as_caller(str(made["key"]))
    assert (await robot.get("/module/list")).result == []
    refused = await robot.get("/workflow/list")
    assert (refused.status, refused.type) == (403, "forbidden")
    me = (await robot.get("/api/auth/me")).result
    assert (me["username"], me["scopes"]) == ("admin", ["modules:read"])


@pytest.mark.gen_test
async def test_a_key_loses_what_its_owner_loses(api: Api, anonymous: Api, ctx: Context) -> None:
    robot = anonymous.as_caller(str((await new_key(api, "modules:read"))["key"]))
    await ctx.sql.write(lambda connection: connection.execute(role_grants.delete()))
    assert (await robot.get("/module/list")).status == 403


@pytest.mark.gen_test
async def test_the_key_is_shown_once_and_not_stored(api: Api, ctx: Context) -> None:
    made = await new_key(api, "modules:read")
    [listed] = (await api.get("/api/auth/api-keys")).result
    assert "key" not in listed
    assert {name: made[name] for name in listed} == listed
    rows = await ctx.sql.read(lambda connection: connection.execute(sa.select(api_keys)).all())
    assert str(made["key"]).partition("_")[2].partition("_")[2] not in repr(rows)


@pytest.mark.gen_test
async def test_the_same_answer_again_does_not_need_the_key_to_be_stored(api: Api, anonymous: Api, ctx: Context) -> None:
    body, headers = {"name": "robot", "scopes": ["modules:read"]}, {"Idempotency-Key": "once"}
    first = await api.post("/api/auth/api-keys", body, headers=headers)
    again = await api.post("/api/auth/api-keys", body, headers=headers)
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len((await api.get("/api/auth/api-keys")).result) == 1
    kept = await ctx.sql.read(lambda connection: connection.execute(sa.select(kept_answers)).all())
    assert len(kept) == 1
    assert first.result["key"].partition("_")[2].partition("_")[2] not in repr(kept)
    assert (await anonymous.get("/module/list", token=again.result["key"])).status == 200


@pytest.mark.gen_test
async def test_revoking_ends_it_at_once(api: Api, anonymous: Api) -> None:
    made = await new_key(api, "modules:read")
    robot = anonymous.as_caller(str(made["key"]))
    assert (await robot.get("/module/list")).status == 200
    assert (await api.delete(f"/api/auth/api-keys/{made['id']}")).status == 200
    assert (await robot.get("/module/list")).type == "key_invalid"
    assert (await api.get("/api/auth/api-keys")).result == []
    assert (await api.delete(f"/api/auth/api-keys/{made['id']}")).type == "api_key_not_found"


@pytest.mark.gen_test
async def test_a_key_ends_in_its_time(api: Api, anonymous: Api, clock: HeldClock) -> None:
    end = clock.now() + timedelta(minutes=5)
    robot = anonymous.as_caller(str((await new_key(api, "modules:read", expires_at=end.isoformat()))["key"]))
    assert (await robot.get("/module/list")).status == 200
    clock.advance(minutes=5)
    assert (await robot.get("/module/list")).type == "key_invalid"


@pytest.mark.gen_test
async def test_the_last_use_is_noted_every_minute(api: Api, anonymous: Api, clock: HeldClock) -> None:
    robot = anonymous.as_caller(str((await new_key(api, "modules:read"))["key"]))

    async def last_used() -> str | None:
        [listed] = (await api.get("/api/auth/api-keys")).result
        used: str | None = listed["last_used_at"]
        return used

    assert await last_used() is None
    await robot.get("/module/list")
    first = await last_used()
    assert first is not None
    clock.advance(seconds=30)
    await robot.get("/module/list")
    assert await last_used() == first
    clock.advance(seconds=31)
    await robot.get("/module/list")
    assert await last_used() != first


@pytest.mark.gen_test
async def test_a_key_makes_no_further_keys(api: Api, anonymous: Api) -> None:
    robot = anonymous.as_caller(str((await new_key(api, *ALL))["key"]))
    assert (await robot.post("/api/auth/api-keys", {"name": "x", "scopes": []})).status == 403
    assert (await robot.get("/api/auth/api-keys")).status == 403
    assert (await robot.delete("/api/auth/api-keys/1")).status == 403
    assert (await robot.post("/api/auth/logout")).status == 200, "which ends nothing"
    assert (await robot.get("/module/list")).status == 200
    assert (await api.get("/api/auth/me")).status == 200


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"scopes": []}, ["name"]),
        ({"name": "", "scopes": []}, ["name"]),
        ({"name": "x"}, ["scopes"]),
        ({"name": "x", "scopes": "modules:read"}, ["scopes"]),
        ({"name": "x", "scopes": ["everything"]}, ["scopes"]),
        ({"name": "x", "scopes": [1]}, ["scopes[0]"]),
        ({"name": "x", "scopes": [], "expires_at": "2020-01-01T00:00:00Z"}, ["expires_at"]),
        ({"name": "x", "scopes": [], "expires_at": "2099-01-01T00:00:00"}, ["expires_at"]),
        ({"name": "x", "scopes": [], "expires_at": "9999-12-31T23:59:59-14:00"}, ["expires_at"]),
        ({"name": "x", "scopes": [], "expires_at": "0001-01-01T00:00:00+14:00"}, ["expires_at"]),
        ({"name": "x", "scopes": [], "expires_at": "2026-02-31T00:00:00Z"}, ["expires_at"]),
        ({"name": "x", "scopes": [], "expires_at": 5}, ["expires_at"]),
        ({"name": "x" * 191, "scopes": []}, ["name"]),
        ({"name": "x", "scopes": [], "key": "zk_mine"}, ["key"]),
    ],
    ids=str,
)
@pytest.mark.gen_test
async def test_what_is_no_key(api: Api, body: object, fields: list[str]) -> None:
    assert (await api.post("/api/auth/api-keys", body)).fields == fields


@pytest.mark.gen_test
async def test_a_scope_that_is_not_held_cannot_be_given(api: Api, ctx: Context) -> None:
    from server.people.tables import roles

    await ctx.sql.write(
        lambda connection: connection.execute(roles.update().where(roles.c.name == "administrator").values(scopes=["users:read"]))
    )
    refused = await api.post("/api/auth/api-keys", {"name": "x", "scopes": ["users:read", "users:write"]})
    assert refused.fields == ["scopes"]
    assert "users:write" in str(refused.error["fields"])
    assert (await api.post("/api/auth/api-keys", {"name": "x", "scopes": ["users:read"]})).status == 200


@pytest.mark.parametrize(
    "forged", ["zk_", "zk_000000000000_x", "zk_%_x", "zk_a_b_c", "zk_" + "a" * 500, "zk_é_x", "zk_000000000000", "zk__"]
)
@pytest.mark.gen_test
async def test_what_was_never_a_key(anonymous: Api, forged: str) -> None:
    assert (await anonymous.get("/module/list", token=forged)).type == "key_invalid"


@pytest.mark.gen_test
async def test_half_a_key_does_not_hold(api: Api, anonymous: Api) -> None:
    key = str((await new_key(api, "modules:read"))["key"])
    for forged in (key[:-1], key + "x", key.swapcase().replace("ZK_", "zk_"), key.rpartition("_")[0] + "_"):
        assert (await anonymous.get("/module/list", token=forged)).status == 401
