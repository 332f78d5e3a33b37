"""Shows a draft before it is saved: its coming fires, the edges of its steps, what is wrong, what an edit would change."""

from __future__ import annotations

import asyncio

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch.solver import Solution
from server.dispatch.workflow_schemas import DiffView, FireView, PreviewAnswer, PreviewBody, ProblemView
from server.dispatch.workflows import access_workflow, edges_of, find_problems, problem_view
from server.errors import Fields
from server.platform.schedules import preview as schedules_preview
from server.platform.schedules import rows
from server.platform.schedules.cadence import Cadence, check_cadence
from server.platform.schedules.rows import ScheduleKind

MOST_FIRES = 1000


class _Draft(msgspec.Struct):
    fields: Fields
    solution: Solution
    cadence: Cadence | None
    before: Cadence | None


async def preview(ctx: Context, actor: Actor, body: PreviewBody) -> PreviewAnswer:
    """What the draft would do; saves nothing and refuses nothing but a workflow that is not there."""

    def transaction(connection: sa.Connection) -> _Draft:
        schedule = None
        if body.id:
            row = access_workflow(connection, actor, body.id, "workflows:read")
            schedule = rows.find_of(connection, ScheduleKind.WORKFLOW, row.id)
        fields, checked, solution = find_problems(connection, body, ctx.settings.timezone)
        cadence = checked.cadence if checked else None
        if cadence is None and not any(name.startswith(("execute_cron", "execute_shift", "timezone", "calendar")) for name in fields):
            calendar = rows.get_calendar(connection, body.calendar)
            cadence = check_cadence(
                body.execute_cron_list, body.timezone or ctx.settings.timezone, body.execute_shift_time, body.execute_shift_unit, calendar
            )
        if schedule and cadence:  # a workflow's jitter is set elsewhere, and stays
            cadence = msgspec.structs.replace(cadence, jitter_s=schedule.cadence.jitter_s, seed=schedule.cadence.seed)
        return _Draft(fields, solution, cadence, schedule.cadence if schedule and schedule.enabled else None)

    draft = await ctx.sql.read(transaction)
    now = ctx.clock.now()
    fires: list[FireView] = []
    diff = DiffView(0, 0)
    if draft.cadence is not None:
        found = await asyncio.to_thread(schedules_preview.preview, draft.cadence, now, body.days, MOST_FIRES)
        fires = [
            FireView(
                fire.instant.planned_at,
                fire.instant.starts_at,
                fire.instant.local.isoformat(),
                fire.instant.excluded is not None,
                " ".join(note.say(actor.locale) for note in fire.notes) or None,
            )
            for fire in found
        ]
        after = draft.cadence if body.enable else Cadence(crons=(), timezone=draft.cadence.timezone)
        changed = await asyncio.to_thread(schedules_preview.diff, draft.before, after, now, body.days)
        diff = DiffView(changed.added, changed.dropped, changed.capped, changed.until)
    explained = {problem_view(problem, actor.locale).field for problem in draft.solution.problems}
    problems = [problem_view(problem, actor.locale) for problem in draft.solution.problems]
    problems += [
        ProblemView(field, "", "", "field", " ".join(reason.say(actor.locale) for reason in reasons), [])
        for field, reasons in draft.fields.items()
        if field not in explained
    ]
    return PreviewAnswer(fires, edges_of(draft.solution), problems, diff)
