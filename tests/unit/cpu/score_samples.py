"""Rounds made up from a known truth."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jobs.cpu.calibration import Scores

Array = np.ndarray[Any, np.dtype[Any]]


class Round(NamedTuple):
    """What projects deserve, how lenient reviewers are, and what they gave."""

    quality: Array
    leniency: Array
    scores: Scores


def made_up(
    seed: int,
    projects: int,
    reviewers: int,
    each: int,
    *,
    quality: float = 6.0,
    leniency: float = 5.0,
    noise: float = 4.0,
    scale: float = 0.0,
    mean: float = 70.0,
) -> Round:
    """A round of `each` reviews a project, drawn from the model; the other numbers are standard deviations (of log scale)."""
    random = np.random.default_rng(seed)
    deserved, lenient = random.normal(0, quality, projects), random.normal(0, leniency, reviewers)
    scales = np.exp(random.normal(0, scale, reviewers))
    project = np.repeat(np.arange(projects), each)
    reviewer = np.concatenate([random.choice(reviewers, each, replace=False) for _ in range(projects)])
    given = mean + deserved[project] * scales[reviewer] + lenient[reviewer] + random.normal(0, noise, len(project))
    used = np.unique(reviewer)
    return Round(deserved, lenient[used], Scores(project, np.searchsorted(used, reviewer), given, projects, len(used)))


def means(scores: Scores) -> Array:
    """The raw scores: means by project."""
    counts = np.bincount(scores.project, minlength=scores.projects)
    mean: Array = np.bincount(scores.project, scores.score, scores.projects) / counts
    return mean


def rank_correlation(one: Array, other: Array) -> float:
    """Spearman's, for values without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])
