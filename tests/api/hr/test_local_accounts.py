"""Our own users as HR wants them: made, changed, ended, revived, adopted, and left alone where they must be."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from tornado.ioloop import IOLoop

from server.context import Context
from server.people.tables import api_keys, organization_members, role_grants, users
from tests.api.client import Api
from tests.api.people import user
from tests.hr_people import HrPeople, row


@pytest.fixture
def people(io_loop: IOLoop, ctx: Context) -> HrPeople:
    made: HrPeople = io_loop.run_sync(HrPeople(ctx).open)
    io_loop.run_sync(made.target)
    return made


async def users_named(ctx: Context, *names: str) -> list[Any]:
    wanted = sa.select(users).where(users.c.username.in_(names)).order_by(users.c.id)
    return await ctx.sql.read(lambda connection: list(connection.execute(wanted)))


async def rows_of(ctx: Context, table: sa.Table, user_id: int) -> list[Any]:
    return await ctx.sql.read(lambda connection: list(connection.execute(sa.select(table).where(table.c.user_id == user_id))))


@pytest.mark.gen_test(timeout=30)
async def test_a_new_person_gets_an_account_with_a_role_and_a_position(ctx: Context, people: HrPeople) -> None:
    await people.work(row(1))
    (made,) = await users_named(ctx, "E00001")
    assert (made.name, made.email, made.state, made.password_hash) == ("Person 1", "p1@bupt.example", "active", None)
    assert made.organization_id == people.organizations["D1"]
    (grant,) = await rows_of(ctx, role_grants, made.id)
    assert grant.organization_id == people.organizations["D1"]
    (seat,) = await rows_of(ctx, organization_members, made.id)
    assert (seat.organization_id, seat.position) == (people.organizations["D1"], "lecturer")
    (task,) = await people.tasks()
    assert (task.operation, task.state, task.attempts, task.unique_key) == ("create", "succeeded", 1, None)
    (account,) = await people.accounts()
    assert (account.user_id, account.external_id, account.state, account.hash) == (made.id, str(made.id), "active", task.hash)
    (tried,) = await people.attempts()
    assert (tried.outcome, tried.before, tried.after["username"]) == ("done", None, "E00001")


@pytest.mark.gen_test(timeout=30)
async def test_nothing_is_done_for_what_has_not_changed(people: HrPeople) -> None:
    await people.work(row(1), row(2))
    await people.say(row(1, phone="123"))  # our users have no telephone number
    assert await people.derive() == 0
    assert len(await people.tasks()) == 2


@pytest.mark.gen_test(timeout=30)
async def test_a_person_who_moves_takes_the_role_along(ctx: Context, people: HrPeople) -> None:
    await people.work(row(1))
    await people.work(row(1, name="Another Name", department_code="D2", title="professor"))
    (moved,) = await users_named(ctx, "E00001")
    assert (moved.name, moved.organization_id) == ("Another Name", people.organizations["D2"])
    assert [grant.organization_id for grant in await rows_of(ctx, role_grants, moved.id)] == [people.organizations["D2"]]
    assert [(seat.organization_id, seat.position) for seat in await rows_of(ctx, organization_members, moved.id)] == [
        (people.organizations["D2"], "professor")
    ]


@pytest.mark.gen_test(timeout=30)
async def test_memberships_that_hr_does_not_know_stay(ctx: Context, people: HrPeople) -> None:
    await people.work(row(1))
    (made,) = await users_named(ctx, "E00001")
    other = {"organization_id": 1, "user_id": made.id, "position": "guest", "created_at": ctx.clock.now()}
    await ctx.sql.write(lambda connection: connection.execute(organization_members.insert().values(**other)) and None)
    await people.work(row(1, department_code="D2"))
    assert {seat.organization_id for seat in await rows_of(ctx, organization_members, made.id)} == {1, people.organizations["D2"]}


@pytest.mark.gen_test(timeout=30)
async def test_an_end_closes_every_door_and_a_return_keeps_the_id(ctx: Context, anonymous: Api, api: Api, people: HrPeople) -> None:
    caller = await user(ctx, anonymous, "e00001", "teacher")  # the employee number, in small letters
    await people.work(row(1))
    (adopted,) = await users_named(ctx, "e00001")
    assert (await people.attempts())[0].outcome == "adopted"
    key = {"user_id": adopted.id, "name": "k", "prefix": "0123456789ab", "secret_hash": "x", "scopes": [], "created_at": ctx.clock.now()}
    await ctx.sql.write(lambda connection: connection.execute(api_keys.insert().values(**key)) and None)
    assert (await caller.get("/api/auth/me")).status == 200
    await people.work(row(1), state="left")
    assert (await caller.get("/api/auth/me")).status == 401
    assert (await users_named(ctx, "e00001"))[0].state == "disabled"
    assert all(one.revoked_at is not None for one in await rows_of(ctx, api_keys, adopted.id))
    assert (await people.accounts())[0].state == "disabled"
    await people.work(row(1))
    (back,) = await users_named(ctx, "e00001")
    assert (back.id, back.state, back.disabled_at) == (adopted.id, "active", None)
    assert [task.operation for task in await people.tasks()] == ["create", "disable", "revive"]
    assert (await caller.get("/api/auth/me")).status == 401


@pytest.mark.gen_test(timeout=30)
async def test_a_name_that_somebody_else_has_is_a_conflict(ctx: Context, anonymous: Api, people: HrPeople) -> None:
    await user(ctx, anonymous, "e00001", None)
    other = users.update().where(users.c.username_key == "e00001").values(email="x@y.example", email_key="x@y.example")
    await ctx.sql.write(lambda connection: connection.execute(other) and None)
    await people.work(row(1), row(2))
    first, second = await people.tasks()
    assert (first.state, first.error_class, second.state) == ("dead", "conflict", "succeeded")


@pytest.mark.gen_test(timeout=30)
async def test_two_people_with_one_mail_address(people: HrPeople) -> None:
    await people.work(row(1), row(2, email="P1@bupt.example"))
    first, second = await people.tasks()
    assert (first.state, second.state, second.error_class) == ("succeeded", "dead", "conflict")


@pytest.mark.gen_test(timeout=30)
async def test_an_account_that_hr_adopted_keeps_its_name_and_password(ctx: Context, anonymous: Api, people: HrPeople) -> None:
    await user(ctx, anonymous, "somebody", "student")
    (before,) = await users_named(ctx, "somebody")
    await people.say(row(1), adopts=before.id)
    await people.derive()
    await people.process()
    (after,) = await users_named(ctx, "somebody")
    assert (after.id, after.name, after.password_hash) == (before.id, "Person 1", before.password_hash)
    assert await users_named(ctx, "E00001") == []


@pytest.mark.gen_test(timeout=30)
async def test_a_break_glass_account_is_never_touched(ctx: Context, people: HrPeople) -> None:
    (before,) = await users_named(ctx, "admin")
    await people.say(row(1), adopts=before.id)
    await people.derive()
    await people.process()
    await people.say(row(1), state="left")
    await people.derive()
    await people.process()
    tasks = await people.tasks()
    assert [(task.operation, task.state, task.error_class) for task in tasks] == [
        ("create", "dead", "protected"),
        ("disable", "dead", "protected"),
    ]
    assert (await users_named(ctx, "admin")) == [before]


@pytest.mark.gen_test(timeout=30)
async def test_one_that_cannot_be_done_does_not_hinder_the_others(people: HrPeople, monkeypatch: pytest.MonkeyPatch) -> None:
    from server.people.hr.targets import local_writing

    new = local_writing.Writing._new

    def breaks(self: Any, desired: Any) -> Any:
        if desired.employee_no == "E00002":
            raise ValueError("a fault of ours")
        return new(self, desired)

    monkeypatch.setattr(local_writing.Writing, "_new", breaks)
    await people.work(row(1), row(2), row(3))
    assert [(task.state, task.error_class) for task in await people.tasks()] == [
        ("succeeded", None),
        ("pending", "broken"),
        ("succeeded", None),
    ]
    monkeypatch.undo()
    await people.make_due()
    await people.process()
    assert {task.state for task in await people.tasks()} == {"succeeded"}


@pytest.mark.gen_test(timeout=30)
async def test_hr_does_not_take_away_the_only_way_in(ctx: Context, people: HrPeople) -> None:
    await people.work(row(1))
    await people.work(row(1, email=None, name="New Name"))
    (kept,) = await users_named(ctx, "E00001")
    assert (kept.name, kept.email) == ("New Name", "p1@bupt.example")
