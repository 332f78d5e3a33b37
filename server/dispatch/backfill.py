"""Backfill: runs for planned instants of the past that did not fire, oldest first."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch import starting
from server.dispatch.committing import commit
from server.dispatch.definitions import Definitions
from server.dispatch.effects import Effects
from server.dispatch.errors import WorkflowNotRunnable
from server.dispatch.run_schemas import Time
from server.dispatch.tables import runs
from server.dispatch.workflows import access_workflow
from server.errors import Invalid
from server.ids import new_id
from server.platform import audit
from server.platform.schedules import rows
from server.platform.schedules.plan import Instant, instants
from server.platform.schedules.rows import ScheduleKind
from server.platform.schedules.times import read_time
from server.platform.tables import fires

# Runs at a time; they wait their turn unless the workflow runs in parallel.
MOST = 100
LOOKED_AT = 20_000
# The planner takes what starts after a time and up to another; a range takes its beginning and leaves its end.
RESOLUTION = timedelta(microseconds=1)


class BackfillRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Instants in [from, to), in the workflow's zone when without offset. With `dry_run` nothing is started."""

    from_: Time
    to: Time
    dry_run: bool = False


class Backfill(msgspec.Struct):
    """`planned` instants lie in the range and are open; `missing` of them have no run; `run_ids` were started for the oldest of those."""

    planned: int
    missing: int
    execution_times: list[datetime]
    run_ids: list[str]


async def backfill(ctx: Context, actor: Actor, ref: str, request: BackfillRequest) -> Backfill:
    """Start what was missed, by the schedule as it stands now, at most a hundred runs a call.

    An instant that fired, or was filled in before, is not run again. Raises WorkflowNotFound, WorkflowNotRunnable, Invalid for a bad range.
    """

    def look(connection: sa.Connection) -> Any:
        workflow = access_workflow(connection, actor, ref, "workflows:run")
        schedule = rows.find_of(connection, ScheduleKind.WORKFLOW, workflow.id)
        assert schedule is not None, "a workflow has a schedule as long as it exists"
        return workflow.id, schedule

    workflow_id, schedule = await ctx.sql.read(look)
    definition = await ctx.services.get(Definitions).get(workflow_id)
    if definition.problems:
        raise WorkflowNotRunnable(detail="; ".join(problem.text.say(actor.locale) for problem in definition.problems))
    zone, now = schedule.cadence.timezone, ctx.clock.now()
    begin, end = read_time(request.from_, zone, "from"), read_time(request.to, zone, "to")
    if begin >= end:
        raise Invalid.field("to", "backfill.range")
    # By cron time, whatever the shift: what people name is the time that modules see.
    unshifted = msgspec.structs.replace(schedule.cadence, shift_s=0, jitter_s=0)
    found = await asyncio.to_thread(instants, unshifted, begin - RESOLUTION, min(end, now) - RESOLUTION, LOOKED_AT)
    planned = [instant for instant in found if instant.excluded is None]

    def transaction(connection: sa.Connection, effects: Effects) -> tuple[list[Instant], list[str]]:
        access_workflow(connection, actor, ref, "workflows:run", lock=True)  # two at once would fill in the same instants
        missing = _missing(connection, workflow_id, schedule.id, planned)
        if request.dry_run or not missing:
            return missing, []
        starts = [
            starting.Start(
                definition=definition,
                run_id=new_id(),
                kind="backfill",
                execution_time=instant.planned_at,
                requested_by=actor.name,
                step_ids=[new_id() for _ in definition.steps],
            )
            for instant in missing[:MOST]
        ]
        begun = starting.begin(connection, effects, starts)
        audit.note(connection, effects.now, actor, "workflow.backfill", f"workflow:{workflow_id}", runs=len(starts))
        return missing, [one.run_id for one in begun if one.refused is None]

    missing, run_ids = await commit(ctx, transaction)
    return Backfill(len(planned), len(missing), [instant.planned_at for instant in missing[:MOST]], run_ids)


def _missing(connection: sa.Connection, workflow_id: int, schedule_id: int, planned: list[Instant]) -> list[Instant]:
    if not planned:
        return []
    low, high = planned[0].planned_at, planned[-1].planned_at
    fired = sa.select(fires.c.planned_at).where(
        fires.c.schedule_id == schedule_id, fires.c.outcome == "fired", fires.c.planned_at.between(low, high)
    )
    filled = sa.select(runs.c.execution_time).where(
        runs.c.workflow_id == workflow_id, runs.c.kind == "backfill", runs.c.execution_time.between(low, high)
    )
    done = set(connection.execute(fired).scalars()) | set(connection.execute(filled).scalars())
    return [instant for instant in planned if instant.planned_at not in done]
