"""What the server says about one execution: which run, which step, and for which moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class TaskMeta:
    """The `meta` of an execute frame, as sent.

    `execution_time` is the cron time, ISO 8601 in the workflow's zone without offset; `deadline` has an offset. `run_id`, `step_id`
    and `fence` are None when the server speaks the inherited protocol only.
    """

    execution_time: str
    workflow_id: str
    workflow_name: str
    run_id: str | None
    step_id: str | None
    attempt: int
    fence: int | None
    deadline: str | None

    @property
    def when(self) -> datetime:
        """`execution_time` as a datetime. Raises ValueError when the server sent none."""
        return datetime.fromisoformat(self.execution_time)


def parse_meta(meta: Any) -> TaskMeta:
    """Read a frame's `meta`; what an older server leaves out is empty."""
    fields: Mapping[str, Any] = meta if isinstance(meta, Mapping) else {}
    fence = fields.get("fence")
    attempt = fields.get("attempt")
    return TaskMeta(
        execution_time=_text(fields.get("execution_time")) or "",
        workflow_id=_text(fields.get("workflow_id")) or "",
        workflow_name=_text(fields.get("workflow_name")) or "",
        run_id=_text(fields.get("run_id")),
        step_id=_text(fields.get("step_id")),
        attempt=attempt if isinstance(attempt, int) else 1,
        fence=fence if isinstance(fence, int) else None,
        deadline=_text(fields.get("deadline")),
    )


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
