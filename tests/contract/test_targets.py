"""Every kind of target does the same with the same account: our own users, slapd, scim2-server, a receiver of webhooks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.people.hr.tables import hr_accounts
from tests.contract.target_sides import LdapSide, Side, directory, people, receiver, scim_peer, side
from tests.hr_people import HrPeople, row

__all__ = ["directory", "people", "receiver", "scim_peer", "side"]
pytestmark = pytest.mark.holds_loop  # the other sides are looked at without our own client


async def states(people: HrPeople) -> list[tuple[Any, ...]]:
    return [(task.operation, task.state, task.error_class) for task in await people.tasks()]


@pytest.mark.gen_test(timeout=60)
async def test_made_changed_ended_and_revived(people: HrPeople, side: Side) -> None:
    await people.target(side.kind, **side.settings)
    await people.work(row(1))
    assert await states(people) == [("create", "succeeded", None)], (await people.last_task()).error
    assert await side.account("E00001") == {"name": "Person 1", "email": "p1@bupt.example", "active": True}
    await people.work(row(1, name="新名字", email="new@bupt.example"))
    assert await side.account("E00001") == {"name": "新名字", "email": "new@bupt.example", "active": True}
    await people.work(row(1, name="新名字", email="new@bupt.example"), state="left")
    ended = await side.account("E00001")
    assert ended is not None
    assert ended["active"] is False
    await people.work(row(1, name="Back Again", email="new@bupt.example"))
    assert await side.account("E00001") == {"name": "Back Again", "email": "new@bupt.example", "active": True}
    done = [("create", "succeeded", None), ("update", "succeeded", None), ("disable", "succeeded", None), ("revive", "succeeded", None)]
    assert await states(people) == done
    (account,) = await people.accounts()
    assert (account.state, account.hash) == ("active", (await people.last_task()).hash)


@pytest.mark.gen_test(timeout=60)
async def test_an_account_of_the_same_person_is_adopted(people: HrPeople, side: Side) -> None:
    await people.target(side.kind, **side.settings)
    await people.work(row(1))
    (before,) = await people.accounts()
    await forget(people)
    await people.work(row(1, name="Known By Another Name"))
    (after,) = await people.accounts()
    assert after.external_id == before.external_id
    outcome = (await people.attempts())[-1].outcome
    assert outcome == ("done" if side.kind == "webhook" else "adopted")
    assert await side.account("E00001") == {"name": "Known By Another Name", "email": "p1@bupt.example", "active": True}


@pytest.mark.gen_test(timeout=60)
async def test_what_was_done_in_an_attempt_that_broke_off_is_found(people: HrPeople, side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is stopped between the write and the reading back."""
    await people.target(side.kind, **side.settings)
    await people.say(row(1))
    await people.derive()
    if side.kind == "local":  # all in one transaction: it is undone with it
        monkeypatch.setattr("server.people.hr.local_round.settle", _breaks)
    else:
        monkeypatch.setattr("server.people.hr.attempting.check_result", _stops)
    with pytest.raises((asyncio.CancelledError, BrokenOff)):
        await people.process(side.kind)
    monkeypatch.undo()
    assert (await people.last_task()).state == "pending"
    await people.make_due()
    await people.process(side.kind)
    task = await people.last_task()
    assert (task.state, task.attempts) == ("succeeded", 1 if side.kind == "local" else 2)
    expected = {"local": "done", "webhook": "done"}.get(side.kind, "already")
    assert [tried.outcome for tried in await people.attempts()] == [expected]


class BrokenOff(Exception):
    """The transaction ends here."""


def _breaks(*_given: Any, **_named: Any) -> None:
    raise BrokenOff


def _stops(*_given: Any, **_named: Any) -> None:
    raise asyncio.CancelledError


@pytest.mark.gen_test(timeout=60)
async def test_an_end_of_what_is_not_there_is_no_failure(people: HrPeople, side: Side) -> None:
    await people.target(side.kind, **side.settings)
    await people.say(row(1))
    await people.derive()
    await people.make_tried()
    await people.work(row(1), state="gone")
    task = await people.last_task()
    assert (task.operation, task.state) == ("disable", "succeeded")
    assert (await people.accounts())[0].state == "disabled"


@pytest.mark.gen_test(timeout=60)
async def test_an_account_that_was_deleted_there_is_made_anew(people: HrPeople, side: Side, request: pytest.FixtureRequest) -> None:
    if side.kind not in ("ldap", "scim"):
        return
    await people.target(side.kind, **side.settings)
    await people.work(row(1))
    (before,) = await people.accounts()
    if side.kind == "ldap":
        with request.getfixturevalue("directory").connection() as connection:
            connection.delete(before.external_id)
    else:
        request.getfixturevalue("scim_peer").ask("DELETE", f"/Users/{before.external_id}")
    assert await side.account("E00001") is None
    await people.work(row(1, name="Made Anew"))
    assert await states(people) == [("create", "succeeded", None), ("update", "succeeded", None)]
    assert await side.account("E00001") == {"name": "Made Anew", "email": "p1@bupt.example", "active": True}


@pytest.mark.gen_test(timeout=60)
async def test_a_name_that_somebody_else_has_is_a_conflict(people: HrPeople, side: Side) -> None:
    """The user name is what stands before the @, so that two people come to have the same."""
    if side.kind in ("webhook", "local"):
        return  # a receiver tells nothing; our own users have one mail address each, which is tested with them
    await people.target(side.kind, **side.settings, username="{email_local}")
    await people.work(row(1, email="same@bupt.example"))
    await people.work(row(2, email="same@other.example"))
    assert await states(people) == [("create", "succeeded", None), ("create", "dead", "conflict")]
    if isinstance(side, LdapSide):
        assert (await side.account("same") or {})["name"] == "Person 1"


@pytest.mark.gen_test(timeout=60)
async def test_a_break_glass_account_is_never_touched(people: HrPeople, side: Side) -> None:
    await people.target(side.kind, **side.settings)
    await people.work(_named("admin"))
    task = await people.last_task()
    assert (task.state, task.error_class) == ("dead", "protected")


def _named(employee_no: str) -> Any:
    made = row(1)
    made.employee_no = employee_no
    return made


async def forget(people: HrPeople) -> None:
    """As if the accounts had been made by somebody else."""
    await people.ctx.sql.write(_forget_accounts)


def _forget_accounts(connection: Any) -> None:
    connection.execute(hr_accounts.delete())
