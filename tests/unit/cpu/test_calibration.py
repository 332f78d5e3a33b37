"""Calibrated scores come nearer to a known truth than raw ones, and say where they cannot."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from jobs.cpu.calibration import Model, Scores
from tests.unit.cpu.score_samples import Array, Round, made_up, means, rank_correlation

SEEDS = range(12)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(limits=1):
        yield


def gain(rounds: list[Round]) -> float:
    """By how much the rank correlation with the truth rises over that of raw scores, on average."""
    risen = [
        rank_correlation(Model(made.scores).calibrated()[0], made.quality) - rank_correlation(means(made.scores), made.quality)
        for made in rounds
    ]
    return float(np.mean(risen))


def by_hand(project: list[int], reviewer: list[int], score: list[float]) -> Scores:
    return Scores(np.array(project), np.array(reviewer), np.array(score), max(project) + 1, max(reviewer) + 1)


def test_with_biased_reviewers_the_order_comes_nearer_to_the_truth() -> None:
    assert gain([made_up(seed, 60, 12, 3) for seed in SEEDS]) > 0.04


def test_so_it_does_when_reviewers_use_other_scales_too() -> None:
    assert gain([made_up(seed, 60, 12, 3, scale=0.4) for seed in SEEDS]) > 0.04


def test_with_reviewers_who_are_alike_little_is_lost() -> None:
    assert gain([made_up(seed, 60, 12, 3, leniency=0.0) for seed in SEEDS]) > -0.01


def test_in_a_small_round_nothing_is_lost() -> None:
    assert gain([made_up(seed, 12, 4, 2) for seed in range(30)]) > -0.005


def test_leniency_is_found() -> None:
    made = made_up(1, 200, 20, 3)
    biases, errors = Model(made.scores).leniencies()
    away = (biases - made.leniency) - np.mean(biases - made.leniency)  # a shift of all is quality
    assert np.abs(away).max() < 3
    assert np.mean(np.abs(away) < 2 * errors) > 0.8


def test_a_daring_reviewer_is_told_from_a_timid_one() -> None:
    random = np.random.default_rng(5)
    deserved, scales = random.normal(0, 8, 60), np.array([0.5, 1.0, 2.0])
    project, reviewer = np.repeat(np.arange(60), 3), np.tile(np.arange(3), 60)
    given = 70 + deserved[project] * scales[reviewer] + random.normal(0, 2, 180)
    found = Model(Scores(project, reviewer, given, 60, 3)).scales
    assert found[1] / found[0] == pytest.approx(2, rel=0.2)
    assert found[2] / found[1] == pytest.approx(2, rel=0.2)


def test_standard_deviations_are_about_those_that_were_put_in() -> None:
    found = [Model(made_up(seed, 300, 30, 3).scores).variances() for seed in range(4)]
    average = {name: np.mean([one[name] for one in found]) for name in found[0]}
    assert average == {"quality": pytest.approx(6, rel=0.15), "leniency": pytest.approx(5, rel=0.25), "noise": pytest.approx(4, rel=0.1)}


def test_the_severe_reviewers_project_is_raised() -> None:
    # 0 and 1 were both read by the mild reviewer 0; 2 by the severe one, who took 20 points off everything, with 1 and 3.
    scores = by_hand([0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 0, 1, 1, 2, 0, 2], [90, 70, 80, 60, 68, 69, 88, 89])
    raw, calibrated = means(scores), Model(scores).calibrated()[0]
    assert raw[2] < raw[0]
    assert calibrated[2] - calibrated[0] > raw[2] - raw[0]


def test_projects_with_the_same_scores_of_the_same_reviewers_tie() -> None:
    made = made_up(3, 20, 6, 3).scores
    twin = made.project == 0
    scores = Scores(
        np.append(made.project, np.full(twin.sum(), 20)),
        np.append(made.reviewer, made.reviewer[twin]),
        np.append(made.score, made.score[twin]),
        21,
        made.reviewers,
    )
    found = Model(scores).calibrated()[0]
    assert found[20] == pytest.approx(found[0], abs=1e-9)


def test_units_and_origin_of_scores_do_not_matter() -> None:
    made = made_up(4, 40, 8, 3).scores
    other = Scores(made.project, made.reviewer, 3 + made.score / 100, made.projects, made.reviewers)
    assert Model(other).calibrated()[0] == pytest.approx(3 + Model(made).calibrated()[0] / 100, abs=1e-4)


def test_the_same_scores_give_the_same_results() -> None:
    first, second = (Model(made_up(6, 40, 8, 3).scores) for _ in range(2))
    assert np.array_equal(first.calibrated()[0], second.calibrated()[0])
    assert np.array_equal(first.draws(20, 7), second.draws(20, 7))


def test_leaving_a_reviewer_out_is_what_solving_without_the_scores_gives() -> None:
    model = Model(made_up(7, 30, 6, 3).scores)
    for reviewer in range(6):
        assert model.without(reviewer) == pytest.approx(solved_densely(model, model.scores.reviewer != reviewer), abs=1e-8)


def test_predictions_are_the_best_linear_unbiased_ones() -> None:
    model = Model(made_up(8, 30, 6, 3).scores)
    assert model.quality == pytest.approx(solved_densely(model, np.ones(90, dtype=bool)), abs=1e-8)


def solved_densely(model: Model, kept: Array) -> Array:
    """θ by generalized least squares, τ² Z' V⁻¹ (y − 1 μ), with V written out."""
    scores, spreads = model.scores, model.variances()
    at, who = scores.project[kept], scores.reviewer[kept]
    quality, leniency, noise = ((spreads[name] / model.unit) ** 2 for name in ("quality", "leniency", "noise"))
    z = np.zeros((len(at), scores.projects))
    z[np.arange(len(at)), at] = model.scales[who]
    variance = quality * z @ z.T + leniency * (who[:, None] == who[None, :]) + noise * np.eye(len(at))
    inverse = np.linalg.inv(variance)
    y = model.y[kept]
    mean = (inverse @ y).sum() / inverse.sum()
    found: Array = quality * z.T @ inverse @ (y - mean)
    return found


def test_draws_spread_as_the_standard_errors_say() -> None:
    model = Model(made_up(9, 20, 5, 3).scores)
    drawn = model.draws(4000, 1)
    assert drawn.mean(0) == pytest.approx(model.quality, abs=0.06)
    about = model.unit * (drawn - drawn.mean(0)).std(0)
    assert np.all(about < 2 * model.calibrated()[1])
    assert np.all(about > 0)


def test_parts_without_a_common_reviewer_are_counted() -> None:
    scores = by_hand([0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 0, 1, 2, 3, 2, 3], [80, 70, 75, 66, 90, 85, 60, 59])
    count, parts = scores.components()
    assert count == 2
    assert parts[0] == parts[1] != parts[2] == parts[3]
    assert scores.why_not() is None
    assert len(Model(scores).calibrated()[0]) == 4


@pytest.mark.parametrize(
    ("project", "reviewer", "score", "why"),
    [
        ([0], [0], [80.0], "too_few"),
        ([0, 0, 0], [0, 1, 2], [80.0, 70.0, 75.0], "too_few"),  # one project
        ([0, 1, 2], [0, 0, 0], [80.0, 70.0, 75.0], "too_few"),  # one reviewer
        ([0, 1, 2], [0, 1, 2], [80.0, 70.0, 75.0], "too_few"),  # nobody read what another read
        ([0, 0, 1], [0, 1, 1], [80.0, 70.0, 75.0], "too_few"),  # a chain: each difference can be either
        ([0, 0, 1, 1], [0, 1, 0, 1], [80.0, 80.0, 80.0, 80.0], "all_equal"),
        ([0, 0, 1, 1], [0, 1, 0, 1], [80.0, 70.0, 75.0, 66.0], None),
    ],
)
def test_it_is_said_when_reviewers_cannot_be_calibrated(
    project: list[int], reviewer: list[int], score: list[float], why: str | None
) -> None:
    assert by_hand(project, reviewer, score).why_not() == why


def test_full_agreement_is_no_trouble() -> None:
    scores = by_hand([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [80, 80, 70, 70, 60, 60])
    found, errors = Model(scores).calibrated()
    assert found == pytest.approx([80, 70, 60], abs=1)
    assert np.all(np.isfinite(errors))
