"""Workflows: created, edited, enabled, removed, listed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch.definitions import KnownModule, find_modules, solve_body
from server.dispatch.errors import WorkflowNotFound
from server.dispatch.events import WorkflowChanged
from server.dispatch.solver import Problem, Solution, fields_of
from server.dispatch.tables import workflows
from server.dispatch.workflow_schemas import EdgeView, NearestView, ProblemView, WorkflowBody, WorkflowView
from server.errors import Fields, Invalid
from server.ids import find_row_number, new_id
from server.messages import Locale, text
from server.people.organizations import check_organization, root_id
from server.platform import audit
from server.platform.schedules import rows
from server.platform.schedules.cadence import Cadence, check_cadence
from server.platform.schedules.plan import Cursor
from server.platform.schedules.rows import ScheduleChanged, ScheduleKind

NEXT_FIRES = 10
MAIL_ADDRESS = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$|^[^@\s]+@localhost$")
UID = re.compile(r"^[0-9a-f]{32}$")


class Checked(msgspec.Struct, frozen=True):
    """A body that can run: its cadence, its modules and the solver's plan."""

    cadence: Cadence
    known: Mapping[str, KnownModule]
    solution: Solution


def find_problems(connection: sa.Connection, body: WorkflowBody, default_timezone: str) -> tuple[Fields, Checked | None, Solution]:
    """All that is wrong with a body, by field, and the checked body when nothing is."""
    fields: Fields = {}
    cadence = None
    try:
        calendar = rows.get_calendar(connection, body.calendar)
        cadence = check_cadence(
            body.execute_cron_list, body.timezone or default_timezone, body.execute_shift_time, body.execute_shift_unit, calendar
        )
    except Invalid as error:
        fields.update(error.fields)
    known = find_modules(connection, {step.module_hash for step in body.execute_modules})
    for index, step in enumerate(body.execute_modules):
        if step.module_hash not in known:
            fields[f"execute_modules[{index}].module_hash"] = [text("workflow.no_module", hash=step.module_hash)]
    for index, address in enumerate(body.notify):
        if not MAIL_ADDRESS.match(address):
            fields[f"notify[{index}]"] = [text("field.email")]
    solution = solve_body(body, known)
    fields.update(fields_of(solution.problems))
    checked = Checked(cadence, known, solution) if cadence is not None and not fields else None
    return fields, checked, solution


def check_body(connection: sa.Connection, body: WorkflowBody, default_timezone: str) -> Checked:
    """Raise Invalid with every wrong field, unless the body can run."""
    fields, checked, _ = find_problems(connection, body, default_timezone)
    if checked is None:
        raise Invalid(fields=fields)
    return checked


def access_workflow(connection: sa.Connection, actor: Actor, ref: str, scope: str, *, lock: bool = False) -> Any:
    """The row of a workflow by its id or number, if the caller holds `scope` where it belongs. Raises WorkflowNotFound."""
    number = find_row_number(ref)
    if number is not None:
        condition = workflows.c.id == number
    elif UID.match(ref):
        condition = workflows.c.uid == ref
    else:
        raise WorkflowNotFound()
    wanted = sa.select(workflows).where(condition)
    row = connection.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None or not actor.may(scope, row.organization_id):
        raise WorkflowNotFound()
    return row


async def create(ctx: Context, actor: Actor, body: WorkflowBody) -> WorkflowView:
    """A new workflow and its schedule. Raises Invalid with every wrong field, requirements included."""
    now, uid = ctx.clock.now(), new_id()

    def transaction(connection: sa.Connection) -> tuple[int, int]:
        checked = check_body(connection, body, ctx.settings.timezone)
        organization = body.organization_id or root_id(connection)
        check_organization(connection, organization)
        actor.require("workflows:write", organization)
        _check_name(connection, body.name, None)
        made = connection.execute(
            workflows.insert().values(
                uid=uid,
                name=body.name,
                description=body.description,
                enabled=body.enable,
                body=body,
                version=1,
                organization_id=organization,
                created_by=actor.name,
                created_at=now,
                updated_at=now,
            )
        )
        assert made.inserted_primary_key
        number = int(made.inserted_primary_key[0])
        schedule_id = rows.insert(
            connection, actor, now, kind=ScheduleKind.WORKFLOW.value, target_id=number, kwargs={}, **_schedule(body, checked.cadence)
        )
        audit.note(connection, now, actor, "workflow.create", f"workflow:{number}", name=body.name)
        return number, schedule_id

    try:
        number, schedule_id = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        raise Invalid.field("name", "field.taken") from None
    await ctx.events.publish(WorkflowChanged(number))
    await ctx.events.publish(ScheduleChanged(schedule_id))
    return await get(ctx, actor, uid)


def _check_name(connection: sa.Connection, name: str, own: int | None) -> None:
    taken = connection.execute(sa.select(workflows.c.id).where(workflows.c.name == name)).scalar()
    if taken is not None and taken != own:
        raise Invalid.field("name", "field.taken")


def _schedule(body: WorkflowBody, cadence: Cadence) -> dict[str, Any]:
    """The schedule columns that a body decides."""
    return {
        "name": body.name,
        "crons": list(cadence.crons),
        "timezone": cadence.timezone,
        "calendar": body.calendar,
        "shift_s": cadence.shift_s,
        "misfire": body.misfire.value,
        "misfire_max_age_s": body.misfire_max_age_s,
        "overlap": body.overlap.value,
        "enabled": body.enable,
    }


async def update(ctx: Context, actor: Actor, ref: str, body: WorkflowBody) -> WorkflowView:
    """Replace a workflow's definition; runs that have begun keep the old one. Raises WorkflowNotFound, Invalid."""
    return await _change(ctx, actor, ref, lambda _old: body, "workflow.update")


async def enable(ctx: Context, actor: Actor, ref: str, enabled: bool) -> WorkflowView:
    """Let its schedule fire, or not. Raises WorkflowNotFound; Invalid when it is to be enabled and cannot run any more."""

    def switched(old: WorkflowBody) -> WorkflowBody:
        return msgspec.structs.replace(old, enable=enabled)

    return await _change(ctx, actor, ref, switched, "workflow.enable" if enabled else "workflow.disable")


async def change_schedule(
    ctx: Context, actor: Actor, ref: str, *, crons: list[str] | None, timezone: str | None, enabled: bool | None
) -> WorkflowView:
    """Change when a workflow fires and nothing else, as the scheduler's own page does."""
    changes: dict[str, Any] = {}
    if crons is not None:
        changes["execute_cron_list"] = crons
    if timezone is not None:
        changes["timezone"] = timezone
    if enabled is not None:
        changes["enable"] = enabled
    return await _change(ctx, actor, ref, lambda old: msgspec.structs.replace(old, **changes), "workflow.update")


async def _change(ctx: Context, actor: Actor, ref: str, change: Any, action: str) -> WorkflowView:
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> tuple[int, int]:
        row = access_workflow(connection, actor, ref, "workflows:write", lock=True)
        old = msgspec.convert(row.body, WorkflowBody)
        body: WorkflowBody = change(old)
        organization = body.organization_id or row.organization_id
        if organization != row.organization_id:
            check_organization(connection, organization)
            actor.require("workflows:write", organization)
        if body.enable or action == "workflow.update":
            cadence = check_body(connection, body, ctx.settings.timezone).cadence
        else:  # a workflow that can no longer run can still be switched off
            schedule = rows.find_of(connection, ScheduleKind.WORKFLOW, row.id)
            assert schedule is not None
            cadence = schedule.cadence
        _check_name(connection, body.name, row.id)
        schedule = rows.find_of(connection, ScheduleKind.WORKFLOW, row.id)
        assert schedule is not None
        rows.update(connection, actor, now, schedule.id, **_schedule(body, cadence))
        connection.execute(
            workflows.update()
            .where(workflows.c.id == row.id)
            .values(
                name=body.name,
                description=body.description,
                enabled=body.enable,
                body=body,
                version=workflows.c.version + 1,
                organization_id=organization,
                updated_at=now,
            )
        )
        audit.note(connection, now, actor, action, f"workflow:{row.id}", name=body.name)
        return int(row.id), schedule.id

    try:
        number, schedule_id = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        raise Invalid.field("name", "field.taken") from None
    await ctx.events.publish(WorkflowChanged(number))
    await ctx.events.publish(ScheduleChanged(schedule_id))
    return await get(ctx, actor, str(number))


async def remove(ctx: Context, actor: Actor, ref: str) -> None:
    """Remove a workflow and its schedule; its runs stay until retention, those that go on end as they would."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> tuple[int, int | None]:
        row = access_workflow(connection, actor, ref, "workflows:write", lock=True)
        schedule = rows.find_of(connection, ScheduleKind.WORKFLOW, row.id)
        if schedule is not None:
            rows.remove(connection, actor, now, schedule.id)
        connection.execute(workflows.delete().where(workflows.c.id == row.id))
        audit.note(connection, now, actor, "workflow.remove", f"workflow:{row.id}", name=row.name)
        return int(row.id), schedule.id if schedule else None

    number, schedule_id = await ctx.sql.write(transaction)
    await ctx.events.publish(WorkflowChanged(number, removed=True))
    await ctx.events.publish(ScheduleChanged(schedule_id))


async def get(ctx: Context, actor: Actor, ref: str) -> WorkflowView:
    def transaction(connection: sa.Connection) -> WorkflowView:
        row = access_workflow(connection, actor, ref, "workflows:read")
        return _view(connection, row, actor.locale, ctx.clock.now(), NEXT_FIRES)

    return await ctx.sql.read(transaction)


async def list_workflows(ctx: Context, actor: Actor) -> list[WorkflowView]:
    """All workflows that the caller may see, in order of their numbers, each with its next fire."""
    places = actor.organizations("workflows:read")
    wanted = sa.select(workflows).order_by(workflows.c.id)
    if places is not None:
        wanted = wanted.where(workflows.c.organization_id.in_(places))

    def transaction(connection: sa.Connection) -> list[WorkflowView]:
        return [_view(connection, row, actor.locale, ctx.clock.now(), 1) for row in connection.execute(wanted).all()]

    return await ctx.sql.read(transaction)


def _view(connection: sa.Connection, row: Any, locale: Locale, now: datetime, fires: int) -> WorkflowView:
    body = msgspec.convert(row.body, WorkflowBody)
    known = find_modules(connection, {step.module_hash for step in body.execute_modules})
    solution = solve_body(body, known)
    schedule = rows.find_of(connection, ScheduleKind.WORKFLOW, row.id)
    shown = {name: getattr(body, name) for name in WorkflowBody.__struct_fields__}
    shown.update(organization_id=row.organization_id, timezone=schedule.cadence.timezone if schedule else body.timezone)
    return WorkflowView(
        **shown,
        id=row.uid,
        workflow_id=row.id,
        version=row.version,
        edges=edges_of(solution),
        problems=[problem_view(problem, locale) for problem in solution.problems],
        next_fires=next_starts(schedule.cadence, now, fires) if schedule and schedule.enabled else [],
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def next_starts(cadence: Cadence, after: datetime, number: int) -> list[datetime]:
    """When the next runs start; instants that the calendar closes are left out."""
    cursor = Cursor(cadence, after)
    found: list[datetime] = []
    for _ in range(10_000):
        instant = cursor.pop()
        if instant is None or len(found) == number:
            break
        if instant.excluded is None:
            found.append(instant.starts_at)
    return found


def edges_of(solution: Solution) -> list[EdgeView]:
    return [EdgeView(edge.producer, edge.output, edge.consumer, edge.input) for edge in solution.edges]


def problem_view(problem: Problem, locale: Locale) -> ProblemView:
    nearest = [NearestView(near.step, near.name, near.type) for near in problem.nearest]
    field = f"execute_modules[{problem.index}].{problem.part}" if problem.part else f"execute_modules[{problem.index}]"
    return ProblemView(field, problem.step, problem.requirement, problem.reason.value, problem.text.say(locale), nearest)
