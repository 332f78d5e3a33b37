"""What is to be done about an account, and how a failure goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from server.people.hr.account_tasks import Wanted, operation_for
from server.people.hr.desired import Desired
from server.people.hr.targets.deciding import check_result, decide, differences
from server.people.hr.targets.errors import LONGEST_WAIT_S, POLICIES, ErrorClass, TargetError, wait_s
from server.people.hr.targets.target import Found, Operation

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def desired(*, active: bool = True, name: str = "Ada") -> Desired:
    return Desired(active=active, employee_no="7", username="ada", name=name)


def found(*, active: bool = True, name: str | None = "Ada", employee_no: str | None = "7") -> Found:
    return Found(external_id="x", employee_no=employee_no, username="ada", active=active, fields={"name": name})


@pytest.mark.parametrize(
    ("operation", "wanted", "there", "attempt", "write", "adopts"),
    [
        ("create", desired(), None, 1, "create", False),
        ("update", desired(), None, 1, "create", False),
        ("create", desired(), found(), 1, None, True),
        ("create", desired(), found(), 2, None, False),
        ("create", desired(), found(name="Bea"), 1, "update", True),
        ("create", desired(), found(active=False), 1, "revive", True),
        ("update", desired(), found(), 1, None, False),
        ("disable", desired(active=False), found(), 1, "disable", False),
        ("disable", desired(active=False), found(active=False), 1, None, False),
        ("disable", desired(active=False), None, 1, None, False),
        ("disable", desired(active=False), found(employee_no="8"), 1, None, False),
    ],
)
def test_decisions(operation: str, wanted: Desired, there: Found | None, attempt: int, write: str | None, adopts: bool) -> None:
    step = decide(Operation(operation), wanted, there, attempt=attempt)
    assert (step.write, step.adopts) == (write, adopts)


@pytest.mark.parametrize("employee_no", ["8", None])
def test_somebody_elses_account_is_a_conflict(employee_no: str | None) -> None:
    with pytest.raises(TargetError) as refused:
        decide(Operation.UPDATE, desired(), found(employee_no=employee_no), attempt=1)
    assert refused.value.error_class is ErrorClass.CONFLICT


@pytest.mark.parametrize(
    ("wanted", "after", "holds"),
    [
        (desired(), found(), True),
        (desired(), found(name=" Ada "), True),
        (desired(), found(name="Bea"), False),
        (desired(), found(active=False), False),
        (desired(), None, False),
        (desired(active=False), None, True),
        (desired(active=False), found(active=False, name="Bea"), True),
        (desired(active=False), found(), False),
    ],
)
def test_what_is_read_back_decides(wanted: Desired, after: Found | None, holds: bool) -> None:
    if holds:
        check_result(wanted, after)
        return
    with pytest.raises(TargetError) as refused:
        check_result(wanted, after)
    assert refused.value.error_class is ErrorClass.NOT_EFFECTIVE


def test_empty_and_missing_are_the_same() -> None:
    assert differences(desired(name=""), found(name=None)) == []
    assert differences(desired(), Found(external_id="x", employee_no="7", username=None, active=True)) == []


def task(state: str, *, hash: str = "h", attempts: int = 0, ended_at: datetime | None = None) -> Any:
    return SimpleNamespace(state=state, hash=hash, attempts=attempts, run_at=NOON, created_at=NOON, ended_at=ended_at)


def account(state: str = "active", hash: str = "same") -> Any:
    return SimpleNamespace(state=state, hash=hash, verified_at=NOON)


@pytest.mark.parametrize(
    ("active", "known", "tasks", "adopted", "operation"),
    [
        (True, None, [], False, "create"),
        (True, account(), [], False, None),
        (True, account(hash="other"), [], False, "update"),
        (True, account("disabled"), [], False, "revive"),
        (False, account(), [], False, "disable"),
        (False, account("disabled"), [], False, None),
        (False, None, [], False, None),
        (False, None, [], True, "disable"),
        # An attempt may have done its work.
        (False, None, [task("pending")], False, None),
        (False, None, [task("pending", attempts=1)], False, "disable"),
        (False, None, [task("running", attempts=1)], False, "disable"),
        (False, None, [task("dead", attempts=8, ended_at=NOON)], False, "disable"),
        (True, account(), [task("running", attempts=1)], False, "update"),
        (True, account(), [task("dead", attempts=8, ended_at=NOON + timedelta(hours=1))], False, "update"),
        (True, account(), [task("dead", attempts=8, ended_at=NOON - timedelta(hours=1))], False, None),
        (False, account("disabled"), [task("running", attempts=1)], False, "disable"),
    ],
)
def test_tasks(active: bool, known: Any, tasks: list[Any], adopted: bool, operation: str | None) -> None:
    wanted = Wanted(1, 1, desired(active=active), "same", adopted, None)
    assert operation_for(wanted, known, tasks) == operation


def test_waits_double_up_to_an_hour() -> None:
    assert [wait_s(ErrorClass.AWAY, attempt, 1.0) for attempt in (1, 2, 3)] == [30, 60, 120]
    assert wait_s(ErrorClass.AWAY, 3, 0.0) == 60
    assert wait_s(ErrorClass.AWAY, 50, 1.0) == LONGEST_WAIT_S
    assert set(POLICIES) == set(ErrorClass)
