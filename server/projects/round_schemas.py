"""What the routes of rubrics, rounds and reviews take and answer."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from server.paging import PageQuery
from server.projects.project_schemas import Id, Word

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=190, pattern=r"\S")]
Note = Annotated[str, msgspec.Meta(max_length=500)]
Comment = Annotated[str, msgspec.Meta(max_length=50_000)]
CriterionName = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"\S")]
Weight = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Most = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
# Ids with commas in a query.
Ids = Annotated[str, msgspec.Meta(max_length=20_000, pattern=r"^[0-9, ]*\Z")]
MOST_PROJECTS, MOST_REVIEWERS = 5_000, 1_000
ProjectIds = Annotated[list[Id], msgspec.Meta(max_length=MOST_PROJECTS)]
ReviewerIds = Annotated[list[Id], msgspec.Meta(max_length=MOST_REVIEWERS)]
PerProject = Annotated[int, msgspec.Meta(ge=1, le=20)]
Load = Annotated[int, msgspec.Meta(ge=1, le=MOST_PROJECTS)]
Years = Annotated[int, msgspec.Meta(ge=0, le=50)]
Depth = Annotated[int, msgspec.Meta(ge=0, le=20)]


class RoundState(StrEnum):
    DRAFT = "draft"  # being put together; reviewers do not see their reviews yet
    OPEN = "open"
    CLOSED = "closed"


class ReviewState(StrEnum):
    ASSIGNED = "assigned"
    DRAFT = "draft"  # begun
    SUBMITTED = "submitted"  # alone counts
    DECLINED = "declined"


# What a reviewer still owes.
OWED = (ReviewState.ASSIGNED.value, ReviewState.DRAFT.value)


class Criterion(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is looked at: scores go from 0 to `max`, and each point counts `weight` times."""

    name: CriterionName
    weight: Weight = 1.0
    max: Most = 10.0


Criteria = Annotated[list[Criterion], msgspec.Meta(min_length=1, max_length=50)]
Formula = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class RubricDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A rubric; without an organization it belongs to the caller's. `formula`: of the criteria's names, else the weighted sum."""

    name: Name
    criteria: Criteria
    formula: Formula | None = None
    organization_id: Id | None = None


class RubricPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays; rounds keep the rubric that they were made with."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    criteria: Criteria | msgspec.UnsetType = msgspec.UNSET
    formula: Formula | msgspec.UnsetType | None = msgspec.UNSET


class Rubric(msgspec.Struct, kw_only=True):
    """`least` and `most`: between what totals lie."""

    id: int
    name: str
    organization_id: int
    criteria: list[Criterion]
    formula: str | None
    least: float
    most: float
    may_change: bool
    created_at: datetime
    updated_at: datetime


class RoundDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A round of reviews; without an organization it belongs to the caller's.

    `load`: most reviews of one reviewer, `loads`: other numbers for some, by user id. `conflict_years`: for how long a project in common,
    or supervision, is a conflict. `conflict_depth`: how many steps above a reviewer's and a project's organization may meet for a conflict:
    0 for the same one, null for none; the root never counts.
    """

    name: Name
    rubric_id: Id
    organization_id: Id | None = None
    project_ids: ProjectIds = []
    reviewer_ids: ReviewerIds = []
    reviews_per_project: PerProject = 3
    load: Load | None = None
    loads: dict[int, Load] = {}
    blind: bool = False
    conflict_years: Years = 3
    conflict_depth: Depth | None = 0
    due_at: datetime | None = None


class RoundPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays; `project_ids` and `reviewer_ids` are the whole lists, `loads` those that differ."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    rubric_id: Id | msgspec.UnsetType = msgspec.UNSET
    project_ids: ProjectIds | msgspec.UnsetType = msgspec.UNSET
    reviewer_ids: ReviewerIds | msgspec.UnsetType = msgspec.UNSET
    reviews_per_project: PerProject | msgspec.UnsetType = msgspec.UNSET
    load: Load | msgspec.UnsetType | None = msgspec.UNSET
    loads: dict[int, Load] | msgspec.UnsetType = msgspec.UNSET
    blind: bool | msgspec.UnsetType = msgspec.UNSET
    conflict_years: Years | msgspec.UnsetType = msgspec.UNSET
    conflict_depth: Depth | msgspec.UnsetType | None = msgspec.UNSET
    due_at: datetime | msgspec.UnsetType | None = msgspec.UNSET


class RoundQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    state: Word = ""


class Round(msgspec.Struct, kw_only=True):
    """A round in a list. `manages`: the caller does; `reviews`: the caller is among the reviewers."""

    id: int
    name: str
    organization_id: int
    rubric_id: int
    state: str
    blind: bool
    reviews_per_project: int
    due_at: datetime | None
    revision: int
    manages: bool
    reviews: bool
    created_at: datetime
    closed_at: datetime | None


class RoundDetail(Round):
    """One round. What only its managers see is null for others: the settings, the pool, and `progress`, reviews by state."""

    rubric: dict[str, Any]
    load: int | None = None
    loads: dict[int, int] | None = None
    conflict_years: int | None = None
    conflict_depth: int | None = None
    project_ids: list[int] | None = None
    reviewer_ids: list[int] | None = None
    progress: dict[str, int] | None = None


class PoolReviewer(msgspec.Struct, kw_only=True):
    """A reviewer of a round: `load` is the most that is asked of them, null for no limit; the counts are of the round's reviews."""

    user_id: int
    username: str
    name: str
    organization: str
    load: int | None
    assigned: int
    submitted: int
    declined: int
    wishes: int


class Wish(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much a reviewer would like to review a project: -2 not at all … 2 very much."""

    project_id: Id
    wish: Annotated[int, msgspec.Meta(ge=-2, le=2)]


class WishesBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole list; what is left out is 0."""

    wishes: Annotated[list[Wish], msgspec.Meta(max_length=MOST_PROJECTS)]


class WishedProject(msgspec.Struct, kw_only=True):
    """`declared`: the caller has declared a conflict with it."""

    project_id: int
    title: str
    summary: str
    wish: int
    declared: bool


class Conflict(msgspec.Struct, kw_only=True):
    """Why somebody may not review a project: `kinds` for programs, `reason` in words."""

    project_id: int
    title: str
    reviewer_id: int
    reviewer: str
    kinds: list[str]
    reason: str


class ConflictQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """Of the round's reviewers and projects, or of any others that are named: to be asked before they are invited."""

    reviewer_ids: Ids = ""
    project_ids: Ids = ""


class ConflictBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A conflict that is declared: one's own, or with `user_id`, by who manages the round, of a reviewer."""

    project_id: Id
    user_id: Id | None = None
    note: Note = ""


class ConflictGone(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    project_id: Id
    user_id: Id | None = None


class AssignRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`open`: also open the round, so that reviewers see their reviews. `afresh`: take away reviews that nobody has begun, and assign them
    anew. `background`: by a task, as is done anyway with very large rounds."""

    open: bool = True
    afresh: bool = False
    background: bool = False


class Assignment(msgspec.Struct):
    project_id: int
    reviewer_id: int
    review_id: int


class Refusal(msgspec.Struct, kw_only=True):
    """What could not be: a project that lacks `missing` reviews, or a reviewer who may not have a project; why, in words."""

    project_id: int
    reason: str
    reviewer_id: int | None = None
    missing: int = 0
    kinds: list[str] = []


class Assigned(msgspec.Struct, kw_only=True):
    """The standing assignments and what was refused (at most 1,000 of `refused_total`); with a `task_id` they are still to come."""

    assignments: list[Assignment]
    refused: list[Refusal]
    refused_total: int
    state: str
    task_id: str | None = None


class PairBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    project_id: Id
    reviewer_id: Id


class RoundReviewQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`state`: with commas."""

    state: Word = ""


class ReviewQuery(RoundReviewQuery, forbid_unknown_fields=True, kw_only=True):
    """Of all rounds, or of one."""

    round_id: Id | None = None


class Review(msgspec.Struct, kw_only=True):
    """A review in a list."""

    id: int
    round_id: int
    round: str
    round_state: str
    project_id: int
    title: str
    reviewer_id: int
    reviewer: str
    state: str
    total: float | None
    due_at: datetime | None
    overdue: bool
    assigned_at: datetime
    submitted_at: datetime | None


class ReviewedProject(msgspec.Struct, kw_only=True):
    """What a reviewer sees of the project; in a blind round nothing says whose it is."""

    id: int
    kind: str
    title: str
    summary: str
    starts_on: str | None
    ends_on: str | None
    budget_total: int
    blind: bool
    organization: str
    owner: str


class ReviewDetail(Review):
    """One review with what it is given by. `own`: it is the caller's; `final`: it is not changed any more, as others' were looked at."""

    criteria: list[Criterion]
    formula: str | None
    scores: dict[str, float]
    comment: str | None
    project: ReviewedProject
    own: bool
    final: bool


class ReviewPut(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Scores by criterion's name. With `submit` false it is kept as a draft, which need not be complete."""

    scores: Annotated[dict[str, float], msgspec.Meta(max_length=50)]
    comment: Comment = ""
    submit: bool = True


class DeclineBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`conflict`: the reason is a conflict, which is declared with it."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"\S")]
    conflict: bool = False


class OtherReview(msgspec.Struct, kw_only=True):
    """What another reviewer gave; who it is is not told."""

    scores: dict[str, float]
    total: float | None
    comment: str | None
    submitted_at: datetime | None
