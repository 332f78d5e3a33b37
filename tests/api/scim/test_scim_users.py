"""Users over SCIM: made, read, replaced, patched, deleted and brought back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.people.organizations import OrganizationBody, OrganizationKind, create_organization
from server.people.tables import users
from server.platform.tables import audit_log
from server.scopes import system_actor
from tests.api.client import Api
from tests.api.people import user
from tests.api.scim.scim_client import ENTERPRISE, USER, Scim

PASSWORD = "a long pass phrase 7"


async def row(ctx: Context, user_id: str) -> Any:
    return await ctx.sql.read(lambda connection: connection.execute(sa.select(users).where(users.c.id == int(user_id))).one())


@pytest.mark.gen_test
async def test_a_user_is_made_with_what_belongs_to_it(scim: Scim, ctx: Context) -> None:
    body = {
        "schemas": [USER, ENTERPRISE],
        "USERNAME": "zhangsan",
        "externalId": "ext-1",
        "name": {"familyName": "张", "givenName": "三", "formatted": "张三"},
        "displayName": "张三",
        "active": True,
        "id": "77",
        "unknown": 1,
        "emails": [{"value": "home@x.example", "type": "home"}, {"value": "Work@x.example", "type": "work", "primary": True}],
        ENTERPRISE: {"employeeNumber": "0042", "manager": "1"},
    }
    answer = await scim.ask("POST", "/Users", body)
    made = answer.document
    assert answer.status == 201
    assert answer.headers["Location"] == made["meta"]["location"]
    assert answer.headers["ETag"] == made["meta"]["version"]
    assert made["schemas"] == [USER, ENTERPRISE]
    assert made["userName"] == "zhangsan"
    assert made["id"] != "77"
    assert "unknown" not in made
    assert made["emails"] == body["emails"]
    assert made[ENTERPRISE]["employeeNumber"] == "0042"
    assert made[ENTERPRISE]["manager"]["$ref"].endswith("/scim/v2/Users/1")
    kept = await row(ctx, made["id"])
    assert (kept.username, kept.name, kept.email, kept.state) == ("zhangsan", "张三", "Work@x.example", "active")
    assert (await scim.get(f"/Users/{made['id']}")).document == made


@pytest.mark.gen_test
async def test_a_user_gets_the_first_role_in_its_organization(scim: Scim, api: Api, ctx: Context) -> None:
    body = OrganizationBody(name="物理学院", code="PHY", kind=OrganizationKind.SCHOOL)
    school = await create_organization(ctx, system_actor("test"), body)
    made = await scim.user("newton", **{ENTERPRISE: {"department": "PHY"}})
    here = (await api.get(f"/api/users/{made['id']}")).result
    assert (here["organization_id"], here["roles"]) == (school.id, ["student"])
    grants = (await api.get(f"/api/users/{made['id']}/roles")).result["roles"]
    assert grants == [{"role": "student", "organization_id": school.id}]


@pytest.mark.gen_test
async def test_a_name_or_an_address_is_taken_in_any_spelling(scim: Scim) -> None:
    await scim.user("bob", emails=[{"value": "bob@x.example"}])
    for body in ({"userName": "BOB"}, {"userName": "bob2", "emails": [{"value": "BOB@x.example"}]}, {"userName": "Admin"}):
        answer = await scim.ask("POST", "/Users", body)
        assert (answer.status, answer.scim_type) == (409, "uniqueness"), body


@pytest.mark.gen_test
async def test_wrong_values_are_refused(scim: Scim) -> None:
    wrong: list[Any] = [
        {},
        [],
        {"userName": ""},
        {"userName": "with blank"},
        {"userName": 5.5, "active": "perhaps"},
        {"userName": "x", "emails": [{"value": "nobody"}]},
        {"userName": "x", "emails": [{"value": "a@x.example", "primary": True}, {"value": "b@x.example", "primary": True}]},
        {"userName": "x", "name": "text"},
        {"userName": "x", "password": "short"},
        {"userName": "x", "externalId": "x" * 191},
        {"userName": "x", "nickName": "x" * 9000},
        {"userName": "x", "schemas": ["urn:other"]},
    ]
    for body in wrong:
        answer = await scim.ask("POST", "/Users", body)
        assert answer.status == 400, (body, answer)
        assert answer.scim_type in ("invalidValue", "invalidSyntax"), (body, answer)
    assert (await scim.ask("POST", "/Users", b"{")).scim_type == "invalidSyntax"


@pytest.mark.gen_test
async def test_a_replacement_unassigns_what_it_leaves_out(scim: Scim, ctx: Context) -> None:
    made = await scim.user("carol", nickName="C", displayName="Carol", emails=[{"value": "carol@x.example"}], active=False)
    answer = await scim.ask("PUT", f"/Users/{made['id']}", {"schemas": [USER], "userName": "carol2"})
    assert answer.status == 200
    assert {"nickName", "emails", "displayName"} & set(answer.document) == set()
    assert answer.document["active"] is False
    kept = await row(ctx, made["id"])
    assert (kept.username, kept.name, kept.email, kept.state) == ("carol2", "carol2", None, "disabled")


@pytest.mark.gen_test
async def test_entra_disables_and_revives(scim: Scim, api: Api, anonymous: Api, ctx: Context) -> None:
    made = await scim.user("dave", password=PASSWORD)
    pair = (await anonymous.post("/api/auth/login", {"username": "dave", "password": PASSWORD})).result
    dave = anonymous.as_caller(pair["access_token"])
    assert (await dave.get("/api/auth/me")).status == 200
    answer = await scim.patch(f"/Users/{made['id']}", {"op": "Replace", "path": "active", "value": "False"})
    assert answer.document["active"] is False
    assert (await dave.get("/api/auth/me")).status == 401
    assert (await anonymous.post("/api/auth/login", {"username": "dave", "password": PASSWORD})).status == 401
    answer = await scim.patch(f"/Users/{made['id']}", {"op": "Replace", "value": {"active": "True", "name.familyName": "D"}})
    assert (answer.document["active"], answer.document["name"]) == (True, {"familyName": "D"})
    assert (await dave.get("/api/auth/me")).status == 401
    assert (await anonymous.post("/api/auth/login", {"username": "dave", "password": PASSWORD})).status == 200
    actions = await ctx.sql.read(
        lambda connection: list(
            connection.execute(
                sa.select(audit_log.c.action).where(audit_log.c.target == f"user:{made['id']}").order_by(audit_log.c.id)
            ).scalars()
        )
    )
    assert [one for one in actions if one.startswith("user.")] == [
        "user.create",
        "user.disable",
        "user.change",
        "user.restore",
        "user.change",
    ]


@pytest.mark.gen_test
async def test_a_new_password_ends_the_sessions_and_is_never_shown(scim: Scim, anonymous: Api) -> None:
    made = await scim.user("erin", password=PASSWORD)
    assert "password" not in made
    pair = (await anonymous.post("/api/auth/login", {"username": "erin", "password": PASSWORD})).result
    answer = await scim.patch(f"/Users/{made['id']}", {"op": "replace", "path": "password", "value": "another pass phrase 8"})
    assert answer.status == 200
    assert b"pass phrase" not in repr(answer.document).encode()
    assert (await anonymous.as_caller(pair["access_token"]).get("/api/auth/me")).status == 401
    assert (await anonymous.post("/api/auth/login", {"username": "erin", "password": "another pass phrase 8"})).status == 200
    assert (await scim.get('/Users?filter=password%20eq%20"x"')).scim_type == "invalidFilter"


@pytest.mark.gen_test
async def test_a_deleted_user_is_gone_and_comes_back_with_its_id(scim: Scim, ctx: Context) -> None:
    made = await scim.user("frank", emails=[{"value": "frank@x.example"}])
    path = f"/Users/{made['id']}"
    assert (await scim.ask("DELETE", path)).status == 204
    for method in ("GET", "PUT", "DELETE"):
        assert (await scim.ask(method, path, {"userName": "frank"} if method == "PUT" else None)).status == 404
    assert "frank" not in await scim.find("/Users?count=200")
    assert (await row(ctx, made["id"])).state == "disabled"
    again = await scim.user("FRANK", displayName="Frank")
    assert again["id"] == made["id"]
    assert (again["userName"], again["active"]) == ("FRANK", True)
    assert (await row(ctx, made["id"])).state == "active"


@pytest.mark.gen_test
async def test_versions_guard_changes(scim: Scim) -> None:
    made = await scim.user("grace")
    path, version = f"/Users/{made['id']}", made["meta"]["version"]
    assert (await scim.get(path, If_None_Match=version)).status == 304
    changed = await scim.patch(path, {"op": "add", "path": "title", "value": "Dr"}, If_Match=version)
    assert changed.status == 200
    assert changed.headers["ETag"] != version
    for method, body in (("PUT", {"userName": "grace"}), ("DELETE", None)):
        assert (await scim.ask(method, path, body, If_Match=version)).status == 412
    assert (await scim.get(path, If_None_Match=version)).status == 200
    same = await scim.patch(path, {"op": "add", "path": "title", "value": "Dr"}, If_Match="*")
    assert same.headers["ETag"] == changed.headers["ETag"]


@pytest.mark.gen_test
async def test_what_is_changed_here_is_seen_there(scim: Scim, api: Api) -> None:
    made = await scim.user("heidi", displayName="Heidi", emails=[{"value": "h@x.example", "primary": True}, {"value": "h2@x.example"}])
    version = made["meta"]["version"]
    await api.patch(f"/api/users/{made['id']}", {"name": "Adelheid", "email": "new@x.example"})
    seen = (await scim.get(f"/Users/{made['id']}")).document
    assert (seen["displayName"], seen["name"]["formatted"]) == ("Adelheid", "Adelheid")
    assert [one["value"] for one in seen["emails"]] == ["new@x.example", "h2@x.example"]
    assert seen["meta"]["version"] != version
    await api.delete(f"/api/users/{made['id']}")
    assert (await scim.get(f"/Users/{made['id']}")).document["active"] is False


@pytest.mark.gen_test
async def test_powerful_accounts_are_seen_but_never_changed(scim: Scim, api: Api, anonymous: Api, ctx: Context) -> None:
    boss = await user(ctx, anonymous, "boss", "administrator")
    boss_id = (await boss.get("/api/auth/me")).result["id"]
    for user_id, name in ((1, "admin"), (boss_id, "boss")):
        assert await scim.find(f'/Users?filter=userName%20eq%20"{name}"') == [name]
        for method, body in (("PUT", {"userName": "x"}), ("DELETE", None)):
            assert (await scim.ask(method, f"/Users/{user_id}", body)).status == 403
        assert (await scim.patch(f"/Users/{user_id}", {"op": "replace", "path": "password", "value": PASSWORD})).status == 403
    assert (await boss.get("/api/auth/me")).status == 200


@pytest.mark.gen_test
async def test_service_accounts_are_not_there(scim: Scim, api: Api) -> None:
    robot = (await api.post("/api/users", {"username": "robot", "kind": "service"})).result
    assert (await scim.get(f"/Users/{robot['id']}")).status == 404
    assert (await scim.ask("POST", "/Users", {"userName": "robot"})).status == 409
    assert "robot" not in await scim.find("/Users")


@pytest.mark.gen_test
async def test_changes_at_the_same_moment_all_land(scim: Scim) -> None:
    path = f"/Users/{(await scim.user('ivan'))['id']}"
    names = ("title", "nickName", "userType")
    answers = await asyncio.gather(*(scim.patch(path, {"op": "add", "path": name, "value": name}) for name in names))
    assert {answer.status for answer in answers} == {200}
    seen = (await scim.get(path)).document
    assert [seen[name] for name in names] == list(names)


@pytest.mark.gen_test
async def test_one_of_two_takes_a_name(scim: Scim) -> None:
    answers = await asyncio.gather(*(scim.ask("POST", "/Users", {"userName": "judy"}) for _ in range(2)))
    assert sorted(answer.status for answer in answers) == [201, 409]


@pytest.mark.gen_test
async def test_an_unassigned_state_is_not_shown_until_it_changes(scim: Scim, api: Api) -> None:
    made = await scim.user("kim")
    path = f"/Users/{made['id']}"
    assert "active" not in (await scim.patch(path, {"op": "remove", "path": "active"})).document
    assert "kim" not in await scim.find("/Users?filter=active%20eq%20true")
    await api.delete(f"/api/users/{made['id']}")
    assert (await scim.get(path)).document["active"] is False


@pytest.mark.gen_test
async def test_the_name_of_an_emergency_account_is_not_given_away(scim: Scim, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await scim.user("leo")
    monkeypatch.setattr("server.people.scim.protected.break_glass", lambda _settings: frozenset({"glass"}))
    assert (await scim.ask("POST", "/Users", {"userName": "Glass"})).status == 403
    assert (await scim.patch(f"/Users/{made['id']}", {"op": "replace", "path": "userName", "value": "glass"})).status == 403
    assert (await row(ctx, made["id"])).username == "leo"
