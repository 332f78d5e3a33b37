"""The scheduler's page: all schedules in one list, those of workflows among them, edited, run and reloaded from there."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch import runs, workflows
from server.dispatch.tables import workflows as workflow_table
from server.dispatch.workflow_schemas import ExecuteBody
from server.errors import Invalid
from server.messages import say
from server.platform.schedules import actions, rows
from server.platform.schedules.actions import JobPatch, JobStarted, ScheduledJob
from server.platform.schedules.errors import ScheduleNotFound
from server.platform.schedules.rows import ScheduleChanged, ScheduleKind


class Reloaded(msgspec.Struct):
    """`removed_count`: schedules whose workflow is gone; `enabled_workflows`: their names."""

    removed_count: int
    current_count: int
    enabled_workflows: list[str]
    message: str


async def list_jobs(ctx: Context, actor: Actor) -> list[ScheduledJob]:
    """All schedules that the caller may see: the system's own are for those who hold the scope everywhere."""
    places = actor.organizations("schedules:read")
    jobs = await actions.list_jobs(ctx, actor)
    if places is None:
        return jobs
    mine = sa.select(workflow_table.c.id).where(workflow_table.c.organization_id.in_(places))
    seen = await ctx.sql.read(lambda connection: set(connection.execute(mine).scalars()))
    return [job for job in jobs if job.workflow_id in seen]


def _check_system(actor: Actor) -> None:
    """A system job belongs to no organization."""
    if actor.organizations("schedules:write") is not None:
        raise ScheduleNotFound()


async def patch_job(ctx: Context, actor: Actor, schedule_id: int, patch: JobPatch) -> ScheduledJob:
    """Edit a schedule; that of a workflow is part of the workflow and is edited there. Raises ScheduleNotFound, Invalid."""
    schedule = await actions.get_schedule(ctx, schedule_id)
    if schedule.kind is ScheduleKind.WORKFLOW:
        if patch.kwargs is not None:
            raise Invalid.field("kwargs", "schedule.workflow_kwargs")
        await workflows.change_schedule(
            ctx, actor, str(schedule.target_id), crons=patch.crons, timezone=patch.timezone, enabled=patch.enabled
        )
    else:
        _check_system(actor)
        await actions.patch_system_job(ctx, actor, schedule, patch)
    return await actions.get_job(ctx, actor, schedule_id)


async def run_job(ctx: Context, actor: Actor, schedule_id: int) -> JobStarted:
    """Start what a schedule would start, now. Raises ScheduleNotFound, ScheduleBusy, WorkflowBusy."""
    schedule = await actions.get_schedule(ctx, schedule_id)
    if schedule.kind is ScheduleKind.WORKFLOW:
        started = await runs.execute(ctx, actor, str(schedule.target_id), ExecuteBody())
        return JobStarted(id=schedule_id, run_id=started.run_id)
    _check_system(actor)
    return await actions.run_system_job(ctx, actor, schedule)


async def reload(ctx: Context, actor: Actor) -> Reloaded:
    """Read all schedules again; rows whose workflow is gone are removed, unchanged ones keep their place and skip nothing."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Reloaded:
        known = {row.id: row.name for row in connection.execute(sa.select(workflow_table.c.id, workflow_table.c.name))}
        every = rows.read_all(connection)
        orphans = [one for one in every if one.kind is ScheduleKind.WORKFLOW and one.target_id not in known]
        for orphan in orphans:
            rows.remove(connection, actor, now, orphan.id)
        left = [one for one in every if one not in orphans]
        enabled = [known[one.target_id] for one in left if one.kind is ScheduleKind.WORKFLOW and one.enabled]
        message = say("scheduler.reloaded", actor.locale, removed=len(orphans), current=len(left))
        return Reloaded(len(orphans), len(left), enabled, message)

    reloaded = await ctx.sql.write(transaction)
    await ctx.events.publish(ScheduleChanged(None))
    return reloaded
