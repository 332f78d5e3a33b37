"""The states of HR runs, their changes and people, and the only place that changes those of runs and changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from server.people.hr.person_row import PersonRow, is_active
from server.people.hr.tables import hr_changes, hr_runs


class RunState(StrEnum):
    READING = "reading"  # the snapshot is read, then compared
    PLANNED = "planned"  # a dry run ends here
    AWAITING_APPROVAL = "awaiting_approval"
    APPLYING = "applying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # broken off while applying; the next sync plans what is left
    ABORTED = "aborted"  # nothing was written: refused, rejected or overtaken; `error` says why


class RunKind(StrEnum):
    SYNC = "sync"
    UNDO = "undo"


class ChangeState(StrEnum):
    PENDING = "pending"
    NEEDS_PERSON = "needs_person"  # somebody must say which account is meant
    APPLIED = "applied"
    SKIPPED = "skipped"  # not approved, decided against, or no longer true; `strange` says which
    FAILED = "failed"


class ChangeKind(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DISABLE = "disable"
    REVIVE = "revive"
    MOVE = "move"


class What(StrEnum):
    PERSON = "person"
    DEPARTMENT = "department"


class PersonState(StrEnum):
    ACTIVE = "active"
    LATER = "later"  # HR names the person, whose first day has not come
    LEFT = "left"  # HR says so, or the last day has passed
    GONE = "gone"  # HR no longer names the person: a tombstone


PRESENT = (PersonState.ACTIVE, PersonState.LATER)
GOING_ON = (RunState.READING, RunState.APPLYING)
_FROM: dict[RunState, tuple[RunState, ...]] = {
    RunState.PLANNED: (RunState.READING,),
    RunState.AWAITING_APPROVAL: (RunState.READING,),
    RunState.APPLYING: (RunState.READING, RunState.AWAITING_APPROVAL),
    RunState.SUCCEEDED: (RunState.APPLYING,),
    RunState.FAILED: (RunState.APPLYING,),
    RunState.ABORTED: (RunState.READING, RunState.AWAITING_APPROVAL),
}


def person_state(row: PersonRow, today: date, early_days: int = 0) -> PersonState:
    """The state that a row means on a day."""
    if is_active(row, today, early_days):
        return PersonState.ACTIVE
    if row.status != "active" or (row.end_date is not None and row.end_date < today.isoformat()):
        return PersonState.LEFT
    return PersonState.LATER


def insert(connection: sa.Connection, now: datetime, run_id: str, **values: Any) -> None:
    """A new run, reading."""
    more = {"counts": {}, "exceeded": [], "snapshot": {}, "progress": 0, "state": RunState.READING.value, "created_at": now}
    connection.execute(hr_runs.insert().values({"id": run_id, **more, **values}))


def move(connection: sa.Connection, run_id: str, to: RunState, *, before: RunState | None = None, **values: Any) -> bool:
    """Put a run into a state; False when it is in one from which this cannot follow, or not in `before` when that is given."""
    expected = [before.value] if before is not None else [state.value for state in _FROM[to]]
    moved = hr_runs.update().where(hr_runs.c.id == run_id, hr_runs.c.state.in_(expected))
    return connection.execute(moved.values(state=to.value, **values)).rowcount == 1


def settle(connection: sa.Connection, ids: Sequence[int], to: ChangeState, **values: Any) -> int:
    """Move changes on from `pending`, at most some hundreds at once; how many were."""
    if not ids:
        return 0
    pending = hr_changes.update().where(hr_changes.c.id.in_(list(ids)), hr_changes.c.state == ChangeState.PENDING.value)
    return connection.execute(pending.values(state=to.value, **values)).rowcount


def skip_unapproved(connection: sa.Connection, run_id: str, unwanted: sa.ColumnElement[bool]) -> int:
    """What of a plan was not approved is skipped; how many changes."""
    pending = hr_changes.update().where(hr_changes.c.run_id == run_id, hr_changes.c.state == ChangeState.PENDING.value, unwanted)
    return connection.execute(pending.values(state=ChangeState.SKIPPED.value, strange=["not_approved"])).rowcount


def decide(connection: sa.Connection, change_id: int, to: ChangeState, **values: Any) -> bool:
    """Move a change on from `needs_person`; False when somebody else has."""
    asked = hr_changes.update().where(hr_changes.c.id == change_id, hr_changes.c.state == ChangeState.NEEDS_PERSON.value)
    return connection.execute(asked.values(state=to.value, **values)).rowcount == 1
