"""A person's word on a plan: approve it, or a part of it, or reject it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden
from server.people.hr import states
from server.people.hr.run_schemas import Approval, HrRun, Rejection
from server.people.hr.runs import (
    APPLY,
    MOST_ATTEMPTS,
    HrBusy,
    HrRunInOtherState,
    lock_source,
    row_of,
    shown,
    source_of,
    stored_error,
)
from server.people.hr.states import RunState, What
from server.people.hr.tables import hr_changes, hr_runs
from server.people.hr.thresholds import DEPARTMENTS
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued, enqueue

# Whoever has changed what counts as too much does not approve what the schedule then plans.
QUIET = timedelta(hours=24)


class HrOwnPlan(Forbidden):
    """Nobody approves what they asked for themselves."""

    type = "hr_own_plan"


class HrOwnThresholds(Forbidden):
    """The caller has changed the source's thresholds within the last day."""

    type = "hr_own_thresholds"


class HrRunRejected(Conflict):
    """A person has rejected the plan; `by` and `comment` say who and why."""

    type = "hr_run_rejected"


class HrRunOvertaken(Conflict):
    """An earlier plan was approved while this one was made; `run` names it."""

    type = "hr_run_overtaken"


async def approve(ctx: Context, actor: Actor, run_id: str, approval: Approval) -> HrRun:
    """Apply a plan that waits. Raises HrRunNotFound, HrRunInOtherState, HrBusy, HrOwnPlan, HrOwnThresholds."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> HrRun:
        run = _waiting(connection, run_id)
        source = source_of(connection, run)
        if actor.user_id is not None and actor.user_id == run.requested_by:
            raise HrOwnPlan()
        lately = source.thresholds_at is not None and now - source.thresholds_at < QUIET
        if run.requested_by is None and lately and actor.user_id is not None and actor.user_id == source.thresholds_by:
            raise HrOwnThresholds()
        _overtake(connection, now, run)
        task_id = enqueue(connection, Queue.HR_SYNC, APPLY, {"run_id": run_id}, now=now, max_attempts=MOST_ATTEMPTS)
        values = {
            "approved_by": actor.user_id,
            "approved_name": (actor.name or actor.kind.value)[:190],
            "approved_at": now,
            "task_id": task_id,
            "snapshot": {**run.snapshot, "comment": approval.comment},
        }
        if not states.move(connection, run_id, RunState.APPLYING, before=RunState.AWAITING_APPROVAL, **values):
            raise HrRunInOtherState(state=run.state)
        skipped = 0 if approval.kinds is None else states.skip_unapproved(connection, run_id, _unwanted(approval.kinds))
        detail = {"comment": approval.comment, "kinds": approval.kinds, "skipped": skipped}
        audit.note(connection, now, actor, "hr.approve", f"hr_run:{run_id}", **detail)
        return shown(row_of(connection, run_id), actor.locale)

    run = await ctx.sql.write(transaction)
    await ctx.events.publish(TaskQueued(Queue.HR_SYNC.value))
    return run


async def reject(ctx: Context, actor: Actor, run_id: str, rejection: Rejection) -> HrRun:
    """End a plan that waits; nothing of it is applied. Raises HrRunNotFound, HrRunInOtherState."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> HrRun:
        run = _waiting(connection, run_id)
        error = stored_error(HrRunRejected(by=actor.name, comment=rejection.comment or "-"))
        kept = {**run.snapshot, "comment": rejection.comment}
        if not states.move(connection, run_id, RunState.ABORTED, before=RunState.AWAITING_APPROVAL, ended_at=now, snapshot=kept, **error):
            raise HrRunInOtherState(state=run.state)
        audit.note(connection, now, actor, "hr.reject", f"hr_run:{run_id}", comment=rejection.comment)
        return shown(row_of(connection, run_id), actor.locale)

    return await ctx.sql.write(transaction)


def _waiting(connection: sa.Connection, run_id: str) -> Any:
    """The row of a run that waits for approval, locked."""
    run = row_of(connection, run_id)
    lock_source(connection, run.source_id)
    run = row_of(connection, run_id, lock=True)
    if run.state != RunState.AWAITING_APPROVAL.value:
        raise HrRunInOtherState(state=run.state)
    return run


def _overtake(connection: sa.Connection, now: Any, run: Any) -> None:
    """A sync that is still read or planned ends: it would be a plan for what is there before this one. Raises HrBusy for one being
    applied."""
    wanted = sa.select(hr_runs.c.id, hr_runs.c.state).where(
        hr_runs.c.source_id == run.source_id,
        hr_runs.c.state.in_([RunState.READING.value, RunState.APPLYING.value]),
    )
    for other in connection.execute(wanted).all():
        if other.state == RunState.APPLYING.value:
            raise HrBusy(run=other.id)
        error = stored_error(HrRunOvertaken(run=run.id))
        states.move(connection, other.id, RunState.ABORTED, before=RunState.READING, ended_at=now, **error)


def _unwanted(kinds: list[Any]) -> sa.ColumnElement[bool]:
    """The changes of a plan that are of none of the kinds."""
    people = sa.and_(hr_changes.c.what == What.PERSON.value, hr_changes.c.kind.in_([kind for kind in kinds if kind != DEPARTMENTS]))
    wanted = sa.or_(people, hr_changes.c.what == What.DEPARTMENT.value) if DEPARTMENTS in kinds else people
    return sa.not_(wanted)
