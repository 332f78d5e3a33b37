"""Matching a newcomer by mail: adopted only when nothing speaks against it."""

from __future__ import annotations

import pytest

from server.people.hr.matching import ADOPTED, DISABLED, LINKED, NEW, PROTECTED, SERVICE, SEVERAL, Account, Match, by_decision, match

FREE = Account(7, None)


def test_no_mail_or_no_account_is_somebody_new() -> None:
    assert match(None, 1, FREE) == Match(NEW)
    assert match("a@x.cn", 1, None) == Match(NEW)
    assert match("a@x.cn", 2, None) == Match(NEW)


def test_one_row_and_one_free_account_belong_together() -> None:
    assert match("a@x.cn", 1, FREE) == Match(ADOPTED, user_id=7)


@pytest.mark.parametrize("against", [LINKED, PROTECTED, DISABLED, SERVICE])
def test_what_speaks_against_an_account_makes_it_a_question(against: str) -> None:
    found = match("a@x.cn", 1, Account(7, against))
    assert (found.rule, found.user_id, found.candidates) == (against, None, (7,))
    assert found.asks


def test_two_rows_with_the_mail_are_a_question() -> None:
    assert match("a@x.cn", 2, FREE) == Match(SEVERAL, candidates=(7,))


def test_a_decision_names_the_account_or_a_new_one_or_nobody() -> None:
    assert by_decision({"skip": True}) is None
    assert by_decision({"user_id": 9}) == Match("decided", user_id=9)
    assert by_decision({"create": True}) == Match("decided")
