"""The results of a round from its scores, as they are kept: everything about projects, reviewers and criteria that needs arithmetic.

Runs in a worker process; what goes in and out is JSON, so that the server never unpacks thousands of things at a time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jobs.cpu.agreement import alpha, by_unit, summary

SEED = 20131
DIGITS = 6


class GivenReview(msgspec.Struct, array_like=True):
    """One submitted review: its total, and its scores by criterion."""

    project_id: int
    reviewer_id: int
    total: float
    scores: dict[str, float]


class RoundScores(msgspec.Struct):
    """A round: its projects, whether reviewed or not, the names of its criteria, and what was given."""

    projects: list[int]
    criteria: list[str]
    reviews: list[GivenReview]


class ProjectResult(msgspec.Struct, kw_only=True):
    """One project; everything is None that its reviews do not tell.

    `total` and `raw` are the mean over its reviews of their totals, `calibrated` what a reviewer of mean leniency and scale would give and
    `error` its standard error; ranks are by `calibrated` (1 is best, equal ones share a place), from `rank_low` to `rank_high` with the
    probability that the round's `level` says. `component`: which projects share no reviewer with others.
    """

    project_id: int
    reviews: int
    total: float | None = None
    raw: float | None = None
    calibrated: float | None = None
    error: float | None = None
    mean: float | None = None
    median: float | None = None
    spread: float | None = None
    rank: int | None = None
    raw_rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    component: int | None = None
    accepted: bool | None = None
    accept_chance: float | None = None


class ReviewerResult(msgspec.Struct, kw_only=True):
    """One reviewer: `bias` in points (above 0 lenient, below 0 severe) with its standard error, `scale` (above 1 spreads scores more).

    `mean_shift` and `most_shift`: by how many places projects move without this reviewer's scores; `comes_in` and `falls_out`: the
    projects whose acceptance that would change.
    """

    user_id: int
    reviews: int
    mean: float
    bias: float | None = None
    bias_error: float | None = None
    scale: float | None = None
    mean_shift: float = 0
    most_shift: int = 0
    changes_outcome: bool | None = None
    comes_in: list[int] = []
    falls_out: list[int] = []


class CriterionResult(msgspec.Struct, kw_only=True):
    """One criterion over all reviews."""

    name: str
    mean: float | None
    spread: float | None
    alpha: float | None


class Computed(msgspec.Struct, kw_only=True):
    """A round. `method`: reml, or raw when reviewers cannot be calibrated, with the reason (too_few, all_equal, too_many).

    `deviations`: the standard deviations of quality, leniency and noise in points. `one_less_changes_outcome`: whether there is a reviewer
    without whom others would be accepted.
    """

    items: list[ProjectResult]
    reviewers: list[ReviewerResult]
    criteria: list[CriterionResult]
    reviews: int
    alpha: float | None
    method: str
    why_not_calibrated: str | None
    components: int
    level: float
    deviations: dict[str, float]
    accept: int | None
    one_less_changes_outcome: bool | None


def compute_results(scores: bytes, accept: int | None) -> bytes:
    """Computed as JSON, from RoundScores as JSON; `accept`: how many projects are to be taken."""
    from threadpoolctl import threadpool_limits

    given = msgspec.json.decode(scores, type=RoundScores)
    given.reviews.sort(key=lambda review: (review.project_id, review.reviewer_id))
    with threadpool_limits(
        limits=1
    ):  # a slot is one processor, and threads that wait for one another on a full machine take ten times as long
        return msgspec.json.encode(_compute(given, accept))


def _compute(given: RoundScores, accept: int | None) -> Computed:
    units = by_unit((review.project_id, review.total) for review in given.reviews)
    items = {project_id: _plain(project_id, units.get(project_id, [])) for project_id in sorted({*given.projects, *units})}
    by_reviewer = by_unit((review.reviewer_id, review.total) for review in given.reviews)
    people = {
        user_id: ReviewerResult(user_id=user_id, reviews=len(totals), mean=summary(totals).mean)
        for user_id, totals in sorted(by_reviewer.items())
    }
    computed = Computed(
        items=[],
        reviewers=list(people.values()),
        criteria=[_criterion(name, given.reviews) for name in given.criteria],
        reviews=len(given.reviews),
        alpha=_rounded(alpha(units)),
        method="raw",
        why_not_calibrated="too_few",
        components=0,
        level=0.95,
        deviations={},
        accept=accept,
        one_less_changes_outcome=None,
    )
    if given.reviews:
        _rank(given, computed, [items[project_id] for project_id in sorted(units)])
    computed.items = sorted(items.values(), key=lambda item: (item.rank is None, item.rank, item.project_id))
    return computed


def _plain(project_id: int, totals: list[float]) -> ProjectResult:
    """What needs no other project."""
    found = ProjectResult(project_id=project_id, reviews=len(totals))
    if totals:
        found.mean, found.median, found.spread = summary(totals)
        found.total = found.raw = found.mean
    return found


def _criterion(name: str, reviews: list[GivenReview]) -> CriterionResult:
    given = [(review.project_id, review.scores[name]) for review in reviews if name in review.scores]
    if not given:
        return CriterionResult(name=name, mean=None, spread=None, alpha=None)
    mean, _, spread = summary([score for _, score in given])
    return CriterionResult(name=name, mean=mean, spread=spread, alpha=_rounded(alpha(by_unit(given))))


def _rank(given: RoundScores, computed: Computed, items: list[ProjectResult]) -> None:
    """Calibrate where it can be done, and rank: fills in what the reviewed projects (by id), the reviewers and the round lack."""
    import numpy as np

    from jobs.cpu import ranking_intervals as ranking
    from jobs.cpu.calibration import Model, Scores

    project_ids, people = [item.project_id for item in items], computed.reviewers
    scores = Scores(
        np.searchsorted(project_ids, [review.project_id for review in given.reviews]),
        np.searchsorted([one.user_id for one in people], [review.reviewer_id for review in given.reviews]),
        np.array([review.total for review in given.reviews], dtype=float),
        len(items),
        len(people),
    )
    computed.components, parts = scores.components()
    computed.why_not_calibrated = scores.why_not()
    raw = np.array([item.mean for item in items], dtype=float)
    level = computed.level = ranking.LEVEL
    if computed.why_not_calibrated is None:
        model = Model(scores)
        computed.method, computed.deviations = "reml", {name: round(value, DIGITS) for name, value in model.variances().items()}
        values, errors = model.calibrated()
        drawn = ranking.ranked(model.draws(ranking.DRAWS, SEED))
        low, high = ranking.intervals(drawn, level)
        chances = ranking.chances(drawn, accept) if (accept := computed.accept) is not None else None
        biases, bias_errors = model.leniencies()
        for place, one in enumerate(people):
            one.bias, one.bias_error = round(float(biases[place]), DIGITS), round(float(bias_errors[place]), DIGITS)
            one.scale = round(float(model.scales[place]), DIGITS)
        quality = model.quality
        without = model.without
    else:  # nothing is known of how far ranks are to be believed
        values, errors, chances, quality = raw, None, None, raw
        low, high = np.ones(len(items), dtype=int), np.full(len(items), len(items))

        def without(reviewer: int) -> Any:
            return _mean_without(scores, raw, reviewer)

    placed, raw_placed = ranking.ranks(quality), ranking.ranks(raw)
    for place, item in enumerate(items):
        item.calibrated, item.component = round(float(values[place]), DIGITS), int(parts[place]) + 1
        item.error = None if errors is None else round(float(errors[place]), DIGITS)
        item.rank, item.raw_rank = int(placed[place]), int(raw_placed[place])
        # Draws can miss the rank itself where many projects are as good as equal.
        item.rank_low, item.rank_high = min(int(low[place]), item.rank), max(int(high[place]), item.rank)
        if computed.accept is not None:
            item.accepted = item.rank <= computed.accept
            item.accept_chance = None if chances is None else round(float(chances[place]), 3)
    for place, one in enumerate(people):
        after = without(place) if len(people) > 1 else quality
        shift, one.most_shift = ranking.shifts(quality, after)
        one.mean_shift = round(shift, 3)
        if computed.accept is not None:
            entered, left = ranking.changes(quality, after, computed.accept)
            one.comes_in, one.falls_out = [project_ids[at] for at in entered], [project_ids[at] for at in left]
            one.changes_outcome = bool(entered or left)
    if computed.accept is not None:
        computed.one_less_changes_outcome = any(one.changes_outcome for one in people)


def _mean_without(scores: Any, raw: Any, reviewer: int) -> Any:
    """Raw means without a reviewer; a project that nobody else reviewed keeps its own."""
    import numpy as np

    kept = scores.reviewer != reviewer
    count = np.bincount(scores.project[kept], minlength=scores.projects)
    total = np.bincount(scores.project[kept], scores.score[kept], scores.projects)
    return np.where(count > 0, total / np.maximum(count, 1), raw)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
