"""What the routes of audits, of their chains and of delegations take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from server.paging import PageQuery
from server.projects.project_schemas import Id, Kind, ProjectDetail, Word

Decision = Literal["approve", "return", "reject"]
Mode = Literal["any", "all"]
Comment = Annotated[str, msgspec.Meta(max_length=10_000)]
Named = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
UserName = Annotated[str, msgspec.Meta(max_length=150)]
AUTHOR = "author"
MOST_STEPS = 20
MOST_AT_ONCE = 100


class StepReviewers(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom a step asks: who has one of the roles or positions at `where`, and these users; with none of them, who may audit there.

    `where`: the project's organization, its parent, the root, or an organization by its id.
    """

    roles: Annotated[list[Named], msgspec.Meta(max_length=20)] = []
    positions: Annotated[list[Named], msgspec.Meta(max_length=20)] = []
    user_ids: Annotated[list[Id], msgspec.Meta(max_length=100)] = []
    where: Literal["organization", "parent", "root"] | Id = "organization"


class ChainStep(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A step. `any`: the first who decides decides it; `all`: everybody who is asked must approve."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"\S")]
    mode: Mode = "any"
    reviewers: StepReviewers = msgspec.field(default_factory=StepReviewers)
    due_days: Annotated[int, msgspec.Meta(ge=1, le=365)] | None = None
    parallel_with_previous: bool = False
    skip_if_empty: bool = False


class ChainBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The chain of a kind of project in an organization and below it; without one, in the root."""

    kind: Kind
    organization_id: Id | None = None
    steps: Annotated[list[ChainStep], msgspec.Meta(min_length=1, max_length=MOST_STEPS)]


class ChainQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """A page of chains: of a kind, of an organization, in a state (draft, published, retired)."""

    kind: Word = ""
    organization_id: Id | None = None
    state: Word = ""


class Chain(msgspec.Struct, kw_only=True):
    """A version of a chain; `replayed_at`: when it was last run over past cases, since its last change."""

    id: int
    kind: str
    organization_id: int
    organization: str
    version: int
    state: str
    steps: list[ChainStep]
    created_at: datetime
    changed_at: datetime
    replayed_at: datetime | None
    published_at: datetime | None


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How many of the latest decided cases."""

    cases: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


class ReplayedStep(msgspec.Struct, kw_only=True):
    """A step in a past case. `how`: named, holders (nobody was left of those it names), skipped, nobody."""

    step: int
    name: str
    how: str
    user_ids: list[int]


class ReplayedCase(msgspec.Struct, kw_only=True):
    """A past case in the new chain: `steps_before` and `steps_now` count those that somebody is asked."""

    project_id: int
    passage: int
    title: str
    outcome: str
    steps_before: int
    steps_now: int
    could_end: bool
    steps: list[ReplayedStep]


class Replay(msgspec.Struct, kw_only=True):
    """What a chain would have meant. `steps_empty`: in how many cases a step had nobody of those it names, by its number.

    `more_steps`, `fewer_steps`: steps that somebody is asked, summed over the cases that have more or fewer of them; `stuck`: cases that
    could not have ended; `people`: the names of who would have been asked, by id.
    """

    chain: Chain
    cases: list[ReplayedCase]
    steps_empty: dict[int, int]
    more_steps: int
    fewer_steps: int
    stuck: int
    people: dict[int, str]


class PublishBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`force` publishes without a replay; the comment then says why."""

    force: bool = False
    comment: Comment = ""


class AuditQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """The caller's queue: `open` ones that they may decide, or those that they have `decided`; of a kind, of an organization and below."""

    kind: Word = ""
    organization_id: Id | None = None
    state: Literal["open", "decided"] = "open"


class Audit(msgspec.Struct, kw_only=True):
    """A step of a project's way. `age_days`: since it was opened, or how long it was open; `for_user`: for whom the caller decides."""

    id: int
    project_id: int
    title: str
    kind: str
    organization_id: int | None
    organization: str
    passage: int
    step: int
    name: str
    mode: str
    state: str
    opened_at: datetime
    due_at: datetime | None
    ended_at: datetime | None
    age_days: float
    overdue: bool
    for_user: str
    decision: str | None


class Decided(msgspec.Struct, kw_only=True):
    """What one of those who were asked said; `delegated_by` for a delegate: for whom. Nothing is said yet where `decision` is null."""

    user_id: int
    name: str
    delegated_by: int | None
    delegated_by_name: str
    decision: str | None
    comment: str | None
    return_to: int | None
    decided_at: datetime | None


class AuditStep(msgspec.Struct, kw_only=True):
    """A step on the way so far; what is said in an open one is hidden from who has yet to decide it."""

    id: int
    passage: int
    step: int
    name: str
    mode: str
    state: str
    organization_id: int
    opened_at: datetime
    due_at: datetime | None
    ended_at: datetime | None
    decisions: list[Decided]


class AuditDetail(Audit):
    """One audit with its project and the whole way. `may_decide`, and the steps to which it may be returned."""

    may_decide: bool
    return_to: list[int]
    project: ProjectDetail
    steps: list[AuditStep]


class DecideBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`return_to`: with a return, the number of an earlier step, or who proposes the project."""

    decision: Decision
    comment: Comment = ""
    return_to: Literal["author"] | Annotated[int, msgspec.Meta(ge=1, le=MOST_STEPS)] = "author"


class BatchBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The same decision on several audits, each on its own."""

    ids: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=MOST_AT_ONCE)]
    decision: Decision
    comment: Comment = ""
    return_to: Literal["author"] | Annotated[int, msgspec.Meta(ge=1, le=MOST_STEPS)] = "author"


class BatchOutcome(msgspec.Struct, kw_only=True):
    """What came of one of them: the audit's state and the project's, or the error with its sentence."""

    id: int
    ok: bool
    state: str = ""
    project_state: str = ""
    error: str = ""
    message: str = ""


class BatchAnswer(msgspec.Struct, kw_only=True):
    items: list[BatchOutcome]
    decided: int
    refused: int


class DelegationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Somebody, by id or by user name, who decides for the caller from one time to another; without a start, from now on."""

    to_user_id: Id | None = None
    to_username: UserName = ""
    starts_at: datetime | None = None
    ends_at: datetime


class DelegationQuery(msgspec.Struct, forbid_unknown_fields=True):
    id: Id


class Delegation(msgspec.Struct, kw_only=True):
    """`active`: it holds now."""

    id: int
    user_id: int
    user: str
    to_user_id: int
    to_user: str
    starts_at: datetime
    ends_at: datetime
    active: bool
    created_at: datetime


def steps_of(kept: Any) -> list[ChainStep]:
    """The steps of a chain as they are kept in its row."""
    return msgspec.convert(kept, list[ChainStep])
