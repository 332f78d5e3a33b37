"""A round's results from its scores: tables by hand, whoever gave them in whatever order."""

from __future__ import annotations

import msgspec
import pytest

from jobs.cpu.round_results import Computed, GivenReview, RoundScores, compute_results

# Two mild reviewers (1, 2) and a severe one (3).
GIVEN = [
    (10, 1, 90.0), (10, 2, 88.0),
    (11, 1, 80.0), (11, 3, 62.0),
    (12, 2, 70.0), (12, 3, 50.0),
    (13, 1, 75.0), (13, 2, 73.0),
]  # fmt: skip


def results(given: list[tuple[int, int, float]], accept: int | None = None, pool: tuple[int, ...] = ()) -> Computed:
    reviews = [GivenReview(project, reviewer, total, {"idea": total / 10}) for project, reviewer, total in given]
    projects = sorted({*pool, *(project for project, _, _ in given)})
    answer = compute_results(msgspec.json.encode(RoundScores(projects, ["idea", "plan"], reviews)), accept)
    return msgspec.json.decode(answer, type=Computed)


def test_raw_numbers_by_hand() -> None:
    items = {item.project_id: item for item in results(GIVEN).items}
    assert {number: item.total for number, item in items.items()} == {10: 89, 11: 71, 12: 60, 13: 74}
    assert all(item.raw == item.mean == item.total == item.median and item.reviews == 2 for item in items.values())
    assert items[11].spread == pytest.approx(162**0.5)
    assert {number: item.raw_rank for number, item in items.items()} == {10: 1, 13: 2, 11: 3, 12: 4}


def test_the_severe_reviewer_is_known_and_made_up_for() -> None:
    found = results(GIVEN)
    assert found.method == "reml"
    assert found.why_not_calibrated is None
    assert found.components == 1
    biases = {one.user_id: one.bias or 0 for one in found.reviewers}
    assert biases[3] < -5
    assert min(biases[1], biases[2]) > 0
    assert [item.project_id for item in found.items] == [10, 11, 13, 12]  # 11 passes 13
    for item in found.items:
        assert item.rank
        assert item.rank_low
        assert item.rank_high
        assert item.rank_low <= item.rank <= item.rank_high


def test_the_order_in_which_reviews_come_does_not_matter() -> None:
    assert results(GIVEN, 2) == results(GIVEN[::-1], 2)


def test_projects_without_reviews_come_last_and_say_nothing() -> None:
    found = results(GIVEN, pool=(9, 99))
    assert [item.project_id for item in found.items[-2:]] == [9, 99]
    assert all(item.rank is item.total is item.calibrated is None and item.reviews == 0 for item in found.items[-2:])


def test_a_round_without_reviews_has_results_too() -> None:
    found = results([], 3, pool=(1, 2))
    assert (found.reviews, found.alpha, found.reviewers, found.method) == (0, None, [], "raw")
    assert [item.rank for item in found.items] == [None, None]


def test_what_cannot_be_calibrated_stays_raw_with_any_rank_possible() -> None:
    found = results([(1, 7, 80.0), (2, 8, 60.0), (3, 8, 60.0)])
    assert (found.method, found.why_not_calibrated, found.components) == ("raw", "too_few", 2)
    assert [(item.project_id, item.calibrated, item.rank, item.rank_low, item.rank_high) for item in found.items] == [
        (1, 80, 1, 1, 3),
        (2, 60, 2, 1, 3),
        (3, 60, 2, 1, 3),
    ]


def test_who_is_in_and_whether_one_less_would_change_it() -> None:
    found = results(GIVEN, 1)
    assert [item.project_id for item in found.items if item.accepted] == [10]
    assert found.one_less_changes_outcome is False
    close = results([(1, 1, 80.0), (1, 2, 60.0), (2, 1, 60.0), (2, 2, 79.0), (3, 1, 40.0), (3, 2, 41.0)], 1)
    assert close.one_less_changes_outcome is True
    [deciding] = [one for one in close.reviewers if one.changes_outcome]
    assert (deciding.user_id, deciding.comes_in, deciding.falls_out) == (1, [2], [1])
    assert all(item.accept_chance is not None and 0 <= item.accept_chance <= 1 for item in close.items)


def test_without_a_cut_nothing_is_said_of_it() -> None:
    found = results(GIVEN)
    assert found.one_less_changes_outcome is None
    assert all(item.accepted is item.accept_chance is None for item in found.items)


def test_agreement_of_totals_and_by_criterion() -> None:
    found = results(GIVEN)
    idea, plan = found.criteria
    assert found.alpha is not None
    assert idea.alpha == pytest.approx(found.alpha, abs=1e-6)
    assert (idea.mean, plan.mean, plan.alpha) == (pytest.approx(7.35), None, None)
