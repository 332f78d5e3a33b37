"""What the routes of the dashboard take and answer."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from server.projects.project_schemas import Day, Id, Kind

# What a metric counts: how many entered a state, how many left it, how many stood in it when the period ended.
Flow = Literal["entered", "left", "standing"]


class By(StrEnum):
    DAY = "day"
    WEEK = "week"  # from Monday
    MONTH = "month"


class DashboardQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Narrowed to an organization with all below it, and to a kind of project."""

    organization_id: Id | None = None
    kind: Kind | None = None


class SeriesQuery(DashboardQuery, forbid_unknown_fields=True, kw_only=True, rename={"starts": "from", "ends": "to"}):
    """`metric`: a state, or `entered.`, `left.` or `standing.` and a state; days are ISO dates, both included.

    Without days the last thirty, up to today.
    """

    metric: Annotated[str, msgspec.Meta(max_length=40)] = "submitted"
    starts: Day | None = None
    ends: Day | None = None
    by: By = By.DAY


class Count(msgspec.Struct):
    kind: str
    state: str
    number: int


class Stage(msgspec.Struct):
    """How many projects have come at least as far as this state; what is archived is over, and left out."""

    stage: str
    number: int


class Waiting(msgspec.Struct):
    """Projects that wait in a state: since when the oldest does, how many are past their due date, and how many by days of waiting."""

    state: str
    number: int
    overdue: int
    oldest_since: datetime | None
    up_to_7_days: int
    up_to_14_days: int
    up_to_30_days: int
    longer: int


class PlaceCount(msgspec.Struct):
    organization_id: int
    name: str
    number: int


class Load(msgspec.Struct):
    """What somebody still has to do: `audits` and `reviews`, the oldest of them since `oldest_since`."""

    user_id: int
    name: str
    audits: int
    reviews: int
    oldest_since: datetime | None


class MentorLoad(msgspec.Struct):
    """How many approved or running projects somebody is the mentor of."""

    user_id: int
    name: str
    projects: int


class RoundScores(msgspec.Struct):
    """Scores of a round: how many of its reviews are given, and the totals in ten equal parts from `least` to `most`."""

    round_id: int
    name: str
    state: str
    reviews: int
    submitted: int
    mean: float | None
    least: float | None
    most: float | None
    parts: list[int]


class Own(msgspec.Struct):
    """What waits for the caller, and what the caller has in hand."""

    audits: int
    reviews: int
    oldest_since: datetime | None
    projects: int
    returned: int
    milestones: int


class ProjectFigures(msgspec.Struct):
    """Figures of the projects that the caller may see."""

    total: int
    counts: list[Count]
    funnel: list[Stage]
    waiting: list[Waiting]
    organizations: list[PlaceCount]


class Figures(msgspec.Struct):
    """`reviewers`, `mentors` and `scores` are of where the caller manages projects and rounds; the most loaded first."""

    projects: ProjectFigures
    reviewers: list[Load]
    mentors: list[MentorLoad]
    scores: list[RoundScores]


class Point(msgspec.Struct):
    """`at`: the first day of the period."""

    at: str
    value: int


class Series(msgspec.Struct):
    metric: str
    by: By
    points: list[Point]
