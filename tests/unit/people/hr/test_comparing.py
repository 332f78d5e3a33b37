"""What a plan says of one person: by state, date, department and hash."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from server.people.hr.comparing import Seen, compared
from server.people.hr.person_row import PersonRow, row_hash
from server.people.hr.states import PersonState, person_state

TODAY = date(2026, 3, 2)
ACTIVE, LATER, LEFT, GONE = PersonState.ACTIVE, PersonState.LATER, PersonState.LEFT, PersonState.GONE


def seen(state: PersonState, **more: Any) -> Seen:
    row = PersonRow(employee_no="E1", name=more.pop("name", "张三"), **more)
    return Seen(state, row, row_hash(row))


@pytest.mark.parametrize(
    ("fields", "early_days", "state"),
    [
        ({}, 0, ACTIVE),
        ({"status": "left"}, 0, LEFT),
        ({"end_date": "2026-03-02"}, 0, ACTIVE),
        ({"end_date": "2026-03-01"}, 0, LEFT),
        ({"start_date": "2026-03-03"}, 0, LATER),
        ({"start_date": "2026-03-03"}, 1, ACTIVE),
        ({"start_date": "2026-03-09", "end_date": "2026-03-01"}, 0, LEFT),
    ],
)
def test_the_state_of_a_row_follows_its_dates(fields: dict[str, Any], early_days: int, state: PersonState) -> None:
    assert person_state(PersonRow(employee_no="E1", name="n", **fields), TODAY, early_days) is state


@pytest.mark.parametrize(
    ("before", "after", "kind", "rule"),
    [
        (seen(ACTIVE), seen(LEFT, status="left"), "disable", "left_status"),
        (seen(ACTIVE, end_date="2026-03-01"), seen(LEFT, end_date="2026-03-01"), "disable", "end_date_passed"),
        (seen(ACTIVE), seen(LATER, start_date="2026-04-01"), "disable", "starts_later"),
        (seen(LATER, start_date="2026-03-02"), seen(ACTIVE, start_date="2026-03-02"), "update", "started"),
        (seen(GONE), seen(ACTIVE), "revive", "reappeared"),
        (seen(LEFT, status="left"), seen(ACTIVE), "revive", "reappeared"),
        (seen(ACTIVE, department_code="D1"), seen(ACTIVE, department_code="D2"), "move", "moved"),
        (seen(ACTIVE), seen(ACTIVE, name="李四"), "update", "changed"),
        (seen(GONE, status="left"), seen(LEFT, status="left"), "update", "left_status"),
    ],
)
def test_each_difference_has_its_rule(before: Seen, after: Seen, kind: str, rule: str) -> None:
    found = compared(before, after)
    assert found is not None
    assert (found.kind.value, found.rule) == (kind, rule)


@pytest.mark.parametrize("state", [ACTIVE, LATER, LEFT])
def test_who_is_as_before_is_left_alone(state: PersonState) -> None:
    assert compared(seen(state), seen(state)) is None
