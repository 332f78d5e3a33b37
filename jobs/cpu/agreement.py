"""How far reviewers agree: Krippendorff's alpha, and mean, median and standard deviation of the scores of one thing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Summary(NamedTuple):
    """Of the scores of one thing; the standard deviation is that of a sample (n − 1), None for a single score."""

    mean: float
    median: float
    spread: float | None


def summary(scores: Sequence[float]) -> Summary:
    """Mean, median and standard deviation; at least one score."""
    spread = math.sqrt(_squares(scores) / (len(scores) - 1)) if len(scores) > 1 else None
    return Summary(math.fsum(scores) / len(scores), statistics.median(scores), spread)


def by_unit(pairs: Iterable[tuple[int, float]]) -> dict[int, list[float]]:
    """Scores by what they were given to."""
    found: dict[int, list[float]] = {}
    for unit, score in pairs:
        found.setdefault(unit, []).append(score)
    return found


def alpha(units: Mapping[int, Sequence[float]]) -> float | None:
    """Krippendorff's alpha with the interval metric, 1 − D_o / D_e: 1 for full agreement, 0 for what chance gives, below 0 for less.

    Units with a single score cannot be compared and are left out. None when nothing can be compared or all scores are equal.

    With the metric (c − k)² the sums over pairs of values are sums of squares about means, for ordered pairs of m values
    Σ (x_i − x_j)² = 2 m Σ (x − mean)², so that no matrix of coincidences is needed: totals hardly ever repeat, and it would have as many
    rows as there are scores. K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section E.
    """
    compared = [list(scores) for scores in units.values() if len(scores) > 1]
    values = [score for scores in compared for score in scores]
    if not values or min(values) == max(values):
        return None
    n = len(values)
    within = math.fsum(2 * len(scores) / (len(scores) - 1) * _squares(scores) for scores in compared) / n
    between = 2 * _squares(values) / (n - 1)
    return 1 - within / between


def _squares(values: Sequence[float]) -> float:
    """The sum of squares about the mean."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)
