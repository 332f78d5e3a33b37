"""What the routes of projects take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from server.paging import PageQuery
from server.projects.states import Action

Kind = Literal["research", "teaching", "student"]
KINDS: tuple[str, ...] = ("research", "teaching", "student")
MemberRole = Literal["lead", "member", "mentor"]
LinkKind = Literal["follows", "part_of", "related"]
Purpose = Literal["proposal", "report", "delivery", "other"]
Id = Annotated[int, msgspec.Meta(ge=1, le=10**15)]
# A pattern that ends in `$` would let a line end in; a title is one line.
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=300, pattern=r"\S")]
Summary = Annotated[str, msgspec.Meta(max_length=50_000)]
Day = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
Word = Annotated[str, msgspec.Meta(max_length=64)]
MOST_CENTS = 10**15


class BudgetLine(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What money is for; `amount` in cents."""

    what: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    amount: Annotated[int, msgspec.Meta(ge=0, le=MOST_CENTS)]


Budget = Annotated[list[BudgetLine], msgspec.Meta(max_length=200)]
Fields = Annotated[dict[str, Any], msgspec.Meta(max_length=100)]


class ProjectDraft(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new project; without an organization it belongs to the caller's. `fields`: the institution's own, by name; days are ISO dates."""

    title: Title
    kind: Kind = "research"
    summary: Summary = ""
    organization_id: Id | None = None
    fields: Fields = {}
    budget: Budget = []
    starts_on: Day | None = None
    ends_on: Day | None = None
    tags: Annotated[list[Word], msgspec.Meta(max_length=20)] = []


class ProjectPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What may be changed; what is left out stays. `version`: that which was read; a newer one is not written over."""

    version: int | None = None
    title: Title | msgspec.UnsetType = msgspec.UNSET
    kind: Kind | msgspec.UnsetType = msgspec.UNSET
    summary: Summary | msgspec.UnsetType = msgspec.UNSET
    organization_id: Id | msgspec.UnsetType = msgspec.UNSET
    fields: Fields | msgspec.UnsetType = msgspec.UNSET
    budget: Budget | msgspec.UnsetType = msgspec.UNSET
    starts_on: Day | msgspec.UnsetType | None = msgspec.UNSET
    ends_on: Day | msgspec.UnsetType | None = msgspec.UNSET


class ProjectFilter(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which projects: of a kind, in states (with commas), of an organization and those below it, with a tag; `mine`: 1 for one's own."""

    kind: Word = ""
    state: Annotated[str, msgspec.Meta(max_length=200)] = ""
    organization_id: Id | None = None
    owner_id: Id | None = None
    member_id: Id | None = None
    tag: Word = ""
    mine: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    overdue: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    q: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*$")] = ""


class ProjectQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """A page of projects, narrowed as in ProjectFilter; `q` searches titles and summaries."""

    kind: Word = ""
    state: Annotated[str, msgspec.Meta(max_length=200)] = ""
    organization_id: Id | None = None
    owner_id: Id | None = None
    member_id: Id | None = None
    tag: Word = ""
    mine: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    overdue: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0


class Project(msgspec.Struct, kw_only=True):
    """A project in a list. `blind`: the caller reviews it without knowing whose it is, so owner and organization are hidden."""

    id: int
    kind: str
    title: str
    state: str
    state_since: datetime
    due_at: datetime | None
    organization_id: int | None
    organization: str
    owner_id: int | None
    owner: str
    starts_on: str | None
    ends_on: str | None
    budget_total: int
    version: int
    blind: bool
    tags: list[str]
    created_at: datetime
    updated_at: datetime


class ProjectDetail(Project):
    """One project; `relations`: what the caller is to it (proposer, mentor, member, manager)."""

    summary: str
    fields: dict[str, Any]
    budget: list[BudgetLine]
    opening_id: int | None
    relations: list[str]
    may_change: bool


class TransitionRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    action: Action
    comment: Annotated[str, msgspec.Meta(max_length=10_000)] = ""


class ActionOffer(msgspec.Struct, kw_only=True):
    """An action, where it leads, whether the caller may do it now and, if not, why."""

    action: str
    name: str
    to: str
    allowed: bool
    needs_comment: bool
    why_not: str


class Actions(msgspec.Struct):
    state: str
    actions: list[ActionOffer]


class HistoryEntry(msgspec.Struct, kw_only=True):
    id: int
    at: datetime
    user_id: int | None
    actor: str
    what: str
    action: str | None
    from_state: str | None
    to_state: str | None
    comment: str | None
    detail: dict[str, Any]


class ProjectMember(msgspec.Struct, kw_only=True):
    user_id: int
    username: str
    name: str
    role: str
    created_at: datetime


class MemberBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A member by id or by user name; one that is there already gets the role."""

    user_id: Id | None = None
    username: Annotated[str, msgspec.Meta(max_length=150)] = ""
    role: MemberRole = "member"


class MemberQuery(msgspec.Struct, forbid_unknown_fields=True):
    user_id: Id


class Attachment(msgspec.Struct, kw_only=True):
    """A document of the project; `readable`: whether the caller may open it, else its title stays hidden."""

    document_id: int
    title: str
    status: str
    pages: int
    purpose: str
    readable: bool
    added_by: int | None
    created_at: datetime


class AttachmentBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    document_id: Id
    purpose: Purpose = "proposal"


class AttachmentQuery(msgspec.Struct, forbid_unknown_fields=True):
    document_id: Id


class ProjectTag(msgspec.Struct):
    id: int
    name: str


class TagBody(msgspec.Struct, forbid_unknown_fields=True):
    """A tag of the vocabulary of the project's organization, by name."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Link(msgspec.Struct, kw_only=True):
    """Another project; `inbound`: it is the other one that says so."""

    other_id: int
    title: str
    state: str
    kind: str
    inbound: bool
    created_at: datetime


class LinkBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    other_id: Id
    kind: LinkKind = "related"


class Listed(msgspec.Struct):
    """How many there are is bounded, so all come at once."""

    items: list[Any]
    total: int
