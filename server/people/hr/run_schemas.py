"""What the routes of HR runs, changes and people take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from server.paging import PageQuery
from server.people.hr.states import ChangeKind, ChangeState, PersonState, RunKind, RunState, What

Id = Annotated[int, msgspec.Meta(ge=1, le=999_999_999_999_999)]
Comment = Annotated[str, msgspec.Meta(max_length=500)]
Approvable = Literal["create", "update", "disable", "revive", "move", "departments"]


class SyncRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`source`: its number or its name. `dry_run`: plan only."""

    source: Id | Annotated[str, msgspec.Meta(min_length=1, max_length=190)]
    dry_run: bool = False


class Approval(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`kinds`: apply only changes of these kinds of people's changes, and `departments`; without it all."""

    comment: Comment = ""
    kinds: Annotated[list[Approvable], msgspec.Meta(min_length=1, max_length=6)] | None = None


class Rejection(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    comment: Comment = ""


class Decision(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Exactly one: the account that the person already has, a new account, or leave the person out."""

    user_id: Id | None = None
    create: bool = False
    skip: bool = False


class RunQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    source_id: Id | None = None
    state: RunState | None = None
    kind: RunKind | None = None
    dry_run: bool | None = None


class ChangeQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`q` searches names and keys. Without `sort` what is strange comes first. `strange`: 1 for what is strange alone."""

    kind: ChangeKind | None = None
    state: ChangeState | None = None
    what: What | None = None
    rule: Annotated[str, msgspec.Meta(max_length=40)] = ""
    strange: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0


class PersonQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`department`: its code; `q` searches names, employee numbers and mail addresses."""

    state: PersonState | None = None
    department: Annotated[str, msgspec.Meta(max_length=64)] = ""
    source_id: Id | None = None


class Exceeded(msgspec.Struct, kw_only=True):
    """A limit that a plan is above. `kind` undone: changes to people whom an undo last changed, which always need a word."""

    kind: str
    count: int
    percent: float
    limit_count: int | None
    limit_percent: float | None


class RunError(msgspec.Struct):
    type: str
    message: str


class HrRun(msgspec.Struct, kw_only=True):
    """A run. `counts` are of people, `departments` of departments; `progress` in percent of the changes, `applied` in number."""

    id: str
    source_id: int
    source: str
    kind: RunKind
    state: RunState
    dry_run: bool
    undo_of: str | None
    counts: dict[str, int]
    departments: dict[str, int]
    exceeded: list[Exceeded]
    snapshot: dict[str, Any]
    progress: int
    applied: int
    requested_by: int | None
    requested_name: str
    approved_by: int | None
    approved_name: str | None
    comment: str
    error: RunError | None
    task_id: str | None
    created_at: datetime
    planned_at: datetime | None
    approved_at: datetime | None
    applied_at: datetime | None
    ended_at: datetime | None


class FieldChange(msgspec.Struct):
    field: str
    before: Any
    after: Any


class HrChange(msgspec.Struct, kw_only=True):
    """One change of a plan. `why` is its rule in words, `fields` what differs, `candidates` the accounts among which to decide."""

    id: int
    run_id: str
    what: What
    kind: ChangeKind
    state: ChangeState
    key: str
    name: str
    person_id: int | None
    rule: str
    why: str
    strange: list[str]
    fields: list[FieldChange]
    candidates: list[int]
    decided_by: int | None
    decision: dict[str, Any] | None
    at: datetime
    applied_at: datetime | None


class PersonSummary(msgspec.Struct, kw_only=True):
    """A person as HR last said it."""

    id: int
    source_id: int
    employee_no: str
    name: str
    email: str | None
    department_code: str | None
    department: str | None
    organization_id: int | None
    title: str | None
    state: PersonState
    start_date: str | None
    end_date: str | None
    changed_at: datetime
    gone_at: datetime | None


class PersonAccount(msgspec.Struct, kw_only=True):
    target_id: int
    target: str
    external_id: str | None
    user_id: int | None
    state: str
    verified_at: datetime


class PersonDetail(PersonSummary, kw_only=True):
    """With the whole row, the accounts, and the newest changes."""

    row: dict[str, Any]
    adopted_user_id: int | None
    first_seen_at: datetime
    run_id: str | None
    accounts: list[PersonAccount]
    changes: list[HrChange]
