"""Roles: made, granted below what one holds oneself, and felt at once, also on open sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.dispatch.tables import workflows
from server.errors import EngineAway
from server.events import Resync
from server.people import identify
from server.people.tables import role_grants, sessions
from server.platform.tables import audit_log
from server.scopes import SYSTEM_ROLES
from tests.api.client import Api
from tests.api.people import user
from tests.api.test_live_events import browser
from tests.api.test_organizations import faculty


async def role(api: Api, name: str, *scopes: str) -> int:
    return int((await api.post("/api/roles", {"name": name, "scopes": list(scopes)})).result["id"])


async def give(api: Api, user_id: int, *roles: tuple[str, int]) -> Any:
    return await api.put(f"/api/users/{user_id}/roles", {"roles": [{"role": name, "organization_id": place} for name, place in roles]})


async def id_of(api: Api) -> int:
    return int((await api.get("/api/auth/me")).result["id"])


@pytest.mark.gen_test
async def test_a_role_is_made_changed_and_removed(api: Api, ctx: Context) -> None:
    listed = (await api.get("/api/roles?page_size=50")).result["items"]
    assert {one["name"] for one in listed if one["system"]} == set(SYSTEM_ROLES)
    made = (await api.post("/api/roles", {"name": " guide ", "description": "shows", "scopes": ["users:read", "users:read"]})).result
    assert (made["name"], made["scopes"], made["system"], made["grants"]) == ("guide", ["users:read"], False, 0)
    path = f"/api/roles/{made['id']}"
    assert (await api.get(path)).result == made
    changed = (await api.patch(path, {"scopes": ["audit:read"], "name": "Guide"})).result
    assert (changed["name"], changed["scopes"], changed["description"]) == ("Guide", ["audit:read"], "shows")
    assert (await api.delete(path)).status == 200
    for answer in (await api.get(path), await api.patch(path, {}), await api.delete(path)):
        assert (answer.status, answer.type) == (404, "role_not_found")
    noted = sa.select(audit_log.c.action).where(audit_log.c.target == f"role:{made['id']}").order_by(audit_log.c.id)
    actions = await ctx.sql.read(lambda connection: connection.execute(noted).scalars().all())
    assert actions == ["role.create", "role.change", "role.delete"]


@pytest.mark.gen_test
async def test_the_systems_roles_stay(api: Api) -> None:
    for one in (await api.get("/api/roles")).result["items"]:
        assert (await api.patch(f"/api/roles/{one['id']}", {"scopes": []})).type == "system_role"
        assert (await api.delete(f"/api/roles/{one['id']}")).type == "system_role"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "administrator", "scopes": []}, "name"),
        ({"name": " ", "scopes": []}, "name"),
        ({"name": "a\x00", "scopes": []}, "name"),
        ({"name": "x", "scopes": ["everything"]}, "scopes"),
        ({"name": "x"}, "scopes"),
        ({"name": "x", "scopes": [], "system": True}, "system"),
    ],
)
@pytest.mark.gen_test
async def test_what_is_no_role(api: Api, body: dict[str, Any], field: str) -> None:
    assert (await api.post("/api/roles", body)).fields == [field]
    assert (await api.get("/api/roles")).result["total"] == len(SYSTEM_ROLES)


@pytest.mark.gen_test
async def test_a_role_that_somebody_has_is_not_removed(api: Api, anonymous: Api, ctx: Context) -> None:
    guide = await role(api, "guide", "users:read")
    user_id = await id_of(await user(ctx, anonymous, "zhang", "guide"))
    refused = await api.delete(f"/api/roles/{guide}")
    assert (refused.status, refused.type) == (409, "role_in_use")
    assert (await give(api, user_id)).result == {"roles": []}
    assert (await api.delete(f"/api/roles/{guide}")).status == 200


@pytest.mark.gen_test
async def test_nobody_puts_into_a_role_what_he_has_not_everywhere(api: Api, anonymous: Api, ctx: Context) -> None:
    ids = await faculty(api)
    guide = await role(api, "guide", "audit:read")
    await role(api, "roles", "roles:read", "roles:write", "users:read")
    keeper = await user(ctx, anonymous, "keeper", "roles")
    assert (await keeper.post("/api/roles", {"name": "x", "scopes": ["users:write"]})).fields == ["scopes"]
    assert (await keeper.post("/api/roles", {"name": "x", "scopes": ["users:read"]})).status == 200
    assert (await keeper.patch(f"/api/roles/{guide}", {"scopes": ["audit:read", "users:write"]})).fields == ["scopes"]
    assert (await keeper.patch(f"/api/roles/{guide}", {"scopes": ["audit:read", "users:read"]})).status == 200
    assert (await give(api, await id_of(keeper), ("roles", 1), ("administrator", ids["physics"]))).status == 200
    assert (await keeper.post("/api/roles", {"name": "y", "scopes": ["users:write"]})).fields == ["scopes"], "held in physics alone"
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["roles:write"]})).result["key"]
    assert (await anonymous.as_caller(key).post("/api/roles", {"name": "z", "scopes": ["users:read"]})).fields == ["scopes"]
    local = await user(ctx, anonymous, "local", "administrator", ids["physics"])
    for answer in (
        await local.post("/api/roles", {"name": "z", "scopes": []}),
        await local.patch(f"/api/roles/{guide}", {"name": "z"}),
        await local.delete(f"/api/roles/{guide}"),
    ):
        assert answer.status == 403, "roles are everybody's"


@pytest.mark.gen_test(timeout=60)
async def test_nobody_gives_what_he_has_not_there(api: Api, anonymous: Api, ctx: Context) -> None:
    ids = await faculty(api)
    await role(api, "granter", "roles:read", "roles:write", "users:read", "organizations:read")
    await role(api, "reader", "organizations:read")
    boss = await user(ctx, anonymous, "boss", "granter", ids["optics"])
    li = await id_of(await user(ctx, anonymous, "li", None, ids["lasers"]))
    wu = await id_of(await user(ctx, anonymous, "wu", None, ids["chemistry"]))
    for place, status in (("optics", 200), ("lasers", 200), ("physics", 403), ("chemistry", 403)):
        assert (await give(boss, li, ("reader", ids[place]))).status == status, place
    assert (await give(boss, li, ("teacher", ids["lasers"]))).status == 403, "more than the caller may"
    assert (await give(boss, await id_of(boss), ("granter", ids["optics"]), ("administrator", ids["optics"]))).status == 403
    assert (await give(boss, wu, ("reader", ids["lasers"]))).type == "user_not_found"
    assert (await boss.get(f"/api/users/{wu}/roles")).type == "user_not_found"
    assert (await give(boss, li, ("reader", 999))).status == 403, "as for one that is there"
    assert (await give(boss, li, ("reader", 1))).status == 403
    # What was given by somebody who may more stays, unless it is left out, which is refused, too.
    await give(api, li, ("teacher", ids["lasers"]), ("reader", ids["chemistry"]))
    assert (await give(boss, li)).status == 403
    kept = [("reader", ids["chemistry"]), ("teacher", ids["lasers"])]
    assert (await give(boss, li, *kept, ("reader", ids["lasers"]))).status == 200
    assert (await boss.get(f"/api/users/{li}/roles")).result["roles"] == [
        {"role": "reader", "organization_id": ids["lasers"]},
        {"role": "reader", "organization_id": ids["chemistry"]},
        {"role": "teacher", "organization_id": ids["lasers"]},
    ]
    head = await user(ctx, anonymous, "head", "organization_admin", ids["optics"])
    assert (await give(head, li)).status == 403, "an organization's administrator changes no roles"
    assert (await head.get(f"/api/users/{li}/roles")).status == 200


@pytest.mark.gen_test
async def test_what_cannot_be_granted(api: Api) -> None:
    assert (await give(api, 1, ("administrator", 1), ("dean", 1))).fields == ["roles"]
    assert (await give(api, 1, ("administrator", 1), ("teacher", 999))).fields == ["roles"]
    assert (await give(api, 1, ("administrator", 1), ("teacher", -1))).status == 422
    assert (await give(api, 999, ("teacher", 1))).type == "user_not_found"
    assert (await api.put("/api/users/1/roles", {})).fields == ["roles"]
    assert (await api.get("/api/users/1/roles")).result == {"roles": [{"role": "administrator", "organization_id": 1}]}


@pytest.mark.gen_test
async def test_an_administrator_remains(api: Api, anonymous: Api, ctx: Context) -> None:
    ids = await faculty(api)
    alone = await give(api, 1, ("teacher", 1))
    assert (alone.status, alone.type) == (409, "last_administrator")
    assert (await give(api, 1, ("administrator", ids["physics"]))).type == "last_administrator"
    second = await user(ctx, anonymous, "second", "administrator")
    second_id = await id_of(second)
    assert (await give(api, second_id, ("administrator", 1), ("teacher", 1), ("teacher", 1))).status == 200
    assert (await give(second, 1)).status == 200
    assert (await api.get("/api/users")).status == 403, "with the next request"
    assert (await give(second, second_id)).type == "last_administrator"
    noted = sa.select(audit_log.c.detail).where(audit_log.c.action == "user.roles").order_by(audit_log.c.id.desc())
    detail = await ctx.sql.read(lambda connection: connection.execute(noted).scalars().first())
    assert detail == {"before": [{"role": "administrator", "organization_id": 1}], "after": []}


@pytest.mark.gen_test
async def test_two_administrators_cannot_both_go_at_once(api: Api, anonymous: Api, ctx: Context) -> None:
    second = await user(ctx, anonymous, "second", "administrator")
    second_id = await id_of(second)
    answers = await asyncio.gather(give(api, second_id), give(second, 1))
    assert sorted(answer.status for answer in answers) in ([200, 403], [200, 409])
    count = sa.select(sa.func.count()).select_from(role_grants)
    assert await ctx.sql.read(lambda connection: connection.execute(count).scalar()) == 1


@pytest.mark.gen_test
async def test_open_sockets_lose_what_was_taken(api: Api, anonymous: Api, ctx: Context) -> None:
    await role(api, "watcher", "modules:read", "workflows:read")
    one, two = await user(ctx, anonymous, "one", "watcher"), await user(ctx, anonymous, "two", "watcher")
    async with browser(one) as first, browser(two) as second, browser(api) as admin:
        for socket in (first, second, admin):
            assert [event for _, event in await socket.ask("modules", "runs")] == ["subscribed", "subscribed"]
        await give(api, await id_of(one), ("reviewer", 1))
        assert [(event["topic"], event["event"]) for event in [await first.event(), await first.event()]] == [
            ("modules", "refused"),
            ("runs", "refused"),
        ]
        assert await first.ask("modules") == [("modules", "refused")]
        watcher = next(role["id"] for role in (await api.get("/api/roles?q=watcher")).result["items"])
        await api.patch(f"/api/roles/{watcher}", {"scopes": ["modules:read"]})
        lost = await second.event()
        assert (lost["topic"], lost["event"]) == ("runs", "refused")
        await api.post("/module/register", {"name": "m"})
        told = await second.event()
        assert (told["topic"], told["event"]) == ("modules", "ModuleChanged"), "what may still be followed is"
        assert (await admin.event())["event"] == "ModuleChanged", "nobody else lost anything"


@pytest.mark.gen_test
async def test_a_move_takes_topics_away(api: Api, anonymous: Api, ctx: Context, workflow: dict[str, Any]) -> None:
    ids = await faculty(api)
    started = await api.post(f"/workflow/{workflow['id']}/execute", {})
    run = f"run:{started.result['run_id']}"
    await ctx.sql.write(lambda connection: connection.execute(workflows.update().values(organization_id=ids["lasers"])))
    operator = await user(ctx, anonymous, "operator", "operator", ids["physics"])
    async with browser(operator) as one:
        assert await one.ask(run) == [(run, "subscribed")], "the run is of an organization below"
        await api.post(f"/api/organizations/{ids['lasers']}/move", {"parent_id": ids["chemistry"]})
        lost = await one.event()
        assert (lost["topic"], lost["event"]) == (run, "refused")


@pytest.mark.gen_test
async def test_the_database_away_closes_sockets_whose_rights_changed(api: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_args: Any) -> Any:
        raise EngineAway("sql")

    async with browser(api) as one:
        await one.ask("modules")
        monkeypatch.setattr(ctx.sql, "read_small", away)
        await ctx.events.publish(identify.RightsChanged())
        assert await one.closed() == 1013


@pytest.mark.gen_test
async def test_a_session_that_ended_unheard_is_found_by_a_check(api: Api, ctx: Context) -> None:
    async with browser(api) as one:
        await one.ask("modules")
        now = ctx.clock.now()
        await ctx.sql.write(lambda connection: connection.execute(sessions.update().values(ended_at=now)))
        await ctx.sql.write(lambda connection: connection.execute(role_grants.delete()))
        await ctx.events.publish(identify.RightsChanged(1))
        assert await one.closed() == 4401


@pytest.mark.gen_test
async def test_what_was_missed_while_the_bus_was_away_is_found(api: Api, ctx: Context) -> None:
    async with browser(api) as one:
        await one.ask("modules")
        await ctx.sql.write(lambda connection: connection.execute(role_grants.delete()))
        await ctx.events.publish(Resync())
        assert [(event["topic"], event["event"]) for event in [await one.event(), await one.event()]] == [
            ("", "resync"),
            ("modules", "refused"),
        ]
