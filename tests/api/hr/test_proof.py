"""After a disable: every door is tried, the time to zero access is kept, and the chain behind an account is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tornado.ioloop import IOLoop

from server.clock import HeldClock
from server.context import Context
from server.people.hr import proof
from server.people.hr.proof import ProofState
from server.people.hr.tables import deprovisionings, hr_persons
from server.people.hr.targets.doors import DoorState
from server.people.tables import sessions, users
from tests.api.client import Api
from tests.api.test_live_events import browser
from tests.hr_people import HrPeople, row

DOORS = {"sign_in", "cas", "refresh_token", "access_token", "api_keys", "sockets"}


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def people(io_loop: IOLoop, ctx: Context) -> HrPeople:
    made: HrPeople = io_loop.run_sync(HrPeople(ctx).open)
    io_loop.run_sync(made.target)
    return made


async def signed_in(ctx: Context, anonymous: Api, username: str) -> Api:
    """The person has set a password, and signs in with it."""
    from server.people.passwords import Passwords

    hashed = await ctx.services.get(Passwords).hash("a password of theirs")
    mine = users.update().where(users.c.username == username).values(password_hash=hashed)
    await ctx.sql.write(lambda connection: connection.execute(mine).rowcount)
    pair = (await anonymous.post("/api/auth/login", {"username": username, "password": "a password of theirs"})).result
    return anonymous.as_caller(pair["access_token"])


async def person_of(ctx: Context, employee_no: str) -> int:
    wanted = sa.select(hr_persons.c.id).where(hr_persons.c.employee_no == employee_no)
    return int(await ctx.sql.read(lambda connection: connection.execute(wanted).scalar_one()))


async def ordered(ctx: Context, people: HrPeople, *employee_nos: str) -> None:
    ids = [await person_of(ctx, one) for one in employee_nos]
    now = ctx.clock.now()
    await ctx.sql.write(lambda connection: proof.open_cases(connection, ids, None, now))


async def cases(ctx: Context) -> list[Any]:
    return await ctx.sql.read(lambda connection: list(connection.execute(sa.select(deprovisionings).order_by(deprovisionings.c.id))))


def states(case: Any) -> dict[str, str]:
    return {check["door"]: check["state"] for check in case.checks}


@pytest.mark.gen_test(timeout=60)
async def test_an_end_is_proven_when_no_door_opens_and_its_time_is_kept(
    ctx: Context, anonymous: Api, api: Api, people: HrPeople, clock: HeldClock
) -> None:
    await people.work(row(1))
    person = await signed_in(ctx, anonymous, "E00001")
    key = (await person.post("/api/auth/api-keys", {"name": "mine", "scopes": []})).result["key"]
    async with browser(person) as socket:
        await ordered(ctx, people, "E00001")
        assert await proof.prove_all(ctx) == {"proven": 0, "checking": 1, "open": 0}
        assert states((await cases(ctx))[0]) == {"account": "open"}
        assert (await person.get("/api/auth/me")).status == 200  # a proof that comes too early harms nobody
        clock.advance(seconds=90)
        await people.work(row(1), state="gone")
        assert await proof.prove_all(ctx) == {"proven": 1, "checking": 0, "open": 0}
        assert await socket.closed() == 4401
    [case] = await cases(ctx)
    assert set(states(case)) == DOORS
    assert set(states(case).values()) == {"closed"}
    assert (case.state, case.tries, case.zero_at - case.ordered_at) == ("proven", 2, timedelta(seconds=90))
    assert (await person.get("/api/auth/me")).status == 401
    assert (await anonymous.as_caller(key).get("/api/auth/me")).status == 401
    [shown] = (await api.get("/api/hr/deprovisionings?state=proven")).result["items"]
    assert (shown["employee_no"], shown["seconds_to_zero"], shown["tries"]) == ("E00001", 90.0, 2)
    assert await proof.prove_all(ctx) == {"proven": 0, "checking": 0, "open": 0}


@pytest.mark.gen_test(timeout=60)
async def test_each_door_that_stands_open_is_found(ctx: Context, anonymous: Api, people: HrPeople) -> None:
    """What disabling should have closed is opened again behind its back."""
    await people.work(row(1))
    person = await signed_in(ctx, anonymous, "E00001")
    await person.post("/api/auth/api-keys", {"name": "mine", "scopes": []})
    await people.work(row(1), state="left")
    await ordered(ctx, people, "E00001")

    def doors_open(connection: sa.Connection) -> None:
        from server.people.tables import api_keys

        connection.execute(api_keys.update().values(revoked_at=None))
        connection.execute(sessions.update().values(ended_at=None, end_reason=None))

    await ctx.sql.write(doors_open)
    assert (await proof.prove_all(ctx))["checking"] == 1
    found = states((await cases(ctx))[0])
    assert found["api_keys"] == DoorState.OPEN
    assert found["refresh_token"] == found["access_token"] == found["sign_in"] == DoorState.CLOSED  # the account's state refuses them


@pytest.mark.gen_test(timeout=60)
async def test_a_door_that_stays_open_is_given_to_people(ctx: Context, people: HrPeople, clock: HeldClock) -> None:
    await people.work(row(1))
    await ordered(ctx, people, "E00001")
    clock.advance(seconds=proof.PATIENCE.total_seconds() + 1)
    assert await proof.prove_all(ctx) == {"proven": 0, "checking": 0, "open": 1}
    assert (await cases(ctx))[0].state == ProofState.OPEN


@pytest.mark.gen_test(timeout=60)
async def test_who_comes_back_has_nothing_to_prove(ctx: Context, people: HrPeople) -> None:
    await people.work(row(1), row(2))
    await ordered(ctx, people, "E00001", "E00002")
    first = await person_of(ctx, "E00001")
    await ctx.sql.write(lambda connection: proof.drop_cases(connection, [first]))
    assert [case.person_id for case in await cases(ctx)] == [await person_of(ctx, "E00002")]


@pytest.mark.gen_test(timeout=60)
async def test_the_chain_behind_an_account_is_told_in_both_languages(ctx: Context, api: Api, people: HrPeople, clock: HeldClock) -> None:
    await people.work(row(1))
    clock.advance(seconds=60)
    await people.work(row(1), state="left")
    await ordered(ctx, people, "E00001")
    await proof.prove_all(ctx)
    person_id = await person_of(ctx, "E00001")
    why = (await api.get(f"/api/hr/persons/{person_id}/why", headers={"Accept-Language": "en"})).result
    assert [(task["operation"], task["state"], len(task["attempts"])) for task in why["tasks"]] == [
        ("create", "succeeded", 1),
        ("disable", "succeeded", 1),
    ]
    assert why["tasks"][1]["attempts"][0]["after"]["active"] is False
    assert why["proofs"][0]["state"] == "proven"
    assert [sentence.split(", ", 2)[2] for sentence in why["sentences"][:2]] == [
        "create in local: done, and read back",
        "disable in local: done, and read back",
    ]
    assert "all 6 doors were tried and are closed" in why["sentences"][2]
    chinese = (await api.get(f"/api/hr/persons/{person_id}/why")).result["sentences"]
    assert "停用账号：已完成，并已读回核对" in chinese[1]
    [account] = await people.accounts()
    assert (await api.get(f"/api/users/{account.user_id}/why")).result["person_id"] == person_id
    assert (await api.get("/api/users/1/why")).type == "account_not_from_hr"
    assert (await api.get("/api/hr/persons/999/why")).type == "hr_person_not_found"
    before = why["tasks"][0]["ended_at"]
    early = (await api.get(f"/api/hr/persons/{person_id}/why?at={before.replace('+', '%2B')}")).result
    assert [(task["operation"], task["state"]) for task in early["tasks"]] == [("create", "succeeded")]
    assert early["proofs"] == []
