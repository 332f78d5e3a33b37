"""A person as HR says them: the hash tells changes, and the dates tell who works."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from server.people.hr.person_row import PersonRow, Position, email_key, is_active, problems_of, row_hash

TODAY = date(2026, 9, 1)


def row(**more: object) -> PersonRow:
    return PersonRow(employee_no="E1", name="李雷", **more)  # type: ignore[arg-type]


def test_the_same_content_has_the_same_hash_whatever_the_order() -> None:
    first = row(extra={"a": "1", "b": "2"}, positions=[Position(title="讲师")])
    again = msgspec.convert(msgspec.to_builtins(row(extra={"b": "2", "a": "1"}, positions=[Position(title="讲师")])), PersonRow)
    assert row_hash(first) == row_hash(again)
    assert len(row_hash(first)) == 64


@pytest.mark.parametrize("change", [{"name": "韩梅梅"}, {"title": "教授"}, {"extra": {"a": ""}}, {"positions": [Position()]}])
def test_any_change_changes_the_hash(change: dict[str, object]) -> None:
    assert row_hash(msgspec.structs.replace(row(), **change)) != row_hash(row())


@pytest.mark.parametrize(
    ("given", "early_days", "active"),
    [
        ({}, 0, True),
        ({"status": "left"}, 0, False),
        ({"start_date": "2026-09-01"}, 0, True),
        ({"start_date": "2026-09-02"}, 0, False),
        ({"start_date": "2026-09-08"}, 7, True),
        ({"start_date": "2026-09-09"}, 7, False),
        ({"end_date": "2026-09-01"}, 0, True),
        ({"end_date": "2026-08-31"}, 0, False),
        ({"end_date": "2026-08-31", "start_date": "2026-01-01"}, 30, False),
    ],
)
def test_who_works_today(given: dict[str, object], early_days: int, active: bool) -> None:
    assert is_active(row(**given), TODAY, early_days) is active


def test_mail_addresses_are_compared_without_case() -> None:
    assert email_key("Li.Lei@Example.edu.CN") == "li.lei@example.edu.cn"
    assert email_key(None) is None


def test_what_was_left_out_is_told() -> None:
    assert problems_of(row(extra={"_problems": "email,end_date"})) == ["email", "end_date"]
    assert problems_of(row()) == []
