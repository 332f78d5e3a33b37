"""One run from its start to its end: read, planned, and applied when nobody needs to look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.errors import Conflict, DomainError, EngineAway
from server.people import told
from server.people.hr import applying, plan_rows, runs, snapshot, states, undoing
from server.people.hr.approving import HrRunRejected
from server.people.hr.planning import Plan, Planner
from server.people.hr.sources import Source
from server.people.hr.states import RunKind, RunState
from server.people.hr.tables import hr_runs
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce

Progress = Callable[[int, str], Awaitable[None]]


class PlanWaits(Conflict):
    """A plan of the same snapshot waits for approval, or was rejected; `run` names it."""

    type = "hr_plan_waits"


class PlanSuperseded(Conflict):
    """A newer sync has found something else; `run` names it."""

    type = "hr_plan_superseded"


async def carry_out(ctx: Context, run_id: str, progress: Progress, *, last_try: bool) -> dict[str, Any]:
    """Carry a run on from wherever it is. Raises EngineAway, to be called again; any doubt about the snapshot aborts the run."""
    run = await ctx.sql.read(lambda connection: runs.row_of(connection, run_id))
    try:
        if run.state == RunState.READING.value:
            await _read_and_plan(ctx, run, progress)
    except EngineAway as away:
        if last_try:
            await abort(ctx, run_id, away)
        raise
    except DomainError as refused:
        await abort(ctx, run_id, refused)
    else:
        await applying.apply(ctx, run_id, progress)
    ended = await ctx.sql.read(lambda connection: runs.row_of(connection, run_id))
    if ended.state != RunState.APPLYING.value:
        await plan_rows.clear_snapshot(ctx, run_id)
    return {"state": ended.state, "counts": ended.counts}


async def _read_and_plan(ctx: Context, run: Any, progress: Progress) -> None:
    source = await ctx.sql.read(lambda connection: runs.source_of(connection, run))
    if run.kind == RunKind.UNDO.value:
        plan = await undoing.plan(ctx, run, source)
        snapshot_said: dict[str, Any] = {}
    else:
        # A run that was broken off while it was planned is read again: what HR says now is what counts.
        read = await snapshot.stage(ctx, source, run.id, lambda number: progress(min(40, number // 2500), f"{number}"))
        snapshot_said = {"persons": read.persons, "departments": read.departments, "pages": read.pages, "hash": read.hash}
        await _check_not_repeated(ctx, run, source, read.hash)
        planner = Planner(ctx, run.id, source)
        plan = await planner.plan(
            persons=read.persons, has_departments=read.has_departments, progress=lambda part: progress(40 + part // 2, "")
        )
    now = ctx.clock.now()
    await announce(ctx, *await ctx.sql.write(lambda connection: settle(connection, now, run.id, source, plan, snapshot_said)))


async def _check_not_repeated(ctx: Context, run: Any, source: Source, digest: str) -> None:
    """A snapshot that waits for approval is not planned again; one that was rejected only when a person asks."""
    if run.dry_run:
        return
    earlier = (
        sa.select(hr_runs.c.id, hr_runs.c.state, hr_runs.c.error_type, hr_runs.c.snapshot)
        .where(
            hr_runs.c.source_id == source.id,
            hr_runs.c.kind == RunKind.SYNC.value,
            hr_runs.c.dry_run.is_(False),
            hr_runs.c.planned_at.is_not(None),
            hr_runs.c.id != run.id,
        )
        .order_by(hr_runs.c.created_at.desc())
        .limit(1)
    )
    last = await ctx.sql.read(lambda connection: connection.execute(earlier).one_or_none())
    if last is None or last.snapshot.get("hash") != digest or last.snapshot.get("version") != source.version:
        return
    rejected = last.error_type == HrRunRejected.type and run.requested_by is None
    if last.state == RunState.AWAITING_APPROVAL.value or rejected:
        raise PlanWaits(run=last.id)


def settle(connection: sa.Connection, now: datetime, run_id: str, source: Source, plan: Plan, said: dict[str, Any]) -> list[Told]:
    """A plan is made: what becomes of the run, and of a plan that has waited. Nothing when the run was ended meanwhile."""
    runs.lock_source(connection, source.id)
    run = runs.row_of(connection, run_id, lock=True)
    to = RunState.PLANNED if run.dry_run else RunState.AWAITING_APPROVAL if plan.exceeded else RunState.APPLYING
    counts: dict[str, Any] = {**plan.counts, "departments": plan.departments, "changes": plan.changes}
    values = {
        "counts": counts,
        "exceeded": msgspec.to_builtins(plan.exceeded),
        "snapshot": {**said, "version": source.version},
        "planned_at": now,
        "progress": 0,
        "ended_at": now if to is RunState.PLANNED else None,
    }
    if not states.move(connection, run_id, to, before=RunState.READING, **values):
        return []
    if run.dry_run:
        return []
    if run.kind == RunKind.SYNC.value:
        _supersede(connection, now, run)
    if to is not RunState.AWAITING_APPROVAL:
        return []
    params = {"source": source.name, "changes": plan.changes}
    return [told.tell_holders(connection, now, "hr:approve", Kind.PLAN_WAITING, f"hr-run:{run_id}", params, f"/#/hr/runs/{run_id}")]


def _supersede(connection: sa.Connection, now: datetime, run: Any) -> None:
    """Plans that waited are no longer what HR says."""
    waiting = sa.select(hr_runs.c.id).where(
        hr_runs.c.source_id == run.source_id,
        hr_runs.c.kind == RunKind.SYNC.value,
        hr_runs.c.state == RunState.AWAITING_APPROVAL.value,
        hr_runs.c.id != run.id,
    )
    for run_id in connection.execute(waiting).scalars().all():
        error = runs.stored_error(PlanSuperseded(run=run.id))
        states.move(connection, run_id, RunState.ABORTED, before=RunState.AWAITING_APPROVAL, ended_at=now, **error)


async def abort(ctx: Context, run_id: str, error: DomainError) -> None:
    """End a run that has written nothing yet, and tell those who look after the sources, of one fault once a day."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> list[Told]:
        run = runs.row_of(connection, run_id, lock=True)
        if not states.move(connection, run_id, RunState.ABORTED, before=RunState.READING, ended_at=now, **runs.stored_error(error)):
            return []
        if isinstance(error, PlanWaits) or run.requested_by is not None:  # whoever asked looks at the run
            return []
        key = f"hr-source:{run.source_id}:{error.type}:{now.date()}"
        params = {"source": run.source or "", "error": str(error)}
        return [told.tell_holders(connection, now, "hr:write", Kind.HR_RUN_FAILED, key, params, f"/#/hr/runs/{run_id}")]

    await announce(ctx, *await ctx.sql.write(transaction))
