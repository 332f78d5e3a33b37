"""Users: created, changed, disabled everywhere at once, merged; by whom, and by whom not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.errors import Invalid
from server.people import user_changes, users
from server.people.identify import identify
from server.people.tables import cas_links, organization_members, role_grants, roles, sessions
from server.people.tables import users as table
from server.people.user_merging import UsersMerged
from server.people.user_rights import LastAdministrator
from server.people.user_schemas import MePatch, UserPatch
from server.platform.tables import audit_log
from server.scopes import system_actor
from tests.api.client import Api
from tests.api.people import organization, user
from tests.api.test_live_events import browser

PASSWORD = "violet tractor 88"


async def create(api: Api, username: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = (await api.post("/api/users", {"username": username, **more})).result
    return made


async def log_in(anonymous: Api, username: str, password: str = PASSWORD) -> Api:
    answer = await anonymous.post("/api/auth/login", {"username": username, "password": password})
    return anonymous.as_caller(answer.result["access_token"])


async def audited(ctx: Context, target: str) -> list[str]:
    wanted = sa.select(audit_log.c.action).where(audit_log.c.target == target).order_by(audit_log.c.id)
    return list(await ctx.sql.read(lambda connection: connection.execute(wanted).scalars().all()))


async def grants(ctx: Context, user_id: int) -> set[tuple[str, int]]:
    wanted = sa.select(roles.c.name, role_grants.c.organization_id).join(roles, roles.c.id == role_grants.c.role_id)
    rows = await ctx.sql.read(lambda connection: connection.execute(wanted.where(role_grants.c.user_id == user_id)).all())
    return {(row.name, row.organization_id) for row in rows}


@pytest.mark.gen_test
async def test_a_new_user_signs_in(api: Api, anonymous: Api, ctx: Context) -> None:
    made = await create(api, " Li.Ming ", name="李明", email="Li@Example.edu.cn", password=PASSWORD, roles=["teacher"])
    assert (made["username"], made["name"], made["email"], made["roles"]) == ("Li.Ming", "李明", "Li@Example.edu.cn", ["teacher"])
    assert (made["state"], made["kind"], made["organization_id"], made["merged_into"]) == ("active", "person", 1, None)
    assert (await api.get(f"/api/users/{made['id']}")).result == made
    assert "documents:write" in (await (await log_in(anonymous, "li.ming")).get("/api/auth/me")).result["scopes"]
    assert (await log_in(anonymous, "li@example.EDU.cn")).token
    assert await audited(ctx, f"user:{made['id']}") == ["user.create", "login", "login"]


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "a\u0000b"}, "username"),
        ({"username": "x" * 151}, "username"),
        ({"username": "ADMIN"}, "username"),
        ({"username": "x", "email": "nobody"}, "email"),
        ({"username": "x", "email": "a@b@c.de"}, "email"),
        ({"username": "x", "email": "taken@example.com"}, "email"),
        ({"username": "taken@example.com"}, "username"),
        ({"username": "x", "name": "a\u0007"}, "name"),
        ({"username": "x", "roles": ["king"]}, "roles"),
        ({"username": "x", "kind": "robot"}, "kind"),
        ({"username": "x", "organization_id": 99}, "organization_id"),
        ({"username": "x", "password": "short"}, "password"),
        ({"username": "x", "state": "active"}, "state"),
    ],
)
@pytest.mark.gen_test
async def test_what_cannot_be_a_user(api: Api, draft: dict[str, Any], field: str) -> None:
    await create(api, "first", email="Taken@example.com")
    assert (await api.post("/api/users", draft)).fields == [field]
    assert (await api.get("/api/users")).result["total"] == 2


@pytest.mark.gen_test
async def test_the_same_request_twice_makes_one(api: Api) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = (await api.post("/api/users", {"username": "once"}, headers=headers)).result
    assert (await api.post("/api/users", {"username": "once"}, headers=headers)).result == first


@pytest.mark.gen_test
async def test_filters(api: Api, anonymous: Api, ctx: Context) -> None:
    physics = await organization(ctx, "physics")
    await create(api, "t", roles=["teacher"], organization_id=physics)
    gone = await create(api, "s", kind="service")
    await api.delete(f"/api/users/{gone['id']}")
    for query, names in [
        (f"organization_id={physics}", ["t"]),
        ("state=disabled", ["s"]),
        ("state=active", ["admin", "t"]),
        ("role=teacher", ["t"]),
        ("kind=service", ["s"]),
        ("kind=person&q=t", ["t"]),
        ("role=teacher&state=disabled", []),
    ]:
        assert [one["username"] for one in (await api.get(f"/api/users?{query}")).result["items"]] == names, query
    head = await user(ctx, anonymous, "head", "organization_admin", physics)
    assert (await head.get("/api/users?organization_id=1")).result["total"] == 0
    assert (await api.get("/api/users?organisation=1")).fields == ["organisation"]


@pytest.mark.gen_test
async def test_changing_a_user(api: Api, anonymous: Api, ctx: Context) -> None:
    physics = await organization(ctx, "physics")
    made = await create(api, "old", email="old@example.com", password=PASSWORD)
    path = f"/api/users/{made['id']}"
    changed = (await api.patch(path, {"username": "new", "name": " N ", "email": None, "organization_id": physics})).result
    assert (changed["username"], changed["name"], changed["email"], changed["organization_id"]) == ("new", "N", None, physics)
    assert (await anonymous.post("/api/auth/login", {"username": "old", "password": PASSWORD})).status == 401
    assert (await log_in(anonymous, "NEW")).token
    assert (await api.patch(path, {"username": "admin"})).fields == ["username"]
    assert (await api.patch(path, {"email": "x"})).fields == ["email"]
    assert (await api.patch(path, {"organization_id": 99})).fields == ["organization_id"]
    assert (await api.patch(path, {"state": "disabled"})).fields == ["state"]
    assert (await api.patch(path, {})).result["username"] == "new"
    assert (await api.patch("/api/users/999", {"name": "x"})).type == "user_not_found"
    assert (await audited(ctx, f"user:{made['id']}")).count("user.change") == 1


@pytest.mark.gen_test
async def test_a_disabled_user_is_out_everywhere(api: Api, anonymous: Api, ctx: Context) -> None:
    made = await create(api, "leaver", password=PASSWORD, roles=["teacher"])
    leaver = await log_in(anonymous, "leaver")
    key = (await leaver.post("/api/auth/api-keys", {"name": "k", "scopes": ["documents:read"]})).result["key"]
    refresh = (await anonymous.post("/api/auth/login", {"username": "leaver", "password": PASSWORD})).result["refresh_token"]
    async with browser(leaver) as socket:
        gone = (await api.delete(f"/api/users/{made['id']}")).result
        assert (gone["state"], gone["disabled_at"] is not None) == ("disabled", True)
        assert await socket.closed() is not None
    assert (await leaver.get("/api/auth/me")).status == 401
    assert (await anonymous.get("/api/auth/me", token=key)).status == 401
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": refresh})).status == 401
    assert (await anonymous.post("/api/auth/login", {"username": "leaver", "password": PASSWORD})).type == "credentials_wrong"
    assert (await api.delete(f"/api/users/{made['id']}")).result == gone
    back = (await api.post(f"/api/users/{made['id']}/restore")).result
    assert (back["state"], back["disabled_at"]) == ("active", None)
    assert (await api.post(f"/api/users/{made['id']}/restore")).type == "user_state"
    assert (await leaver.get("/api/auth/me")).status == 401, "the sessions of before stay ended"
    assert (await anonymous.get("/api/auth/me", token=key)).status == 401
    assert (await log_in(anonymous, "leaver")).token
    listed = [one for one in await audited(ctx, f"user:{made['id']}") if one.startswith("user.")]
    assert listed == ["user.create", "user.disable", "user.restore"]


@pytest.mark.gen_test
async def test_nobody_disables_himself_nor_the_last_administrator(api: Api, anonymous: Api, ctx: Context) -> None:
    assert (await api.delete("/api/users/1")).type == "own_account"
    second = await create(api, "second", password=PASSWORD, roles=["administrator"])
    other = await log_in(anonymous, "second")
    assert (await other.delete("/api/users/1")).result["state"] == "disabled"
    with pytest.raises(LastAdministrator):
        await user_changes.disable_user(ctx, system_actor("test"), second["id"])
    assert (await other.get("/api/auth/me")).status == 200


@pytest.mark.gen_test
async def test_of_two_administrators_who_disable_each_other_one_remains(api: Api, anonymous: Api) -> None:
    second = await create(api, "second", password=PASSWORD, roles=["administrator"])
    other = await log_in(anonymous, "second")
    answers = await asyncio.gather(api.delete(f"/api/users/{second['id']}"), other.delete("/api/users/1"))
    assert sorted(answer.status for answer in answers) in ([200, 401], [200, 409])
    left = [one for one in (api, other) if (await one.get("/api/auth/me")).status == 200]
    assert len(left) == 1


@pytest.mark.gen_test
async def test_a_password_set_by_somebody_else_ends_the_sessions(api: Api, anonymous: Api) -> None:
    made = await create(api, "forgetful", password=PASSWORD)
    before = await log_in(anonymous, "forgetful")
    path = f"/api/users/{made['id']}/password"
    assert (await api.post(path, {"password": "forgetful"})).fields == ["password"]
    assert (await api.post(path, {})).fields == ["password"]
    assert (await before.get("/api/auth/me")).status == 200
    assert (await api.post(path, {"password": "orange bicycle 17"})).status == 200
    assert (await before.get("/api/auth/me")).type == "session_over"
    assert (await anonymous.post("/api/auth/login", {"username": "forgetful", "password": PASSWORD})).status == 401
    assert (await log_in(anonymous, "forgetful", "orange bicycle 17")).token


@pytest.mark.gen_test(timeout=60)
async def test_the_head_of_one_organization_reaches_nobody_elsewhere_or_above(api: Api, anonymous: Api, ctx: Context) -> None:
    physics, chemistry = await organization(ctx, "physics"), await organization(ctx, "chemistry")
    head = await user(ctx, anonymous, "head", "organization_admin", physics)
    mine = await create(api, "mine", organization_id=physics, password=PASSWORD)
    theirs = await create(api, "theirs", organization_id=chemistry)
    above = await create(api, "above", organization_id=physics, roles=["operator"])
    asks: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("POST", "/password", {"password": "orange bicycle 17"}),
        ("POST", "/restore", {}),
        ("POST", "/merge", {"into": mine["id"]}),
        ("DELETE", "", None),
    ]
    for method, more, body in asks:
        path = f"/api/users/{theirs['id']}{more}"
        answer = await (head.request(method, path, body) if body is not None else head.request(method, path))
        assert (answer.status, answer.type) == (404, "user_not_found"), f"{method} {more}"
        if method != "GET":
            path = f"/api/users/{above['id']}{more}"
            answer = await (head.request(method, path, body) if body is not None else head.request(method, path))
            assert (answer.status, answer.type) == (403, "user_above"), f"{method} {more}"
    assert (await head.post(f"/api/users/{mine['id']}/merge", {"into": theirs["id"]})).status == 404
    assert (await head.post("/api/users", {"username": "x", "organization_id": chemistry})).status == 403
    assert (await head.post("/api/users", {"username": "x", "organization_id": 1})).status == 403
    assert (await head.post("/api/users", {"username": "x", "roles": ["operator"]})).type == "role_beyond"
    assert (await head.patch(f"/api/users/{mine['id']}", {"organization_id": chemistry})).status == 403
    pupil = (await head.post("/api/users", {"username": "pupil", "roles": ["student"]})).result
    assert (pupil["organization_id"], pupil["roles"]) == (physics, ["student"])
    assert await grants(ctx, pupil["id"]) == {("student", physics)}
    assert (await head.patch(f"/api/users/{mine['id']}", {"name": "x"})).result["name"] == "x"
    teacher = await user(ctx, anonymous, "teacher", "teacher", physics)
    assert (await teacher.get(f"/api/users/{mine['id']}")).status == 200
    assert (await teacher.delete(f"/api/users/{mine['id']}")).status == 403


@pytest.mark.gen_test
async def test_a_key_with_few_scopes_gets_no_further(api: Api, anonymous: Api) -> None:
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["users:read", "users:write"]})).result["key"]
    weak = anonymous.as_caller(key)
    second = await create(api, "second", roles=["administrator"])
    assert (await weak.post(f"/api/users/{second['id']}/password", {"password": PASSWORD})).type == "user_above"
    assert (await weak.post("/api/users/1/password", {"password": PASSWORD})).type == "user_above"
    assert (await weak.post("/api/users", {"username": "x", "roles": ["administrator"]})).type == "role_beyond"
    assert (await weak.post("/api/users", {"username": "x"})).status == 200


@pytest.mark.gen_test
async def test_merging(api: Api, anonymous: Api, ctx: Context) -> None:
    physics = await organization(ctx, "physics")
    old = await create(api, "old", password=PASSWORD, roles=["teacher", "reviewer"])
    new = await create(api, "new", roles=["teacher"])
    older = await create(api, "older")
    assert (await api.post(f"/api/users/{older['id']}/merge", {"into": old["id"]})).result["id"] == old["id"]
    now = ctx.clock.now()

    def hold(connection: sa.Connection) -> None:
        connection.execute(organization_members.insert().values(organization_id=physics, user_id=old["id"], position="p", created_at=now))
        for owner in (old["id"], new["id"]):
            connection.execute(organization_members.insert().values(organization_id=1, user_id=owner, position="q", created_at=now))
        link = {"server": "s", "cas_id": "c", "user_id": old["id"], "attributes": {}, "created_at": now, "last_login_at": now}
        connection.execute(cas_links.insert().values(**link))

    await ctx.sql.write(hold)
    heard: list[UsersMerged] = []
    ctx.events.listen(UsersMerged, heard.append)
    session = await log_in(anonymous, "old")
    merged = (await api.post(f"/api/users/{old['id']}/merge", {"into": new["id"]})).result
    assert (merged["id"], merged["roles"]) == (new["id"], ["reviewer", "teacher"])
    assert heard == [UsersMerged(old["id"], new["id"])]
    assert (await session.get("/api/auth/me")).status == 401
    for gone in (old["id"], older["id"]):
        shown = (await api.get(f"/api/users/{gone}")).result
        assert (shown["state"], shown["merged_into"]) == ("disabled", new["id"])
    assert await grants(ctx, old["id"]) == set()
    owners = await ctx.sql.read(lambda connection: connection.execute(sa.select(cas_links.c.user_id)).scalars().all())
    assert owners == [new["id"]]
    members = sa.select(organization_members.c.organization_id, organization_members.c.user_id)
    held = await ctx.sql.read(lambda connection: connection.execute(members).all())
    assert sorted(map(tuple, held)) == [(1, new["id"]), (physics, new["id"])]
    for path, body in [("restore", {}), ("password", {"password": PASSWORD}), ("merge", {"into": new["id"]})]:
        assert (await api.post(f"/api/users/{old['id']}/{path}", body)).type == "user_merged_away"
    assert (await api.post(f"/api/users/{new['id']}/merge", {"into": old["id"]})).type == "user_merged_away"
    assert (await api.post(f"/api/users/{new['id']}/merge", {"into": new["id"]})).fields == ["into"]
    assert (await api.post(f"/api/users/{new['id']}/merge", {"into": 999})).status == 404
    assert (await api.post("/api/users/1/merge", {"into": new["id"]})).type == "own_account"
    assert "user.merge" in await audited(ctx, f"user:{old['id']}")


@pytest.mark.gen_test
async def test_ones_own_name(api: Api, ctx: Context) -> None:
    actor = await identify(ctx, api.token, address="127.0.0.1")
    assert (await users.change_own(ctx, actor, MePatch(name="新名"))).name == "新名"
    with pytest.raises(Invalid):
        await users.change_own(ctx, actor, MePatch(name="a\nb"))
    assert (await api.get("/api/auth/me")).result["name"] == "新名"


@pytest.mark.gen_test
async def test_an_error_changes_nothing(api: Api, ctx: Context) -> None:
    actor = await identify(ctx, api.token, address="127.0.0.1")
    made = await create(api, "x", email="x@example.com")
    with pytest.raises(Invalid):
        await user_changes.change_user(ctx, actor, made["id"], UserPatch(name="y", organization_id=99))
    assert (await api.get(f"/api/users/{made['id']}")).result == made
    state = await ctx.sql.read(lambda connection: connection.execute(sa.select(sa.func.count()).select_from(sessions)).scalar_one())
    assert state == 1
    assert (
        await ctx.sql.read(lambda connection: connection.execute(sa.select(table.c.password_hash).where(table.c.id == made["id"])).scalar())
        is None
    )


@pytest.mark.gen_test
async def test_people_change_their_own_name_and_nothing_else(api: Api) -> None:
    assert (await api.patch("/api/auth/me", {"name": "The admin"})).result["name"] == "The admin"
    assert (await api.get("/api/auth/me")).result["name"] == "The admin"
    assert (await api.patch("/api/auth/me", {"name": ""})).fields == ["name"]
    assert (await api.patch("/api/auth/me", {"email": "a@example.org"})).fields == ["email"]
