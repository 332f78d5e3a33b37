"""Who is told of what: holders of a scope, those whom organizations name, and what in the system tells."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import mail as mail_jobs
from server import commands
from server.context import Context
from server.dispatch.tables import runs, workflows
from server.people import told, user_import
from server.people.organizations import OrganizationBody, OrganizationKind, create_organization
from server.people.tables import organization_members, organization_notifications, role_grants, roles, users
from server.people.told import recipients, tell_holders, tell_organization
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told
from server.scopes import system_actor
from tests.api.client import Api
from tests.api.people import user
from tests.api.test_notifications import listed, number_of
from tests.api.test_user_import import send


async def place(ctx: Context, name: str, parent_id: int = 1) -> int:
    body = OrganizationBody(name=name, code=name, kind=OrganizationKind.DEPARTMENT, parent_id=parent_id)
    return (await create_organization(ctx, system_actor("test"), body)).id


# Who is told.


@pytest.mark.gen_test
async def test_holders_are_those_who_hold_a_scope_everywhere(api: Api, anonymous: Api, ctx: Context) -> None:
    physics = await place(ctx, "physics")
    await user(ctx, anonymous, "everywhere", "administrator")
    await user(ctx, anonymous, "there", "administrator", physics)
    await user(ctx, anonymous, "teacher", "teacher")
    await user(ctx, anonymous, "gone", "administrator")
    await user(ctx, anonymous, "robot", "administrator")
    for name, change in (("gone", {"state": "disabled"}), ("robot", {"kind": "service"})):
        statement = users.update().where(users.c.username_key == name).values(change)
        await ctx.sql.write(lambda connection, statement=statement: connection.execute(statement))
    given = {"source": "SAP", "changes": 3}

    def transaction(connection: sa.Connection) -> Told:
        return tell_holders(connection, ctx.clock.now(), "hr:approve", Kind.PLAN_WAITING, "run", given)

    found = await ctx.sql.write(transaction)
    assert set(found.shown) == {1, await number_of(ctx, "everywhere")}
    assert (await ctx.sql.write(transaction)).shown == ()


@pytest.mark.gen_test
async def test_an_organization_tells_its_nearest_heads_and_its_positions(api: Api, anonymous: Api, ctx: Context) -> None:
    faculty = await place(ctx, "faculty")
    department = await place(ctx, "department", faculty)
    klass = await place(ctx, "class", department)
    await user(ctx, anonymous, "dean", "organization_admin", faculty)
    await user(ctx, anonymous, "secretary", None, klass)
    dean, secretary = await number_of(ctx, "dean"), await number_of(ctx, "secretary")

    async def told_in(organization_id: int) -> set[int]:
        return await ctx.sql.read(lambda connection: recipients(connection, organization_id, Kind.MEMBER_JOINED))

    assert await told_in(klass) == await told_in(department) == await told_in(faculty) == {dean}
    assert await told_in(1) == {1}
    await user(ctx, anonymous, "head", "organization_admin", department)
    head = await number_of(ctx, "head")
    assert await told_in(klass) == await told_in(department) == {head}
    choice = {"kind": "member.joined", "roles": ["teacher"], "positions": ["secretary"]}
    answer = await api.request("PUT", f"/api/organizations/{department}/notifications", {"notifications": [choice]})
    assert answer.status == 200
    assert await told_in(klass) == await told_in(department) == set()
    row = {"organization_id": klass, "user_id": secretary, "position": "secretary", "created_at": ctx.clock.now()}
    await ctx.sql.write(lambda connection: connection.execute(organization_members.insert().values(**row)))
    assert (await told_in(klass), await told_in(department), await told_in(faculty)) == ({secretary}, set(), {dean})
    await api.request("PUT", f"/api/organizations/{klass}/notifications", {"notifications": [{**choice, "enabled": False}]})
    assert await told_in(klass) == set()
    found = await ctx.sql.write(
        lambda connection: tell_organization(
            connection, ctx.clock.now(), faculty, Kind.MEMBER_JOINED, "x", {"name": "n", "organization": "o"}, also=[head], but=[dean]
        )
    )
    assert found.shown == (head,)


@pytest.mark.gen_test
async def test_choices_are_inherited_and_go_back_to_it(api: Api, ctx: Context) -> None:
    faculty = await place(ctx, "faculty")
    department = await place(ctx, "department", faculty)
    above, below = (f"/api/organizations/{one}/notifications" for one in (faculty, department))
    first = {one["kind"]: one for one in (await api.get(below)).result["notifications"]}
    assert set(first) == {"workflow.failed", "document.failed", "member.joined"}
    assert all(not one["own"] and one["inherited_from"] is None and one["enabled"] for one in first.values())
    choice = {"kind": "member.joined", "roles": ["teacher", "teacher"], "positions": ["dean"]}
    *_, chosen = (await api.request("PUT", above, {"notifications": [choice]})).result["notifications"]
    assert (chosen["own"], chosen["roles"], chosen["positions"], chosen["inherited_from"]) == (True, ["teacher"], ["dean"], None)
    inherited = (await api.get(below)).result["notifications"][2]
    assert (inherited["own"], inherited["roles"], inherited["inherited_from"]) == (False, ["teacher"], faculty)
    assert (await api.request("PUT", above, {"notifications": []})).status == 200
    assert {one["kind"]: one for one in (await api.get(below)).result["notifications"]} == first


@pytest.mark.gen_test
async def test_choices_that_cannot_be(api: Api, anonymous: Api, ctx: Context) -> None:
    faculty = await place(ctx, "faculty")
    path = f"/api/organizations/{faculty}/notifications"
    joined = {"kind": "member.joined"}
    for choices, field in (
        ([joined, joined], "notifications.1.kind"),
        ([{"kind": "password.changed"}], "notifications.0.kind"),
        ([{**joined, "roles": ["king"]}], "notifications.0.roles"),
        ([{**joined, "positions": [" "]}], "notifications.0.positions"),
    ):
        answer = await api.request("PUT", path, {"notifications": choices})
        assert (answer.status, list(answer.envelope["error"]["fields"])) == (422, [field])
    elsewhere = await user(ctx, anonymous, "elsewhere", "organization_admin", await place(ctx, "other"))
    assert (await elsewhere.get(path)).status == 404
    assert (await elsewhere.request("PUT", path, {"notifications": []})).status == 404
    student = await user(ctx, anonymous, "student", "student", faculty)
    assert (await student.get(path)).status == 200
    assert (await student.request("PUT", path, {"notifications": []})).status == 403


@pytest.mark.gen_test
async def test_the_command_fills_in_what_is_inherited_and_is_safe_to_repeat(api: Api, anonymous: Api, ctx: Context) -> None:
    faculty = await place(ctx, "faculty")
    department = await place(ctx, "department", faculty)
    choice = {"kind": "member.joined", "roles": ["teacher"], "positions": ["dean"], "enabled": False}
    await api.request("PUT", f"/api/organizations/{faculty}/notifications", {"notifications": [choice]})
    before = (await api.get(f"/api/organizations/{department}/notifications")).result["notifications"]
    nothing = argparse.Namespace()
    assert await commands.init_organization_notifications(ctx, nothing) == "3 organizations, 8 rows added."
    assert await commands.init_organization_notifications(ctx, nothing) == "3 organizations, 0 rows added."
    after = (await api.get(f"/api/organizations/{department}/notifications")).result["notifications"]
    assert all(one["own"] for one in after)
    for one, then in zip(before, after, strict=True):
        assert {name: one[name] for name in ("kind", "enabled", "roles", "positions")} == {
            name: then[name] for name in ("kind", "enabled", "roles", "positions")
        }
    new = await place(ctx, "class", department)
    inherited = (await api.get(f"/api/organizations/{new}/notifications")).result["notifications"]
    assert {one["inherited_from"] for one in inherited} == {department}
    counted = sa.select(sa.func.count()).select_from(organization_notifications)
    held = await ctx.sql.read(lambda connection: connection.execute(counted).scalar())
    assert held == 9


# What tells.


@pytest.mark.gen_test
async def test_a_run_that_did_not_succeed_is_told_once(api: Api, anonymous: Api, ctx: Context, workflow: dict[str, Any]) -> None:
    physics = await place(ctx, "physics")
    operator = await user(ctx, anonymous, "operator", "operator", physics)
    maker = await user(ctx, anonymous, "maker", None)
    change = workflows.update().values(organization_id=physics, created_by="maker")
    await ctx.sql.write(lambda connection: connection.execute(change))
    run = (await api.post(f"/workflow/{workflow['id']}/execute", {})).result["run_id"]
    await ctx.sql.write(lambda connection: connection.execute(runs.update().values(state="timed_out")))
    for _ in range(2):
        await mail_jobs.run_failed(ctx, run)
    for caller in (operator, maker):
        [one] = await listed(caller)
        assert (one["kind"], one["link"], one["params"]) == (
            "workflow.failed",
            f"/#/runs/{run}",
            {"workflow": "daily", "state": "timed_out"},
        )
    assert await listed(api) == []
    assert (await mail_jobs.run_failed(ctx, 32 * "0"))["sent"] is False


@pytest.mark.gen_test
async def test_a_user_is_told_of_other_roles(api: Api, anonymous: Api, ctx: Context) -> None:
    ann = await user(ctx, anonymous, "ann", "teacher")
    number = await number_of(ctx, "ann")
    grants = {"roles": [{"role": "student", "organization_id": 1}]}
    for _ in range(2):
        assert (await api.put(f"/api/users/{number}/roles", grants)).status == 200
    assert [one["text"] for one in await listed(ann)] == ["您的角色已更改，现为：student。"]
    assert (await api.put(f"/api/users/{number}/roles", {"roles": []})).status == 200


@pytest.mark.gen_test
async def test_a_new_member_and_the_organizations_heads_are_told(api: Api, anonymous: Api, ctx: Context) -> None:
    physics = await place(ctx, "physics")
    head = await user(ctx, anonymous, "head", "organization_admin", physics)
    ann = await user(ctx, anonymous, "ann", None)
    number = await number_of(ctx, "ann")
    path = f"/api/organizations/{physics}/members"
    for position in ("student", "teacher"):
        assert (await api.post(path, {"user_id": number, "position": position})).status == 200
    for caller in (head, ann):
        assert [one["params"] for one in await listed(caller)] == [{"name": "ann", "organization": "physics"}]
    assert await listed(api) == []
    assert (await api.delete(f"{path}?user_id={number}")).status == 200
    await ctx.sql.write(lambda connection: connection.execute(role_grants.delete().where(role_grants.c.organization_id == physics)))
    home = users.update().where(users.c.organization_id == physics).values(organization_id=1)
    await ctx.sql.write(lambda connection: connection.execute(home))
    assert (await api.delete(f"/api/organizations/{physics}")).status == 200, "what was told must not hold the organization"
    assert len(await listed(ann)) == 1


@pytest.mark.gen_test
async def test_a_person_is_found_by_the_name_as_people_write_it(api: Api, anonymous: Api, ctx: Context) -> None:
    assert await ctx.sql.read(lambda connection: told.find_person(connection, "ADMIN")) == 1
    assert await ctx.sql.read(lambda connection: told.find_person(connection, "module key")) is None
    held = await ctx.sql.read(lambda connection: connection.execute(sa.select(roles.c.name)).scalars().all())
    assert {"administrator", "organization_admin", "operator"} <= set(held), "the defaults name roles that there are"


@pytest.mark.gen_test(timeout=60)
async def test_who_imported_a_long_sheet_is_told_when_it_is_written(api: Api, anonymous: Api, ctx: Context) -> None:
    importer = await user(ctx, anonymous, "importer", "administrator")
    rows = [[f"user{number}", "", f"u{number}@x.cn"] for number in range(600)] + [["Admin"], ["bad name !", "", "no mail"]]
    queued = (await send(importer, rows)).result
    assert queued["state"] == "queued"

    async def progress(_percent: int, _message: str) -> None:
        pass

    # Somebody takes a name between the plan and the writing.
    await api.post("/api/users", {"username": "user7"})
    for _ in range(2):
        await user_import.carry_out(ctx, queued["id"], progress)
    done = (await importer.get(f"/api/users/imports/{queued['id']}")).result
    [told_of] = await listed(importer, "?kind=import.finished")
    counts = {"created": done["counts"]["create"], "updated": done["counts"]["update"], "errors": done["counts"]["error"]}
    assert told_of["params"] == {"filename": "名单.xlsx", **counts}
    assert counts["created"] == 599
    assert await listed(api, "?kind=import.finished") == []
