"""What the routes of milestones take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from server.projects.project_schemas import Id, Title

Unset = msgspec.UnsetType
UNSET = msgspec.UNSET
MilestoneKind = Literal["delivery", "midterm", "final"]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Words = Annotated[str, msgspec.Meta(max_length=10_000)]


class MilestoneBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new milestone. `kind`: a delivery, or a mid-term or final check; without a passed final the project is not completed."""

    title: Title
    kind: MilestoneKind = "delivery"
    due_at: Moment | None = None


class MilestonePatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays."""

    title: Title | Unset = UNSET
    kind: MilestoneKind | Unset = UNSET
    due_at: Moment | Unset | None = UNSET


class Delivery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is delivered: a document that the caller may pass on, words, or both."""

    document_id: Id | None = None
    note: Words = ""


class Check(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`return` must be explained. `delivered_at`: of the delivery that was looked at; a newer one is not decided on."""

    decision: Literal["pass", "return"]
    comment: Words = ""
    delivered_at: Moment | None = None


class Milestone(msgspec.Struct, kw_only=True):
    """A milestone. `late`: it was delivered after it was due; `overdue`: it is due and not delivered.

    What the caller may do now: `may_change`, `may_deliver`, `may_check`.
    """

    id: int
    project_id: int
    title: str
    kind: str
    due_at: datetime | None
    state: str
    document_id: int | None
    note: str | None
    delivered_at: datetime | None
    late: bool
    overdue: bool
    checked_by: int | None
    checker: str
    checked_at: datetime | None
    comment: str | None
    may_change: bool
    may_deliver: bool
    may_check: bool
    created_at: datetime


class Milestones(msgspec.Struct):
    """All milestones of a project, by the time they are due."""

    items: list[Milestone]
    total: int
    may_plan: list[str]
