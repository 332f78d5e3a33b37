"""Ranking: the measures against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from server.knowledge.ranking import by_document, figures, ndcg, recall, reciprocal_rank, success


def test_reciprocal_rank_is_of_the_first_expected() -> None:
    assert reciprocal_rank(["a", "b", "c"], {"b", "c"}) == 0.5
    assert reciprocal_rank(["a"], {"b"}) == 0
    assert reciprocal_rank(list(range(20)), {10}) == 0
    assert reciprocal_rank(list(range(20)), {9}) == pytest.approx(0.1)


def test_recall_is_the_share_of_the_expected() -> None:
    assert recall([1, 2, 3], {2, 9}) == 0.5
    assert recall([1, 2], set()) == 0
    assert recall(list(range(10)), set(range(20))) == 1, "ten places cannot hold more than ten"
    assert recall([1, 1, 2], {1, 2}) == 1


def test_success_is_any_of_the_expected() -> None:
    assert success([1, 2, 3], {3, 9}) == 1
    assert success([1, 2, 3], {3, 9}, depth=2) == 0


def test_ndcg_counts_places() -> None:
    assert ndcg([1, 2], {1, 2}) == pytest.approx(1)
    assert ndcg([9, 1], {1}) == pytest.approx(1 / math.log2(3))
    assert ndcg([1, 9, 2], {1, 2}) == pytest.approx((1 + 0.5) / (1 + 1 / math.log2(3)))
    assert ndcg([1, 1, 1], {1}) == pytest.approx(1), "an item counts once"
    assert ndcg([1], set()) == 0


def test_figures_are_means_over_questions() -> None:
    found = figures([([1, 2], {1}), ([1, 2], {2}), ([1, 2], {3})])
    assert found.questions == 3
    assert found.mrr == pytest.approx(0.5)
    assert found.success == found.recall == pytest.approx(2 / 3)
    assert found.ndcg == pytest.approx((1 + 1 / math.log2(3)) / 3)
    assert figures([]).mrr == 0


def test_documents_come_in_the_order_of_their_best_hit() -> None:
    hits = [("b", 1), ("a", 2), ("b", 3)]
    assert by_document(hits, lambda hit: hit[0]) == [("b", [("b", 1), ("b", 3)]), ("a", [("a", 2)])]
