"""What the workflow routes take and answer."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from server.platform.schedules.misfire import Misfire

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=190)]


class Overlap(StrEnum):
    """What a run does when an earlier run of the same workflow is not over."""

    QUEUE = "queue"  # waits its turn
    SKIP = "skip"  # does not happen
    PARALLEL = "parallel"  # starts beside it
    CANCEL_PREVIOUS = "cancel_previous"  # asks it to stop, then takes its turn


class Retry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How often a step is tried in all, and the seconds before the second try; they double from try to try."""

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    backoff_s: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 10


class StepBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One step: a module, its args, and what it must wait for beside its data."""

    module_hash: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    args: dict[str, Any] = {}
    name: Annotated[str, msgspec.Meta(max_length=100)] = ""
    depends_on: list[str] = []
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=604800)] = 600
    retry: Retry = Retry()


class WorkflowBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A workflow as people write it."""

    name: Name
    description: Annotated[str, msgspec.Meta(max_length=10000)] = ""
    enable: bool = True
    execute_cron_list: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    timezone: str | None = None
    calendar: str | None = None
    execute_shift_time: int = 0
    execute_shift_unit: str = "s"
    execute_modules: Annotated[list[StepBody], msgspec.Meta(min_length=1, max_length=200)]
    misfire: Misfire = Misfire.LAST
    misfire_max_age_s: Annotated[int, msgspec.Meta(ge=0, le=31_622_400)] = 300
    overlap: Overlap = Overlap.QUEUE
    offline_grace_s: Annotated[int, msgspec.Meta(ge=0, le=604800)] = 30
    notify: Annotated[list[str], msgspec.Meta(max_length=50)] = []
    organization_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None


class EdgeView(msgspec.Struct):
    """The output of one step goes to the input of another; steps by name."""

    producer: str
    output: str
    consumer: str
    input: str


class NearestView(msgspec.Struct):
    step: str
    name: str
    type: str


class ProblemView(msgspec.Struct):
    """Why a workflow cannot run: the field, the reason as a word and as a sentence, and what may have been meant."""

    field: str
    step: str
    requirement: str
    reason: str
    message: str
    nearest: list[NearestView]


class WorkflowView(WorkflowBody, kw_only=True):
    """A workflow with its next fires and the edges that the solver draws."""

    id: str
    workflow_id: int
    version: int
    edges: list[EdgeView]
    problems: list[ProblemView]
    next_fires: list[datetime]
    created_by: str
    created_at: datetime
    updated_at: datetime


class PreviewBody(WorkflowBody, kw_only=True):
    """A draft. With `id`, the diff is against that workflow as it stands."""

    name: str = "draft"
    id: str | None = None
    days: Annotated[int, msgspec.Meta(ge=1, le=90)] = 7


class FireView(msgspec.Struct):
    """One future fire; `note` says what is special: closed by the calendar, or a change of the clock."""

    planned_at: datetime
    starts_at: datetime
    local: str
    closed: bool
    note: str | None


class DiffView(msgspec.Struct):
    """Fires that an edit adds and drops; when they are very many (`capped`), only those up to `until` were compared."""

    added: int
    dropped: int
    capped: bool = False
    until: datetime | None = None


class PreviewAnswer(msgspec.Struct):
    fires: list[FireView]
    edges: list[EdgeView]
    problems: list[ProblemView]
    diff: DiffView


class ExecuteBody(msgspec.Struct, forbid_unknown_fields=True):
    """`args` go over the args of the steps that know their names; `execution_time` without offset is in the workflow's zone."""

    args: dict[str, Any] = {}
    execution_time: str | None = None


class ExecuteAnswer(msgspec.Struct):
    workflow_id: int
    workflow_name: str
    message: str
    run_id: str
    id: str
