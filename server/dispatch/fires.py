"""What the ledger says of a workflow: its rows, and why something did or did not happen at a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch.run_schemas import ChangeRow, FireQuery, FireRow, Why, WhyQuery
from server.dispatch.tables import runs
from server.dispatch.workflows import access_workflow
from server.messages import Text, text
from server.paging import Page, page_of
from server.platform.schedules import rows
from server.platform.schedules.ledger import NAME
from server.platform.schedules.plan import Cursor, Instant, newest_first
from server.platform.schedules.rows import Schedule, ScheduleKind
from server.platform.schedules.times import read_time
from server.platform.tables import fires, planner, schedule_changes

# A cron with seconds is asked about by the second, others by the minute.
NEAR = timedelta(seconds=60)


def _fire(row: Any) -> FireRow:
    return FireRow(**{name: getattr(row, name) for name in FireRow.__struct_fields__})


def _schedule_of(connection: sa.Connection, workflow_id: int) -> Schedule:
    schedule = rows.find_of(connection, ScheduleKind.WORKFLOW, workflow_id)
    assert schedule is not None, "a workflow has a schedule as long as it exists"
    return schedule


async def list_fires(ctx: Context, actor: Actor, ref: str, query: FireQuery) -> Page[FireRow]:
    """Ledger rows of a workflow, newest first; `from` and `to` without offset are in its zone."""

    def transaction(connection: sa.Connection) -> Page[FireRow]:
        workflow = access_workflow(connection, actor, ref, "workflows:read")
        schedule = _schedule_of(connection, workflow.id)
        wanted = sa.select(fires).where(fires.c.schedule_id == schedule.id)
        if query.from_:
            low = read_time(query.from_, schedule.cadence.timezone, "from")
            wanted = wanted.where(sa.or_(fires.c.planned_at >= low, fires.c.through >= low))
        if query.to:
            wanted = wanted.where(fires.c.planned_at < read_time(query.to, schedule.cadence.timezone, "to"))
        if query.outcome:
            wanted = wanted.where(fires.c.outcome == query.outcome)
        return page_of(
            connection, wanted, query, _fire, sortable={"planned_at": fires.c.planned_at, "lag_ms": fires.c.lag_ms}, order="-planned_at"
        )

    return await ctx.sql.read(transaction)


async def why(ctx: Context, actor: Actor, ref: str, query: WhyQuery) -> Why:
    """One sentence about what happened at a time, or why nothing did, with the rows behind it."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> Why:
        workflow = access_workflow(connection, actor, ref, "workflows:read")
        schedule = _schedule_of(connection, workflow.id)
        at = read_time(query.at, schedule.cadence.timezone, "at")
        found = _rows_about(connection, schedule, at)
        changes = _changes_before(connection, schedule.id, at)
        previous, following = _around(schedule, at)
        sentence, outcome = _explain(connection, schedule, at, now, found, changes, previous, following)
        return Why(
            at=at,
            sentence=sentence.say(actor.locale),
            outcome=outcome,
            fires=[_fire(row) for row in found],
            changes=changes,
            previous_planned=previous.planned_at if previous else None,
            next_planned=following.planned_at if following else None,
        )

    return await ctx.sql.read(transaction)


def _rows_about(connection: sa.Connection, schedule: Schedule, at: datetime) -> list[Any]:
    """The rows planned at that time or starting then, else those of that minute, or the stretch that it lies in."""
    mine = sa.select(fires).where(fires.c.schedule_id == schedule.id)
    exact = connection.execute(mine.where(sa.or_(fires.c.planned_at == at, fires.c.starts_at == at)).order_by(fires.c.planned_at)).all()
    if exact:
        return list(exact)
    stretch = connection.execute(mine.where(fires.c.planned_at <= at, fires.c.through >= at)).all()
    if stretch:
        return list(stretch)
    minute = at.replace(second=0, microsecond=0)
    if at != minute:
        return []
    near = mine.where(fires.c.planned_at >= minute, fires.c.planned_at < minute + NEAR).order_by(fires.c.planned_at).limit(60)
    return list(connection.execute(near).all())


def _changes_before(connection: sa.Connection, schedule_id: int, at: datetime) -> list[ChangeRow]:
    newest = sa.select(schedule_changes).where(schedule_changes.c.schedule_id == schedule_id, schedule_changes.c.at <= at)
    found = connection.execute(newest.order_by(schedule_changes.c.at.desc(), schedule_changes.c.id.desc()).limit(5)).all()
    return [ChangeRow(row.at, row.change, row.actor, row.crons, row.enabled) for row in found]


def _around(schedule: Schedule, at: datetime) -> tuple[Instant | None, Instant | None]:
    """The planned instants before and at-or-after a time, by the schedule as it stands now."""
    shift = timedelta(seconds=schedule.cadence.shift_s)
    following = Cursor(schedule.cadence, at + shift - timedelta(microseconds=1)).peek()
    previous = next(newest_first(schedule.cadence, at + shift - timedelta(microseconds=1)), None)
    return previous, following


def _explain(
    connection: sa.Connection,
    schedule: Schedule,
    at: datetime,
    now: datetime,
    found: list[Any],
    changes: list[ChangeRow],
    previous: Instant | None,
    following: Instant | None,
) -> tuple[Text, str]:
    zone = ZoneInfo(schedule.cadence.timezone)

    def local(when: datetime | None) -> str:
        return f"{when.astimezone(zone):%Y-%m-%d %H:%M:%S}" if when else "—"

    moment = {"at": local(at), "name": schedule.name}
    if found:
        return _explain_row(connection, found[0], moment, len(found), local)
    if at > now:
        planned = following is not None and following.planned_at == at
        if planned and following is not None and following.excluded:
            return text("why.will_be_closed", **moment), "planned"
        if planned:
            return text("why.will_fire" if schedule.enabled else "why.will_not_disabled", **moment), "planned"
        return text("why.future_none", next=local(following.planned_at if following else None), **moment), "none"
    if not changes:
        created = connection.execute(
            sa.select(schedule_changes.c.at).where(schedule_changes.c.schedule_id == schedule.id).order_by(schedule_changes.c.at)
        ).scalar()
        return text("why.before_creation", created=local(created), **moment), "none"
    then = changes[0]
    if following is not None and following.planned_at == at and list(schedule.cadence.crons) == then.crons:
        until = connection.execute(sa.select(planner.c.planned_until).where(planner.c.name == NAME)).scalar()
        return text("why.not_yet" if until is None or until < at else "why.unrecorded", until=local(until), **moment), "none"
    if not then.enabled:
        return text("why.was_disabled", actor=then.actor, since=local(then.at), **moment), "disabled"
    around = {"previous": local(previous.planned_at if previous else None), "next": local(following.planned_at if following else None)}
    return text("why.not_planned", crons=", ".join(then.crons) or "—", **around, **moment), "none"


def _explain_row(connection: sa.Connection, row: Any, moment: dict[str, str], number: int, local: Any) -> tuple[Text, str]:
    if row.outcome == "fired":
        run = connection.execute(sa.select(runs.c.state, runs.c.error).where(runs.c.id == row.run_id)).one_or_none() if row.run_id else None
        state = text(f"state.{run.state}") if run else text("state.gone")
        key = "why.fired_error" if run is not None and run.error else "why.fired"
        error = run.error if run is not None and run.error else ""
        return text(
            key, run=row.run_id or row.task_id or "—", lag=row.lag_ms, state=state, error=error, number=number, **moment
        ), row.outcome
    stretch = {"first": local(row.planned_at), "last": local(row.through or row.planned_at), "count": row.count}
    return text(f"why.{row.outcome}", reason=row.reason or "—", **stretch, **moment), row.outcome
