"""From ranked lists to the figures of an evaluation."""

from __future__ import annotations

import math

import pytest

from server.knowledge.eval_figures import Answered, ModeFigures, by_kind, distinct, measured, rank, ranks, table


def answered(kind: str = "", keyword: str = "", dense: str = "", hybrid: str = "", expected: str = "x", question: str = "q") -> Answered:
    """Every letter is an item."""
    return Answered(question, kind, frozenset(expected), {"keyword": list(keyword), "dense": list(dense), "hybrid": list(hybrid)})


def test_passages_of_a_page_are_one_result() -> None:
    assert distinct([(1, 7), (1, 7), (2, 7), (1, 7), (1, 8)]) == [(1, 7), (2, 7), (1, 8)]
    assert distinct(range(40)) == list(range(10))


def test_a_rank_is_that_of_the_first_expected_item() -> None:
    assert rank(list("abxy"), frozenset("yx")) == 3
    assert rank(list("abcdefghijx"), frozenset("x")) is None
    assert rank([], frozenset("x")) is None


def test_each_mode_has_its_own_figures() -> None:
    row = measured([answered(keyword="x", dense="ax", hybrid="abcx"), answered(keyword="a", dense="x", hybrid="x")])
    assert row.questions == 2
    assert (row.keyword.mrr, row.dense.mrr, row.hybrid.mrr) == (0.5, 0.75, 0.625)
    assert (row.keyword.recall, row.dense.recall) == (0.5, 1.0)
    assert row.dense.ndcg == pytest.approx((1 + 1 / math.log2(3)) / 2, abs=1e-4)


def test_several_expected_items_count_for_recall() -> None:
    row = measured([answered(keyword="xa", dense="xyz", hybrid="ayx", expected="xy")])
    assert (row.keyword.recall, row.dense.recall, row.hybrid.mrr) == (0.5, 1.0, 0.5)
    assert (row.keyword.found, row.dense.found) == (1.0, 1.0)


def test_kinds_are_told_apart_in_their_order() -> None:
    rows = by_kind([answered("b", keyword="x"), answered("a"), answered("b")])
    assert list(rows) == ["b", "a"]
    assert (rows["b"].keyword.mrr, rows["b"].questions, rows["a"].keyword.mrr) == (0.5, 2, 0.0)


def test_no_question_has_no_figures_that_are_not_numbers() -> None:
    assert measured([]).hybrid.mrr == 0.0


@pytest.mark.parametrize(("hybrid", "holds"), [(0.5, True), (0.481, True), (0.479, False), (0.9, True)])
def test_hybrid_holds_within_the_tolerance_of_the_better_half(hybrid: float, holds: bool) -> None:
    row = measured([answered()])
    low, best = row.keyword, row.keyword.__class__(0.5, 0, 0, 0)
    for keyword, dense in ((low, best), (best, low)):
        made = ModeFigures(1, keyword, dense, low.__class__(hybrid, 0, 0, 0))
        assert made.holds is holds
        assert ("UNDER" in table({"k": made}, "kind")[-1]) is not holds


def test_ranks_show_which_question_fails_in_which_mode() -> None:
    [one] = ranks([answered("k", keyword="ax", dense="", hybrid="x", question="长" * 900)])
    assert (one.kind, one.keyword, one.dense, one.hybrid, len(one.question)) == ("k", 2, None, 1, 200)


def test_the_table_has_every_mode_of_every_kind() -> None:
    lines = table(by_kind([answered("headings", keyword="x"), answered("sentences", dense="x")]), "kind")
    assert len(lines) == 1 + 2 * 4
    assert lines[1].split() == ["headings", "1", "keyword", "1.000", "1.000", "1.000", "1.000"]
    assert lines[6].split() == ["dense", "1.000", "1.000", "1.000", "1.000"]
