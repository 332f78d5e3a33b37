"""A directory as a target, on a real slapd: locks that do not hold, attributes, moves, StartTLS, names that need escaping."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.target_sides import LdapSide, directory, people
from tests.hr_people import HrPeople, row
from tests.peers import slapd
from tests.peers.slapd import Slapd, running_slapd

__all__ = ["directory", "people"]
pytestmark = pytest.mark.holds_loop
DN = f"uid=E00001,{slapd.PEOPLE}"


@pytest.fixture
def lax(tmp_path: Path) -> Iterator[Slapd]:
    """A directory that lets locked accounts in."""
    folder = tmp_path / "lax"
    folder.mkdir()
    with running_slapd(folder) as peer:
        yield peer


async def opened(people: HrPeople, peer: Slapd, **more: Any) -> None:
    await people.target("ldap", **{**LdapSide(peer).settings, **more})


@pytest.mark.gen_test(timeout=60)
async def test_a_lock_that_does_not_hold_is_a_failure(people: HrPeople, lax: Slapd) -> None:
    await opened(people, lax)
    await people.work(row(1))
    lax.set_password(DN, "the person's own")
    await people.work(row(1), state="left")
    task = await people.last_task()
    assert (task.operation, task.state, task.error_class) == ("disable", "pending", "not_effective")
    assert not lax.lets_in(DN, "the person's own")
    assert (await people.accounts())[0].state == "active"
    lax.enforce_locks()
    await people.make_due()
    await people.process("ldap")
    task = await people.last_task()
    assert (task.state, (await people.accounts())[0].state) == ("succeeded", "disabled")


@pytest.mark.gen_test(timeout=60)
async def test_a_lock_that_never_holds_ends_as_a_dead_letter(people: HrPeople, lax: Slapd) -> None:
    await opened(people, lax)
    await people.work(row(1))
    await people.work(row(1), state="left")
    for _ in range(2):
        await people.make_due()
        await people.process("ldap")
    task = await people.last_task()
    assert (task.state, task.attempts, task.error_class) == ("dead", 3, "not_effective")


@pytest.mark.gen_test(timeout=60)
async def test_whoever_comes_back_needs_a_new_password(people: HrPeople, directory: Slapd) -> None:
    await opened(people, directory)
    await people.work(row(1))
    directory.set_password(DN, "the person's own")
    assert directory.lets_in(DN, "the person's own")
    await people.work(row(1), state="left")
    assert not directory.lets_in(DN, "the person's own")
    await people.work(row(1))
    assert not directory.lets_in(DN, "the person's own")
    directory.set_password(DN, "another one")
    assert directory.lets_in(DN, "another one")


@pytest.mark.gen_test(timeout=60)
async def test_one_who_is_only_locked_out_for_a_while_is_not_disabled(people: HrPeople, directory: Slapd) -> None:
    await opened(people, directory)
    await people.work(row(1))
    with directory.connection() as connection:
        connection.modify(DN, {"pwdAccountLockedTime": [("MODIFY_REPLACE", ["20260101000000Z"])]})
    await people.work(row(1, name="Another"))
    assert directory.entries()[DN]["cn"] == ["Another"]
    assert directory.entries()[DN]["pwdAccountLockedTime"] == ["20260101000000Z"]


@pytest.mark.gen_test(timeout=60)
async def test_ended_by_an_attribute(people: HrPeople, directory: Slapd) -> None:
    await opened(people, directory, disable="attribute", disable_attribute="employeeType", disabled_value="gone", enabled_value="staff")
    await people.work(row(1))
    assert directory.entries()[DN]["employeeType"] == ["staff"]
    await people.work(row(1), state="left")
    assert directory.entries()[DN]["employeeType"] == ["gone"]
    await people.work(row(1))
    assert directory.entries()[DN]["employeeType"] == ["staff"]
    assert {task.state for task in await people.tasks()} == {"succeeded"}


@pytest.mark.gen_test(timeout=60)
async def test_ended_by_a_move(people: HrPeople, directory: Slapd) -> None:
    await opened(people, directory, disable="move", disabled_base=slapd.FORMER)
    await people.work(row(1))
    await people.work(row(1), state="left")
    assert list(directory.entries()) == [f"uid=E00001,{slapd.FORMER}"]
    await people.work(row(1, name="Back"))
    assert {dn: one["cn"] for dn, one in directory.entries().items()} == {DN: ["Back"]}
    assert {task.state for task in await people.tasks()} == {"succeeded"}


@pytest.mark.gen_test(timeout=60)
async def test_over_start_tls(people: HrPeople, directory: Slapd) -> None:
    await opened(people, directory, start_tls=True, ca_file=directory.ca_file)
    await people.work(row(1))
    assert (await people.last_task()).state == "succeeded", (await people.last_task()).error
    assert DN in directory.entries()


@pytest.mark.gen_test(timeout=60)
async def test_a_certificate_that_nobody_vouches_for(people: HrPeople, directory: Slapd) -> None:
    await opened(people, directory, start_tls=True)
    await people.work(row(1))
    assert (await people.last_task()).state == "pending"
    assert directory.entries() == {}


@pytest.mark.gen_test(timeout=60)
async def test_names_with_letters_that_mean_something_there(people: HrPeople, directory: Slapd) -> None:
    await opened(people, directory)
    odd = row(1, name="O'Neil, (Ada) *\\", email=None)
    odd.employee_no = "A*,(1)\\+x"
    await people.work(odd)
    await people.work(row(2))
    odd.name = "Another"
    await people.work(odd)
    await people.work(odd, state="left")
    assert {task.state for task in await people.tasks()} == {"succeeded"}, (await people.last_task()).error
    (one,) = [one for one in directory.entries().values() if one["uid"] == ["A*,(1)\\+x"]]
    assert (one["cn"], one["employeeNumber"], "pwdAccountLockedTime" in one) == (["Another"], ["A*,(1)\\+x"], True)


@pytest.mark.gen_test(timeout=60)
async def test_our_own_password_refused_stops_the_round(people: HrPeople, directory: Slapd) -> None:
    await opened(people, directory, password="another", concurrency=1)
    await people.work(*(row(number) for number in range(5)))
    tasks = await people.tasks()
    assert [(task.error_class, task.attempts) for task in tasks] == [("refused", 1), *[(None, 0)] * 4]
    assert "another" not in (tasks[0].error or "")


@pytest.mark.gen_test(timeout=60)
async def test_a_directory_that_is_killed_and_comes_back(people: HrPeople, directory: Slapd) -> None:
    await opened(people, directory, timeout_s=2)
    await people.work(row(1))
    await asyncio.to_thread(directory.stop)
    await people.work(row(1, name="While Away"))
    task = await people.last_task()
    assert (task.state, task.error_class, task.attempts) == ("pending", "away", 1)
    await asyncio.to_thread(directory.start)
    await people.make_due()
    await people.process("ldap")
    assert (await people.last_task()).state == "succeeded"
    assert directory.entries()[DN]["cn"] == ["While Away"]
