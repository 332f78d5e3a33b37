"""Plans of departments: which change, and in which order; the codes of their organizations."""

from __future__ import annotations

from server.people.hr.departments import GONE, THERE, Known, compare, organization_code
from server.people.hr.person_row import DepartmentRow, row_hash


def tree(*rows: tuple[str, str | None], state: str = THERE, name: str = "部门") -> dict[str, Known]:
    made = [DepartmentRow(code=code, name=f"{name}{code}", parent_code=parent) for code, parent in rows]
    return {row.code: Known(row, row_hash(row), state) for row in made}


def said(known: dict[str, Known], named: dict[str, Known]) -> list[tuple[str, str, str]]:
    first, last = compare(known, named)
    return [(one.kind.value, one.rule, one.code) for one in [*first, *last]]


def test_parents_come_first_however_they_are_named() -> None:
    named = tree(("a", "z"), ("m", "a"), ("z", None))
    assert [code for _, _, code in said({}, named)] == ["z", "a", "m"]


def test_each_difference_has_its_rule() -> None:
    known = tree(("a", None), ("b", "a"), ("c", "a"), ("d", None))
    named = tree(("a", None), ("b", None)) | tree(("c", "a"), name="系")
    assert said(known, named) == [
        ("move", "department_moved", "b"),
        ("update", "department_renamed", "c"),
        ("disable", "department_gone", "d"),
    ]
    assert said(known, known) == []


def test_one_that_is_gone_is_not_told_again_and_may_come_back() -> None:
    known = tree(("a", None), state=GONE)
    assert said(known, {}) == []
    assert said(known, tree(("a", None))) == [("revive", "department_back", "a")]


def test_two_that_change_places_are_moved_from_the_top() -> None:
    known = tree(("a", None), ("b", "a"))
    assert said(known, tree(("b", None), ("a", "b"))) == [("move", "department_moved", "b"), ("move", "department_moved", "a")]


def test_codes_of_organizations_stay_short_and_differ() -> None:
    assert organization_code(3, "D001") == "hr3-D001"
    one, other = organization_code(3, 60 * "x" + "0001"), organization_code(3, 60 * "x" + "0002")
    assert len(one) == len(other) == 64
    assert one != other
