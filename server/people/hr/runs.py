"""Runs of HR sync: started one at a time for a source, and looked at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, DomainError, NotFound
from server.ids import new_id
from server.messages import CATALOGUE, Locale, Text, text
from server.paging import Page, page_of
from server.people.hr import states
from server.people.hr.run_schemas import Exceeded, HrRun, RunError, RunQuery, SyncRequest
from server.people.hr.sources import Source, enabled_source_ids, find_source, get_source
from server.people.hr.states import GOING_ON, RunKind, RunState
from server.people.hr.tables import hr_runs, hr_sources
from server.platform import audit
from server.platform.task_states import ended_tasks
from server.platform.tasks import Queue, TaskQueued, enqueue

SYNC, SYNC_ALL, APPLY = "hr.sync", "hr.sync_all", "hr.apply"
MOST_ATTEMPTS = 10
LONGEST_DETAIL = 300


class HrRunNotFound(NotFound):
    type = "hr_run_not_found"


class HrBusy(Conflict):
    """A run of the source is going on; `run` names it."""

    type = "hr_busy"


class HrSourceOff(Conflict):
    """The source is switched off: it can be looked at (dry_run), not synced."""

    type = "hr_source_off"


class HrRunInOtherState(Conflict):
    """The run's state does not allow it; `state` says which it is."""

    type = "hr_run_state"


async def start(ctx: Context, actor: Actor, request: SyncRequest) -> HrRun:
    """Queue a sync of a source. Raises HrSourceNotFound, HrSourceOff, HrBusy."""
    now, run_id = ctx.clock.now(), new_id()

    def transaction(connection: sa.Connection) -> HrRun:
        source = find_source(connection, request.source)
        if not source.enabled and not request.dry_run:
            raise HrSourceOff()
        begin(connection, now, actor, source, run_id, kind=RunKind.SYNC, dry_run=request.dry_run)
        return shown(row_of(connection, run_id), actor.locale)

    run = await ctx.sql.write(transaction)
    await ctx.events.publish(TaskQueued(Queue.HR_SYNC.value))
    return run


async def start_all(ctx: Context, actor: Actor) -> dict[str, Any]:
    """Queue a sync of every source that is switched on and has no run going on; which were started."""
    started, busy = [], 0
    for source_id in await ctx.sql.read(enabled_source_ids):
        try:
            started.append((await start(ctx, actor, SyncRequest(source=source_id))).id)
        except (HrBusy, HrSourceOff, NotFound):  # a run goes on, or the source was changed in this moment
            busy += 1
    return {"started": started, "busy": busy}


def begin(
    connection: sa.Connection, now: datetime, actor: Actor, source: Source, run_id: str, *, kind: RunKind, dry_run: bool, **more: Any
) -> None:
    """Put a run and its task in. Raises HrBusy."""
    lock_source(connection, source.id)
    end_lost(connection, now, source.id)
    busy = sa.select(hr_runs.c.id).where(hr_runs.c.source_id == source.id, hr_runs.c.state.in_([state.value for state in GOING_ON]))
    going_on = connection.execute(busy.limit(1)).scalar()
    if going_on is not None:
        raise HrBusy(run=going_on)
    task_id = enqueue(connection, Queue.HR_SYNC, SYNC, {"run_id": run_id}, now=now, max_attempts=MOST_ATTEMPTS)
    states.insert(
        connection,
        now,
        run_id,
        source_id=source.id,
        kind=kind.value,
        dry_run=dry_run,
        requested_by=actor.user_id,
        requested_name=(actor.name or actor.kind.value)[:190],
        task_id=task_id,
        **more,
    )
    if actor.user_id is not None:  # the schedule's runs are rows enough
        audit.note(connection, now, actor, f"hr.{kind.value}", f"hr_run:{run_id}", source_id=source.id, dry_run=dry_run, **more)


def lock_source(connection: sa.Connection, source_id: int) -> None:
    """What is decided about the runs of a source is decided by one at a time (SQLite has one writer anyway)."""
    connection.execute(sa.select(hr_sources.c.id).where(hr_sources.c.id == source_id).with_for_update()).all()


async def list_runs(ctx: Context, actor: Actor, query: RunQuery) -> Page[HrRun]:
    """Runs, newest first; `q` searches who asked and what went wrong."""
    await _end_all_lost(ctx)
    wanted = _SHOWN
    for column, value in ((hr_runs.c.source_id, query.source_id), (hr_runs.c.state, query.state), (hr_runs.c.kind, query.kind)):
        if value is not None:
            wanted = wanted.where(column == value)
    if query.dry_run is not None:
        wanted = wanted.where(hr_runs.c.dry_run.is_(query.dry_run))
    sortable = {name: hr_runs.c[name] for name in ("created_at", "ended_at", "state", "kind")}
    searched = (hr_runs.c.requested_name, hr_runs.c.error_type, hr_sources.c.name)
    return await ctx.sql.read(
        lambda connection: page_of(
            connection, wanted, query, lambda row: shown(row, actor.locale), sortable=sortable, searched=searched, order="-created_at"
        )
    )


async def get_run(ctx: Context, actor: Actor, run_id: str) -> HrRun:
    """Raises HrRunNotFound."""
    await _end_all_lost(ctx)
    return await ctx.sql.read(lambda connection: shown(row_of(connection, run_id), actor.locale))


_SHOWN = sa.select(hr_runs, hr_sources.c.name.label("source")).join(hr_sources, hr_sources.c.id == hr_runs.c.source_id, isouter=True)


def row_of(connection: sa.Connection, run_id: str, *, lock: bool = False) -> Any:
    """Raises HrRunNotFound. With `lock`, nobody else changes the run until the transaction ends."""
    if lock:
        connection.execute(sa.select(hr_runs.c.id).where(hr_runs.c.id == run_id).with_for_update()).all()
    row = connection.execute(_SHOWN.where(hr_runs.c.id == run_id)).one_or_none()
    if row is None:
        raise HrRunNotFound()
    return row


def source_of(connection: sa.Connection, row: Any) -> Source:
    return get_source(connection, row.source_id)


def shown(row: Any, locale: Locale) -> HrRun:
    """A run as people see it."""
    given = {name: getattr(row, name) for name in HrRun.__struct_fields__ if hasattr(row, name)}
    counts = dict(row.counts)
    total = counts.pop("changes", 0)
    state = RunState(row.state)
    percent = 100 if state is RunState.SUCCEEDED else min(99, 100 * row.progress // total) if total else 0
    return HrRun(
        **{
            **given,
            "source": row.source or "",
            "kind": RunKind(row.kind),
            "state": state,
            "counts": {name: count for name, count in counts.items() if isinstance(count, int)},
            "departments": counts.get("departments", {}),
            "exceeded": msgspec.convert(row.exceeded, list[Exceeded]),
            "snapshot": {name: value for name, value in row.snapshot.items() if name != "comment"},
            "comment": row.snapshot.get("comment", ""),
            "progress": percent,
            "applied": row.progress,
            "error": None if row.error_type is None else RunError(row.error_type, _said(row.error, locale)),
        }
    )


def stored_error(error: DomainError) -> dict[str, Any]:
    """The columns of a run that say what went wrong; the sentence is put into words when it is read."""
    return {"error_type": error.type, "error": msgspec.json.encode(_kept(error.text)).decode()}


def _kept(sentence: Text) -> dict[str, Any]:
    params = {
        name: _kept(value) if isinstance(value, Text) else value if isinstance(value, int | float) else str(value)[:LONGEST_DETAIL]
        for name, value in sentence.params.items()
    }
    return {"key": sentence.key, "params": params}


def _said(stored: str | None, locale: Locale) -> str:
    return "" if stored is None else _restored(msgspec.json.decode(stored)).say(locale)


def _restored(value: dict[str, Any]) -> Text:
    """The sentence again; one that this version no longer knows stands for all that is unknown."""
    if value["key"] not in CATALOGUE:
        return text("error.internal")
    params = {name: _restored(inner) if isinstance(inner, dict) else inner for name, inner in value["params"].items()}
    return text(value["key"], **params)


class HrRunLost(Conflict):
    """The run's task was cancelled or gave up."""

    type = "hr_run_lost"


def lost(connection: sa.Connection, source_id: int | None = None) -> Sequence[Any]:
    """Runs that go on by their own account while their task has ended."""
    wanted = sa.select(hr_runs.c.id, hr_runs.c.task_id, hr_runs.c.state).where(
        hr_runs.c.state.in_([state.value for state in GOING_ON]), hr_runs.c.task_id.is_not(None)
    )
    if source_id is not None:
        wanted = wanted.where(hr_runs.c.source_id == source_id)
    rows = connection.execute(wanted).all()
    over = ended_tasks(connection, [row.task_id for row in rows])
    return [row for row in rows if row.task_id in over]


def end_lost(connection: sa.Connection, now: datetime, source_id: int | None = None) -> None:
    """A task that was cancelled cannot end its run itself: whoever looks does."""
    for row in lost(connection, source_id):
        before = RunState(row.state)
        to = RunState.ABORTED if before is RunState.READING else RunState.FAILED
        states.move(connection, row.id, to, before=before, ended_at=now, **stored_error(HrRunLost()))


async def _end_all_lost(ctx: Context) -> None:
    if await ctx.sql.read(lost):
        now = ctx.clock.now()
        await ctx.sql.write(lambda connection: end_lost(connection, now))
