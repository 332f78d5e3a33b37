"""Ranks with ties, intervals that hold the truth as often as they say, and who is in without a reviewer."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from jobs.cpu.calibration import Model
from jobs.cpu.ranking_intervals import chances, changes, intervals, ranked, ranks, shifts
from tests.unit.cpu.score_samples import made_up


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([70.0, 90.0, 80.0], [3, 1, 2]),
        ([80.0, 90.0, 80.0, 70.0], [2, 1, 2, 4]),
        ([80.0, 80.0, 80.0], [1, 1, 1]),
        ([0.1 + 0.2, 0.3, 0.2], [1, 1, 3]),
        ([], []),
    ],
)
def test_equal_values_share_the_best_of_their_places(values: list[float], expected: list[int]) -> None:
    assert ranks(np.array(values)).tolist() == expected


def test_intervals_and_chances_by_hand() -> None:
    draws = np.array([[3.0, 2.0, 1.0]] * 38 + [[2.0, 3.0, 1.0]] * 2)  # the second is first in two of forty
    low, high = intervals(ranked(draws))
    assert (low.tolist(), high.tolist()) == ([1, 1, 3], [2, 2, 3])
    low, high = intervals(ranked(draws), level=0.8)
    assert (low.tolist(), high.tolist()) == ([1, 2, 3], [1, 2, 3])
    assert chances(ranked(draws), 1).tolist() == pytest.approx([0.95, 0.05, 0])
    assert chances(ranked(draws), 2).tolist() == [1, 1, 0]


def test_shifts_and_changes_by_hand() -> None:
    before, after = np.array([90.0, 80.0, 70.0, 60.0]), np.array([90.0, 69.0, 70.0, 60.0])
    assert shifts(before, after) == (0.5, 1)
    assert changes(before, after, 2) == ([2], [1])
    assert changes(before, after, 1) == changes(before, after, 3) == ([], [])


def test_intervals_hold_the_true_rank_about_as_often_as_they_say() -> None:
    held = []
    with threadpool_limits(limits=1):
        for seed in range(15):
            made = made_up(seed, 40, 10, 3, scale=0.2)
            low, high = intervals(ranked(Model(made.scores).draws(400, seed)))
            true = ranks(made.quality)
            held.append(np.mean((low <= true) & (true <= high)))
    assert 0.88 < np.mean(held) < 1
