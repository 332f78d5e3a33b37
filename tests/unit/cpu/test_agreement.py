"""Krippendorff's alpha and the plain numbers, against published and hand-computed tables."""

from __future__ import annotations

import pytest

from jobs.cpu.agreement import alpha, by_unit, summary

# K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: four observers, twelve units, 0 for a missing value.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3),
    (0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0),
)


def test_alpha_of_krippendorffs_own_example() -> None:
    units = by_unit((unit, float(value)) for observer in OBSERVERS for unit, value in enumerate(observer) if value)
    assert alpha(units) == pytest.approx(0.849, abs=0.0005)


def test_alpha_by_hand() -> None:
    # Two units: D_o = Σ 2m/(m−1)·SS / n = (4·0.5 + 4·2) / 4 = 2.5; all four have the mean 2.75 and SS = 8.75,
    # D_e = 2·8.75 / 3.
    assert alpha({1: [1, 2], 2: [3, 5]}) == pytest.approx(1 - 2.5 / (17.5 / 3))


def test_alpha_of_full_agreement_is_one_and_of_disagreement_below_zero() -> None:
    assert alpha({1: [80, 80], 2: [60, 60, 60]}) == 1
    disagreeing = alpha({1: [60, 80], 2: [80, 60]})
    assert disagreeing is not None
    assert disagreeing < 0


def test_alpha_needs_something_to_compare() -> None:
    assert alpha({}) is None
    assert alpha({1: [80], 2: [60]}) is None
    assert alpha({1: [70, 70], 2: [70, 70]}) is None


def test_units_with_one_score_are_left_out() -> None:
    assert alpha({1: [1, 2], 2: [3, 5], 3: [100]}) == alpha({1: [1, 2], 2: [3, 5]})


@pytest.mark.parametrize(
    ("scores", "mean", "median", "spread"),
    [
        ([84.0], 84, 84, None),
        ([80.0, 90.0], 85, 85, 50**0.5),  # squares about the mean: 25 + 25, over 1
        ([70.0, 80.0, 96.0], 82, 80, 172**0.5),  # 144 + 4 + 196 = 344, over 2
        ([2.0, 4.0, 4.0, 6.0], 4, 4, (8 / 3) ** 0.5),
    ],
)
def test_mean_median_and_standard_deviation(scores: list[float], mean: float, median: float, spread: float | None) -> None:
    found = summary(scores)
    assert (found.mean, found.median) == pytest.approx((mean, median))
    assert found.spread == (None if spread is None else pytest.approx(spread))
