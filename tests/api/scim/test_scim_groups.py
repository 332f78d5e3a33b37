"""Groups over SCIM: organizations and their members."""

from __future__ import annotations

import pytest

from server.context import Context
from tests.api.client import Api
from tests.api.scim.scim_client import GROUP, Scim


def ids(document: dict[str, object]) -> list[str]:
    return [one["value"] for one in document.get("members", [])]  # type: ignore[attr-defined]


@pytest.mark.gen_test
async def test_a_group_is_an_organization_below_the_root(scim: Scim, api: Api) -> None:
    one = await scim.user("one")
    made = await scim.group("Robotics", one["id"], externalId="g-1")
    here = (await api.get(f"/api/organizations/{made['id']}")).result
    assert (here["name"], here["kind"], here["parent_id"]) == ("Robotics", "other", 1)
    members = (await api.get(f"/api/organizations/{made['id']}/members")).result["items"]
    assert [(member["username"], member["position"]) for member in members] == [("one", "member")]
    assert made["members"] == [{"value": one["id"], "$ref": one["meta"]["location"], "type": "User"}]
    seen = (await scim.get(f"/Users/{one['id']}")).document["groups"]
    assert [(group["value"], group["display"]) for group in seen] == [(made["id"], "Robotics")]


@pytest.mark.gen_test
async def test_members_come_and_go_in_every_clients_way(scim: Scim) -> None:
    people = [(await scim.user(f"m{number}"))["id"] for number in range(4)]
    path = f"/Groups/{(await scim.group('G'))['id']}"
    added = await scim.patch(path, {"op": "Add", "path": "members", "value": [{"value": one} for one in people]})
    assert ids(added.document) == people
    again = await scim.patch(path, {"op": "add", "value": {"members": [{"value": people[0]}]}})
    assert again.headers["ETag"] == added.headers["ETag"]
    one = await scim.patch(path, {"op": "remove", "path": f'members[value eq "{people[0]}"]'})
    assert ids(one.document) == people[1:]
    entra = await scim.patch(path, {"op": "Remove", "path": "members", "value": [{"value": people[1]}]})
    assert ids(entra.document) == people[2:]
    gone = await scim.patch(path, {"op": "remove", "path": f'members[value eq "{people[0]}"]'})
    assert (gone.status, ids(gone.document)) == (200, people[2:])
    replaced = await scim.patch(path, {"op": "replace", "path": "members", "value": [{"value": people[0]}]})
    assert ids(replaced.document) == people[:1]
    put = await scim.ask("PUT", path, {"schemas": [GROUP], "displayName": "H", "members": [{"value": people[3]}]})
    assert (put.document["displayName"], ids(put.document)) == ("H", people[3:])
    none = await scim.patch(path, {"op": "remove", "path": "members"})
    assert "members" not in none.document


@pytest.mark.gen_test
async def test_a_member_must_be_a_user_that_is_seen(scim: Scim, api: Api) -> None:
    robot = (await api.post("/api/users", {"username": "robot", "kind": "service"})).result["id"]
    path = f"/Groups/{(await scim.group('G'))['id']}"
    for stranger in ("999999", "x", str(robot), "", "01"):
        answer = await scim.patch(path, {"op": "add", "path": "members", "value": [{"value": stranger}]})
        assert (answer.status, answer.scim_type) == (400, "invalidValue"), stranger
    assert "members" not in (await scim.get(path)).document


@pytest.mark.gen_test
async def test_a_group_is_removed_unless_something_hangs_on_it(scim: Scim, api: Api, ctx: Context) -> None:
    group = await scim.group("G", (await scim.user("one"))["id"])
    path, below = f"/Groups/{group['id']}", {"name": "below", "code": "below", "kind": "class", "parent_id": int(group["id"])}
    child = (await api.post("/api/organizations", below)).result["id"]
    refused = await scim.ask("DELETE", path)
    assert refused.status == 409
    assert ids((await scim.get(path)).document)
    assert (await api.delete(f"/api/organizations/{child}")).status == 200
    assert (await scim.ask("DELETE", path)).status == 204
    assert (await scim.get(path)).status == 404
    assert (await api.get(f"/api/organizations/{group['id']}")).status == 404


@pytest.mark.gen_test
async def test_the_root_stays_as_it_is(scim: Scim) -> None:
    assert (await scim.ask("DELETE", "/Groups/1")).status == 409
    assert (await scim.patch("/Groups/1", {"op": "replace", "path": "displayName", "value": "Mine"})).status == 403


@pytest.mark.gen_test
async def test_members_are_left_out_when_nobody_wants_them(scim: Scim) -> None:
    group = await scim.group("G", (await scim.user("one"))["id"])
    for address in (f"/Groups/{group['id']}?", "/Groups?filter=displayName%20eq%20%22g%22&"):
        answer = await scim.get(f"{address}excludedAttributes=members")
        found = answer.document.get("Resources", [answer.document])[0]
        assert "members" not in found
        assert found["displayName"] == "G"
        assert found["meta"]["version"] == group["meta"]["version"]


@pytest.mark.gen_test
async def test_versions_tell_of_members(scim: Scim, api: Api) -> None:
    one, two = await scim.user("one"), await scim.user("two")
    group = await scim.group("G", one["id"])
    path = f"/Groups/{group['id']}"
    await api.post(f"/api/organizations/{group['id']}/members", {"user_id": int(two["id"])})
    stale = await scim.ask("PUT", path, {"displayName": "G"}, If_Match=group["meta"]["version"])
    assert stale.status == 412
    assert ids((await scim.get(path)).document) == [one["id"], two["id"]]
