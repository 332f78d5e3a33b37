"""What the routes of results take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from jobs.cpu.round_results import CriterionResult, ProjectResult, ReviewerResult
from server.projects.round_schemas import MOST_PROJECTS


class ResultQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`accept`: how many projects are to be taken; without it nothing is said about who would be."""

    accept: Annotated[int, msgspec.Meta(ge=1, le=MOST_PROJECTS)] | None = None


class ResultItem(ProjectResult, kw_only=True):
    """A project's result; the title is empty when the caller may not see the project, or it is gone."""

    title: str


class ReviewerItem(ReviewerResult, kw_only=True):
    """What a reviewer's scores are like."""

    name: str


class Results(msgspec.Struct, kw_only=True):
    """The results of a round, best first, projects without reviews last.

    `alpha`: Krippendorff's, of the totals. `method`: reml, or raw when reviewers cannot be calibrated, and `note` says why.
    `level`: of the intervals of ranks. `deviations`: the standard deviations of quality, leniency and noise, in points. `provisional`: the
    round goes on. `components` above 1: parts of the round have no reviewer in common, so that their ranks compare only on the supposition
    that reviewers are alike. `one_less_changes_outcome`: whether some reviewer's absence would change who is among the first `accept`.
    """

    round_id: int
    name: str
    state: str
    provisional: bool
    revision: int
    computed_at: datetime
    items: list[ResultItem]
    total: int
    reviews: int
    alpha: float | None
    criteria: list[CriterionResult]
    reviewers: list[ReviewerItem]
    method: str
    why_not_calibrated: str | None
    note: str
    components: int
    level: float
    deviations: dict[str, float]
    accept: int | None
    one_less_changes_outcome: bool | None


class ProjectScores(msgspec.Struct, kw_only=True):
    """What a closed round gave to a project: the mean of the totals of its reviews, and the comments in no order that tells whose."""

    round_id: int
    round: str
    closed_at: datetime | None
    reviews: int
    total: float | None
    comments: list[str]
