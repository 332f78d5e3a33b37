"""Budgets as sheets write them, and ranks fused."""

from __future__ import annotations

import pytest

from server.projects.project_search import fused
from server.projects.project_sheets import WrongBudget, budget_text, read_budget

LINES = [{"what": "books", "amount": 120050}, {"what": "a: b", "amount": 0}]


def test_a_budget_is_read_as_it_is_written() -> None:
    assert budget_text(LINES) == "books: 1200.50; a: b: 0.00"
    assert read_budget(budget_text(LINES)) == LINES
    assert read_budget("图书：1,200.5\n差旅：3；") == [{"what": "图书", "amount": 120050}, {"what": "差旅", "amount": 300}]
    assert read_budget("") == []


@pytest.mark.parametrize(
    "written", ["12", "books:", "books: much", "books: -1", "books: 1.005", "books: NaN", "books: Infinity", "x: 1e30"]
)
def test_what_is_no_budget_is_refused(written: str) -> None:
    with pytest.raises(WrongBudget):
        read_budget(written)


def test_who_is_high_in_both_lists_comes_first() -> None:
    ranked = fused({"words": [1, 2, 3], "meaning": [2, 1, 4]})
    assert [one for one, _, _ in ranked] == [1, 2, 3, 4]
    assert ranked[0][1] == ranked[1][1]
    assert fused({"words": [7]}) == [(7, 1.0, ["words"])]
    assert fused({}) == []
