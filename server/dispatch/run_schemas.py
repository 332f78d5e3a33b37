"""What the run routes take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from server.paging import PageQuery

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class RunQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    state: str = ""


class FireQuery(PageQuery, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}):
    """Ledger rows planned in [from, to); times without offset are in the workflow's zone."""

    from_: Time = ""
    to: Time = ""
    outcome: str = ""


class Attempt(msgspec.Struct):
    attempt: int
    fence: int
    outcome: str
    error: str | None
    dispatched_at: datetime | None
    ended_at: datetime | None


class LogLine(msgspec.Struct):
    """One line of a step's log; `n` is its number within the step, from 0."""

    n: int
    at: str
    level: str
    text: str


class Step(msgspec.Struct):
    """A step of a run. `after` names the steps that come before it; `args` is what was sent, `output` what came back."""

    id: str
    position: int
    name: str
    module_hash: str
    module_name: str
    state: str
    waits_for: str | None
    attempt: int
    max_attempts: int
    attempts: list[Attempt]
    after: list[str]
    args: dict[str, Any] | None
    output: dict[str, Any] | None
    message: str | None
    error: str | None
    progress: int
    progress_message: str | None
    cancel_confirmed: bool | None
    deadline: datetime | None
    dispatched_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    log_lines: int
    logs: list[LogLine]


class RunSummary(msgspec.Struct):
    """`execution_time` is the cron time in the workflow's zone, without offset, as modules see it."""

    id: str
    run_id: str
    workflow_id: int
    workflow_name: str
    kind: str
    state: str
    execution_time: str
    timezone: str
    requested_by: str
    retry_of: str | None
    error: str | None
    step_count: int
    cancel_requested_at: datetime | None
    cancel_reason: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_ms: int | None


class Run(RunSummary):
    steps: list[Step] = []


class CancelRequest(msgspec.Struct, forbid_unknown_fields=True):
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class RetryRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """From the steps that failed, their predecessors' outputs being taken over, or from the start."""

    from_: Literal["failed", "start"] = "failed"


class LogQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Lines of one step from `offset` on."""

    step_id: str
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**40)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 1000


class LogChunk(msgspec.Struct):
    """`next_offset` is where to read on; `total` counts the lines so far."""

    lines: list[LogLine]
    next_offset: int
    total: int
    ended: bool


class FireRow(msgspec.Struct):
    """A ledger row; with `count` above 1 it stands for that many instants up to `through`."""

    id: str
    planned_at: datetime
    starts_at: datetime
    outcome: str
    reason: str | None
    run_id: str | None
    lag_ms: int
    through: datetime | None
    count: int


class WhyQuery(msgspec.Struct, forbid_unknown_fields=True):
    """`at` without offset is in the workflow's zone."""

    at: Time


class ChangeRow(msgspec.Struct):
    at: datetime
    change: str
    actor: str
    crons: list[str]
    enabled: bool


class Why(msgspec.Struct):
    """What happened at a time, or why nothing did, and the rows that say so."""

    at: datetime
    sentence: str
    outcome: str
    fires: list[FireRow]
    changes: list[ChangeRow]
    previous_planned: datetime | None
    next_planned: datetime | None
