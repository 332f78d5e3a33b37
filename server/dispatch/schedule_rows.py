"""Schedules as rows, those of workflows among them: who sees which, and where each is edited."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch import workflows
from server.dispatch.tables import workflows as workflow_table
from server.errors import Fields, Invalid
from server.messages import text
from server.paging import Page
from server.platform.schedules import actions, editing, history, reading
from server.platform.schedules.editing import SchedulePatch
from server.platform.schedules.errors import ScheduleNotFound
from server.platform.schedules.history import HistoryQuery, HistoryRow
from server.platform.schedules.reading import Coming, ComingQuery, ScheduleQuery, ScheduleView
from server.platform.schedules.rows import Schedule, ScheduleKind
from server.platform.tables import schedules

# What can be said of a workflow's schedule here, and what the workflow calls it.
OF_WORKFLOW = {"crons": "execute_cron_list", "timezone": "timezone", "enabled": "enable", "jitter_s": ""}


def _seen(actor: Actor, scope: str) -> sa.ColumnElement[bool] | None:
    """Jobs belong to no organization: their schedules are for those who hold the scope everywhere."""
    places = actor.organizations(scope)
    if places is None:
        return None
    mine = sa.select(workflow_table.c.id).where(workflow_table.c.organization_id.in_(places))
    return sa.and_(schedules.c.kind == ScheduleKind.WORKFLOW.value, schedules.c.target_id.in_(mine))


async def access_schedule(ctx: Context, actor: Actor, schedule_id: int, scope: str) -> Schedule:
    """Raises ScheduleNotFound for one that the caller may not know of."""
    schedule = await actions.get_schedule(ctx, schedule_id)
    seen = _seen(actor, scope)
    if seen is not None:
        mine = sa.select(schedules.c.id).where(schedules.c.id == schedule_id, seen)
        if await ctx.sql.read(lambda connection: connection.execute(mine).first()) is None:
            raise ScheduleNotFound()
    return schedule


async def list_schedules(ctx: Context, actor: Actor, query: ScheduleQuery) -> Page[ScheduleView]:
    return await reading.list_rows(ctx, query, seen=_seen(actor, "schedules:read"))


async def get_schedule(ctx: Context, actor: Actor, schedule_id: int) -> ScheduleView:
    await access_schedule(ctx, actor, schedule_id, "schedules:read")
    return await reading.get_row(ctx, schedule_id)


async def coming(ctx: Context, actor: Actor, schedule_id: int, query: ComingQuery) -> list[Coming]:
    schedule = await access_schedule(ctx, actor, schedule_id, "schedules:read")
    return await reading.coming(ctx, schedule, query, actor.locale)


async def list_history(ctx: Context, actor: Actor, schedule_id: int, query: HistoryQuery) -> Page[HistoryRow]:
    await access_schedule(ctx, actor, schedule_id, "schedules:read")
    return await history.list_history(ctx, schedule_id, query)


async def patch_schedule(ctx: Context, actor: Actor, schedule_id: int, patch: SchedulePatch) -> ScheduleView:
    """Edit a schedule; a workflow's is edited as part of the workflow, but for its jitter. Raises ScheduleNotFound, Invalid."""
    schedule = await access_schedule(ctx, actor, schedule_id, "schedules:write")
    changes = patch.changes
    if schedule.kind is ScheduleKind.WORKFLOW:
        changes = await _patch_workflow(ctx, actor, schedule, changes)
    if changes:
        await editing.change(ctx, actor, schedule_id, changes)
    return await reading.get_row(ctx, schedule_id)


async def _patch_workflow(ctx: Context, actor: Actor, schedule: Schedule, changes: dict[str, Any]) -> dict[str, Any]:
    """Give the workflow what is its own; what is left is the row's."""
    wrong: Fields = {name: [text("schedule.of_workflow_field")] for name in changes if name not in OF_WORKFLOW}
    if wrong:
        raise Invalid(fields=wrong)
    own = {name: changes.pop(name) for name in ("crons", "timezone", "enabled") if name in changes}
    if own:
        wanted = {"crons": None, "timezone": None, "enabled": None, **own}
        try:
            await workflows.change_schedule(ctx, actor, str(schedule.target_id), **wanted)
        except Invalid as invalid:
            raise Invalid(fields={_renamed(name): reasons for name, reasons in invalid.fields.items()}) from invalid
    return changes


def _renamed(field: str) -> str:
    """What the workflow's body calls a field, as this one does."""
    for ours, theirs in OF_WORKFLOW.items():
        if theirs and (field == theirs or field.startswith(theirs + "[")):
            return ours + field[len(theirs) :]
    return field
