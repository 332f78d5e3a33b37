"""Organizations: a tree, whose rights hold below, and which changes for everybody at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.engines.schema import metadata
from server.messages.catalogue import CATALOGUE
from server.people import organization_tree
from server.people.identify import identify
from server.people.organization_tree import closure_of, read_parents, tree_of
from server.people.setup import set_up
from server.people.tables import organization_closure, organizations, users
from server.platform.tables import audit_log
from server.scopes import system_actor
from tests.api.client import Api
from tests.api.people import organization, user


async def make(api: Api, code: str, parent_id: int | None = None, kind: str = "school") -> int:
    body = {"name": f"The {code}", "code": code, "kind": kind} | ({} if parent_id is None else {"parent_id": parent_id})
    return int((await api.post("/api/organizations", body)).result["id"])


async def faculty(api: Api) -> dict[str, int]:
    """Physics with optics and, below it, lasers; and chemistry."""
    physics = await make(api, "physics")
    optics = await make(api, "optics", physics, "department")
    lasers = await make(api, "lasers", optics, "institute")
    return {"physics": physics, "optics": optics, "lasers": lasers, "chemistry": await make(api, "chemistry")}


async def codes(api: Api, query: str = "") -> list[str]:
    return [one["code"] for one in (await api.get(f"/api/organizations{query}")).result["items"]]


async def whole(ctx: Context) -> bool:
    """Whether the closure is that of the parents."""

    def look(connection: sa.Connection) -> bool:
        rows = {(row.ancestor_id, row.descendant_id, row.depth) for row in connection.execute(sa.select(organization_closure))}
        return rows == closure_of(read_parents(connection))

    return await ctx.sql.read(look)


@pytest.mark.gen_test
async def test_the_root_is_there(api: Api, ctx: Context) -> None:
    page = (await api.get("/api/organizations")).result
    root = page["items"][0]
    assert page["total"] == 1
    assert (root["id"], root["parent_id"], root["kind"], root["depth"], root["path"]) == (1, None, "root", 0, [])
    assert await whole(ctx)


@pytest.mark.gen_test
async def test_a_tree_is_made_and_listed(api: Api, ctx: Context) -> None:
    ids = await faculty(api)
    lasers = (await api.get(f"/api/organizations/{ids['lasers']}")).result
    assert (lasers["parent_id"], lasers["depth"], lasers["children"], lasers["may_change"]) == (ids["optics"], 3, 0, True)
    assert [above["name"] for above in lasers["path"]] == ["智汇", "The physics", "The optics"]
    assert await codes(api, f"?under={ids['physics']}") == ["optics", "lasers"]
    assert await codes(api, f"?parent_id={ids['physics']}") == ["optics"]
    assert await codes(api, "?parent_id=1&sort=-code") == ["physics", "chemistry"]
    assert await codes(api, "?q=LAS") == ["lasers"]
    assert await codes(api, "?kind=institute") == ["lasers"]
    assert await codes(api, "?sort=-depth&page_size=1") == ["lasers"]
    assert (await api.get("/api/organizations?kind=planet")).fields == ["kind"]
    assert (await api.get("/api/organizations?under=x")).fields == ["under"]
    assert await whole(ctx)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"code": "physics"}, "code"),
        ({"code": " "}, "code"),
        ({"code": "x" * 65}, "code"),
        ({"code": "a\nb"}, "code"),
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"kind": "root"}, "kind"),
        ({"kind": "planet"}, "kind"),
        ({"parent_id": 999}, "parent_id"),
        ({"parent_id": 0}, "parent_id"),
        ({"parent_id": 2**70}, "parent_id"),
        ({"id": 7}, "id"),
    ],
)
@pytest.mark.gen_test
async def test_what_is_no_organization(api: Api, ctx: Context, change: dict[str, Any], field: str) -> None:
    await make(api, "physics")
    assert (await api.post("/api/organizations", {"name": "n", "code": "new", "kind": "school", **change})).fields == [field]
    assert await codes(api) == ["root", "physics"]
    assert await whole(ctx)


@pytest.mark.gen_test
async def test_one_is_changed(api: Api, ctx: Context) -> None:
    physics, chemistry = await make(api, "physics"), await make(api, "chemistry")
    changed = (await api.patch(f"/api/organizations/{physics}", {"name": " Physik ", "kind": "office"})).result
    assert (changed["name"], changed["kind"], changed["code"]) == ("Physik", "office", "physics")
    assert (await api.patch(f"/api/organizations/{chemistry}", {"code": "physics"})).fields == ["code"]
    assert (await api.patch(f"/api/organizations/{chemistry}", {"code": "chemistry"})).status == 200
    assert (await api.patch(f"/api/organizations/{chemistry}", {"kind": "root"})).fields == ["kind"]
    assert (await api.patch("/api/organizations/1", {"kind": "school"})).fields == ["kind"]
    assert (await api.patch("/api/organizations/1", {"name": "University", "kind": "root"})).result["name"] == "University"
    assert (await api.patch("/api/organizations/999", {"name": "n"})).type == "organization_not_found"
    noted = sa.select(audit_log.c.detail).where(
        audit_log.c.action == "organization.change", audit_log.c.target == f"organization:{physics}"
    )
    assert (await ctx.sql.read(lambda connection: connection.execute(noted).scalar_one())) == {"name": "Physik", "kind": "office"}


@pytest.mark.gen_test
async def test_no_circle_can_be_made(api: Api, ctx: Context) -> None:
    ids = await faculty(api)
    for place in ("physics", "optics", "lasers"):
        answer = await api.post(f"/api/organizations/{ids['physics']}/move", {"parent_id": ids[place]})
        assert answer.fields == ["parent_id"], place
    root = await api.post("/api/organizations/1/move", {"parent_id": ids["chemistry"]})
    assert (root.status, root.type) == (409, "root_stays")
    assert (await api.post(f"/api/organizations/{ids['lasers']}/move", {"parent_id": 999})).fields == ["parent_id"]
    assert (await api.post(f"/api/organizations/{ids['lasers']}/move", {})).fields == ["parent_id"]
    assert await whole(ctx)


@pytest.mark.gen_test
async def test_two_moves_at_once_make_no_circle(api: Api, ctx: Context) -> None:
    one, two = await make(api, "one"), await make(api, "two")
    answers = await asyncio.gather(
        api.post(f"/api/organizations/{one}/move", {"parent_id": two}), api.post(f"/api/organizations/{two}/move", {"parent_id": one})
    )
    assert sorted(answer.status for answer in answers) == [200, 422]
    assert await whole(ctx)


@pytest.mark.gen_test
async def test_only_what_is_empty_is_removed(api: Api, anonymous: Api, ctx: Context) -> None:
    ids = await faculty(api)
    await user(ctx, anonymous, "student", None, ids["lasers"])
    await api.post(f"/api/organizations/{ids['chemistry']}/members", {"user_id": 1})
    for place, left in (("physics", "下级组织"), ("lasers", "用户"), ("chemistry", "成员")):
        answer = await api.delete(f"/api/organizations/{ids[place]}")
        assert (answer.status, answer.type) == (409, "organization_not_empty"), place
        assert left in answer.envelope["message"]
    assert (await api.delete("/api/organizations/1")).type == "root_stays"
    await ctx.sql.write(lambda connection: connection.execute(users.update().values(organization_id=1)))
    assert (await api.delete(f"/api/organizations/{ids['lasers']}")).status == 200
    assert (await api.delete(f"/api/organizations/{ids['lasers']}")).status == 404
    await api.delete(f"/api/organizations/{ids['chemistry']}/members?user_id=1")
    assert (await api.delete(f"/api/organizations/{ids['chemistry']}")).status == 200
    assert await codes(api) == ["root", "physics", "optics"]
    assert await whole(ctx)


@pytest.mark.gen_test
async def test_what_other_parts_keep_there_counts(api: Api) -> None:
    """A tag, a document, a workflow, a granted role would be nobody's."""
    physics = await make(api, "physics")
    assert (await api.post("/api/tags", {"name": "light", "organization_id": physics})).status == 200
    grants = [{"role": "administrator", "organization_id": 1}, {"role": "teacher", "organization_id": physics}]
    assert (await api.put("/api/users/1/roles", {"roles": grants})).status == 200
    answer = await api.delete(f"/api/organizations/{physics}", headers={"Accept-Language": "en"})
    assert "granted roles, tags" in answer.envelope["message"]


def test_whatever_names_an_organization_has_a_name() -> None:
    naming = {name for name, table in metadata.tables.items() if "organization_id" in table.c and not table.info}
    assert naming >= {"users", "role_grants", "organization_members", "tags", "workflows", "modules"}
    for name in naming:
        assert f"organization.left.{name}" in CATALOGUE, name


@pytest.mark.gen_test
async def test_members(api: Api, anonymous: Api, ctx: Context) -> None:
    ids = await faculty(api)
    path = f"/api/organizations/{ids['physics']}/members"
    zhang = (await (await user(ctx, anonymous, "zhang", None, ids["optics"])).get("/api/auth/me")).result["id"]
    made = (await api.post(path, {"user_id": zhang, "position": " dean "})).result
    assert (made["username"], made["position"]) == ("zhang", "dean")
    assert (await api.post(path, {"user_id": zhang, "position": "professor"})).result["position"] == "professor"
    page = (await api.get(f"{path}?q=prof")).result
    assert (page["total"], page["items"][0]["user_id"]) == (1, zhang)
    assert (await api.post(path, {"user_id": 999})).fields == ["user_id"]
    assert (await api.post(path, {})).fields == ["user_id"]
    assert (await api.delete(path)).fields == ["user_id"]
    assert (await api.delete(f"{path}?user_id={zhang}")).status == 200
    assert (await api.delete(f"{path}?user_id={zhang}")).type == "member_not_found"
    assert (await api.get(path)).result["total"] == 0
    assert (await api.get("/api/organizations/999/members")).type == "organization_not_found"


@pytest.mark.gen_test(timeout=60)
async def test_rights_hold_below_and_nowhere_else(api: Api, anonymous: Api, ctx: Context) -> None:
    ids = await faculty(api)
    head = await user(ctx, anonymous, "head", "organization_admin", ids["optics"])
    student = await user(ctx, anonymous, "student", "student", ids["optics"])
    await user(ctx, anonymous, "li", None, ids["lasers"])
    outsider = await user(ctx, anonymous, "wu", None, ids["chemistry"])
    outsider_id = (await outsider.get("/api/auth/me")).result["id"]
    assert await codes(head) == await codes(student) == ["optics", "lasers"]
    assert [one["name"] for one in (await head.get(f"/api/organizations/{ids['lasers']}")).result["path"]] == ["The optics"]
    seen = [one["username"] for one in (await head.get("/api/users")).result["items"]]
    assert seen == ["head", "student", "li"], "and the users below"
    for place, allowed in (("optics", 200), ("lasers", 200), ("physics", 404), ("chemistry", 404)):
        path = f"/api/organizations/{ids[place]}"
        assert (await head.get(path)).status == allowed, place
        assert (await head.patch(path, {"name": "Mine"})).status == allowed, place
        assert (await head.get(f"{path}/members")).status == allowed, place
        assert (await head.post(f"{path}/members", {"user_id": 2})).status == allowed, place
        assert (await head.delete(f"{path}/members?user_id=2")).status == allowed, place
        assert (await student.get(path)).status == allowed, place
        assert (await student.patch(path, {"name": "Mine"})).status == 403, place
        assert (await student.get(f"{path}/members")).status == 403, place
        created = await head.post("/api/organizations", {"name": "n", "code": f"x{place}", "kind": "class", "parent_id": ids[place]})
        assert created.status == (200 if allowed == 200 else 403), place
        if allowed == 200:
            assert created.result["may_change"] is True
            assert (await head.delete(f"/api/organizations/{created.result['id']}")).status == 200, "right after it was made"
    assert (await head.post("/api/organizations", {"name": "n", "code": "new", "kind": "class"})).status == 403, "the root is the default"
    assert (await head.post(f"/api/organizations/{ids['lasers']}/members", {"user_id": outsider_id})).fields == ["user_id"]
    # It may be moved within what one changes; not out of it, nor away from what is above.
    inner = await make(head, "inner", ids["optics"])
    assert (await head.post(f"/api/organizations/{inner}/move", {"parent_id": ids["lasers"]})).result["depth"] == 4
    for moved, place in (("lasers", "chemistry"), ("lasers", "physics"), ("optics", "chemistry")):
        assert (await head.post(f"/api/organizations/{ids[moved]}/move", {"parent_id": ids[place]})).status == 403, (moved, place)
    assert (await head.post(f"/api/organizations/{ids['physics']}/move", {"parent_id": ids["lasers"]})).status == 404
    assert await whole(ctx)


@pytest.mark.gen_test
async def test_a_move_changes_rights_with_the_next_request(api: Api, anonymous: Api, ctx: Context) -> None:
    ids = await faculty(api)
    head = await user(ctx, anonymous, "head", "organization_admin", ids["physics"])
    chemist = await user(ctx, anonymous, "chemist", "organization_admin", ids["chemistry"])
    lasers = f"/api/organizations/{ids['lasers']}"
    assert ((await head.get(lasers)).status, (await chemist.get(lasers)).status) == (200, 404)
    assert (await api.post(f"/api/organizations/{ids['optics']}/move", {"parent_id": ids["chemistry"]})).result["depth"] == 2
    assert ((await head.get(lasers)).status, (await chemist.get(lasers)).status) == (404, 200)
    assert await codes(chemist, f"?under={ids['chemistry']}") == ["optics", "lasers"]
    key = (await chemist.post("/api/auth/api-keys", {"name": "k", "scopes": ["organizations:read"]})).result["key"]
    assert await codes(anonymous.as_caller(key)) == ["optics", "lasers", "chemistry"], "a key follows its owner"
    assert await whole(ctx)


@pytest.mark.gen_test
async def test_nobody_gains_rights_by_moving(api: Api, anonymous: Api, ctx: Context) -> None:
    """Who may change organizations everywhere, and is more than that in one, cannot take others in."""
    ids = await faculty(api)
    await api.post("/api/roles", {"name": "planner", "scopes": ["organizations:read", "organizations:write"]})
    planner = await user(ctx, anonymous, "planner", "planner", 1)
    user_id = (await planner.get("/api/auth/me")).result["id"]
    mine = [{"role": "planner", "organization_id": 1}, {"role": "organization_admin", "organization_id": ids["chemistry"]}]
    assert (await api.put(f"/api/users/{user_id}/roles", {"roles": mine})).status == 200
    refused = await planner.post(f"/api/organizations/{ids['lasers']}/move", {"parent_id": ids["chemistry"]})
    assert (refused.status, refused.type) == (403, "forbidden")
    assert (await planner.post(f"/api/organizations/{ids['lasers']}/move", {"parent_id": ids["physics"]})).status == 200


@pytest.mark.gen_test
async def test_the_tree_costs_requests_no_query(api: Api, anonymous: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    physics = await make(api, "physics")
    head = await user(ctx, anonymous, "head", "organization_admin", physics)
    await head.get("/api/auth/me")
    asked = []

    async def read(transaction: Any) -> Any:
        asked.append(transaction)
        return await original(transaction)

    original = ctx.sql.read
    monkeypatch.setattr(ctx.sql, "read", read)
    for _ in range(3):
        assert (await identify(ctx, head.token, address="")).organizations("users:read") == frozenset({physics})
    assert asked == []
    tree_of(ctx).forget()
    await asyncio.gather(*(identify(ctx, head.token, address="") for _ in range(5)))
    assert asked == [read_parents], "read once, whoever asks"


@pytest.mark.gen_test
async def test_a_change_while_the_tree_is_read_is_not_lost(api: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    physics = await make(api, "physics")
    known = tree_of(ctx)
    known.forget()
    original = ctx.sql.read
    made: list[int] = []

    async def read(transaction: Any) -> Any:
        found = await original(transaction)
        if not made:
            made.append(0)
            made[0] = await make(api, "optics", physics)
        return found

    monkeypatch.setattr(ctx.sql, "read", read)
    assert await known.within(physics) == {physics, made[0]}
    assert await known.within(999) == {999}


@pytest.mark.gen_test
async def test_the_tree_is_read_anew_now_and_then(api: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another instance's change is found although the bus could not tell of it."""
    physics, known = await make(api, "physics"), tree_of(ctx)
    assert await known.within(physics) == {physics}
    optics = await organization(ctx, "optics")
    await ctx.sql.write(
        lambda connection: connection.execute(organizations.update().where(organizations.c.id == optics).values(parent_id=physics))
    )
    monkeypatch.setattr(ctx.bus, "mode", "distributed")
    assert await known.within(physics) == {physics}
    monkeypatch.setattr(organization_tree, "KNOWN_FOR_S", -1.0)
    assert await known.within(physics) == {physics, optics}


@pytest.mark.gen_test
async def test_a_start_mends_the_closure(api: Api, ctx: Context) -> None:
    """As after an update from a version that had none."""
    await faculty(api)
    await ctx.sql.write(lambda connection: connection.execute(organization_closure.delete()))
    assert not await whole(ctx)
    await set_up(ctx, system_actor("test"))
    assert await whole(ctx)
    count = sa.select(sa.func.count()).select_from(organizations)
    assert await ctx.sql.read(lambda connection: connection.execute(count).scalar()) == 5
