"""Undoing a run: a run of its own whose changes are the other way round, for all that has not changed since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict
from server.ids import new_id
from server.people.hr import departments, plan_rows, runs, strange, thresholds
from server.people.hr.planning import AT_ONCE, Plan
from server.people.hr.run_schemas import HrRun
from server.people.hr.sources import Source
from server.people.hr.states import PRESENT, ChangeKind, ChangeState, PersonState, RunKind, RunState, What
from server.people.hr.tables import hr_changes, hr_persons, hr_runs
from server.platform.tasks import Queue, TaskQueued

_OPPOSITE = {
    ChangeKind.CREATE: ChangeKind.DISABLE,
    ChangeKind.DISABLE: ChangeKind.REVIVE,
    ChangeKind.REVIVE: ChangeKind.DISABLE,
    ChangeKind.UPDATE: ChangeKind.UPDATE,
    ChangeKind.MOVE: ChangeKind.MOVE,
}
_STATES = [state.value for state in PRESENT]


class HrUndone(Conflict):
    """The run has been undone, or is being undone; `run` names the undo."""

    type = "hr_undone"


async def undo(ctx: Context, actor: Actor, run_id: str) -> HrRun:
    """Queue the undo of a run that was applied. Raises HrRunNotFound, HrRunInOtherState, HrUndone, HrBusy."""
    now, undo_id = ctx.clock.now(), new_id()

    def transaction(connection: sa.Connection) -> HrRun:
        run = runs.row_of(connection, run_id)
        if run.state not in (RunState.SUCCEEDED.value, RunState.FAILED.value):
            raise runs.HrRunInOtherState(state=run.state)
        runs.lock_source(connection, run.source_id)
        over = [RunState.ABORTED.value]
        earlier = sa.select(hr_runs.c.id).where(hr_runs.c.undo_of == run_id, hr_runs.c.state.not_in(over))
        there = connection.execute(earlier.limit(1)).scalar()
        if there is not None:
            raise HrUndone(run=there)
        source = runs.source_of(connection, run)
        runs.begin(connection, now, actor, source, undo_id, kind=RunKind.UNDO, dry_run=False, undo_of=run_id)
        return runs.shown(runs.row_of(connection, undo_id), actor.locale)

    made = await ctx.sql.write(transaction)
    await ctx.events.publish(TaskQueued(Queue.HR_SYNC.value))
    return made


async def plan(ctx: Context, run: Any, source: Source) -> Plan:
    """Write the changes of an undo, the last change first. Begins anew when it was broken off."""
    await plan_rows.clear_changes(ctx, run.id)
    counts = {kind.value: 0 for kind in ChangeKind} | {"unchanged": 0, "ambiguous": 0}
    of_departments = {kind.value: 0 for kind in ChangeKind}
    now, before, number = ctx.clock.now(), None, 0
    while True:
        edge = before

        def look(connection: sa.Connection, edge: int | None = edge) -> tuple[list[dict[str, Any]], int | None]:
            applied = _applied(connection, run.undo_of, edge)
            last = applied[-1].id if len(applied) == AT_ONCE else None
            return [*_of_people(connection, run, applied), *_of_departments(connection, run, applied)], last

        changes, before = await ctx.sql.read(look)
        await ctx.sql.write(lambda connection, changes=changes: plan_rows.write(connection, run.id, now, changes))  # type: ignore[misc]
        for change in changes:
            if "state" not in change:
                number += 1
                (counts if change["what"] == What.PERSON.value else of_departments)[change["kind"]] += 1
        if before is None:
            break
    population, known = await ctx.sql.read(lambda connection: _population(connection, source.id))
    risky = sum(of_departments[kind] for kind in ("update", "move", "disable"))
    above = thresholds.exceeded(counts, population, source.thresholds, departments=(risky, known))
    return Plan(counts, of_departments, above, number)


def _applied(connection: sa.Connection, run_id: str, before: int | None) -> Sequence[Any]:
    wanted = sa.select(hr_changes).where(hr_changes.c.run_id == run_id, hr_changes.c.state == ChangeState.APPLIED.value)
    if before is not None:
        wanted = wanted.where(hr_changes.c.id < before)
    return connection.execute(wanted.order_by(hr_changes.c.id.desc()).limit(AT_ONCE)).all()


def _of_people(connection: sa.Connection, run: Any, applied: Sequence[Any]) -> list[dict[str, Any]]:
    people = [change for change in applied if change.what == What.PERSON.value]
    if not people:
        return []
    mine = sa.and_(hr_persons.c.source_id == run.source_id, hr_persons.c.employee_no.in_([change.key for change in people]))
    now_there = sa.select(hr_persons.c.employee_no, hr_persons.c.id, hr_persons.c.run_id).where(mine)
    there = {row.employee_no: row for row in connection.execute(now_there)}
    return [_inverse(change, run, there.get(change.key)) for change in people]


def _inverse(change: Any, run: Any, there: Any) -> dict[str, Any]:
    """The change that takes one back. Whom HR brought in becomes a tombstone, and keeps the number."""
    after = change.before if change.before is not None else {**change.after, "state": PersonState.GONE.value}
    made = {
        **_turned(change, after),
        "person_id": None if there is None else there.id,
    }
    if there is None or there.run_id != run.undo_of:
        return {**made, "state": ChangeState.SKIPPED.value, "strange": [strange.STALE]}
    if change.before is None and change.after.get("adopted_user_id") is not None:
        # The account was there before: to disable it would not be to undo.
        return {**made, "state": ChangeState.SKIPPED.value, "strange": [strange.ADOPTED]}
    return made


def _of_departments(connection: sa.Connection, run: Any, applied: Sequence[Any]) -> list[dict[str, Any]]:
    found = []
    for change in applied:
        if change.what != What.DEPARTMENT.value:
            continue
        after = change.before if change.before is not None else {**change.after, "state": departments.GONE}
        made = _turned(change, after)
        if not departments.is_current(departments.find_current(connection, run.source_id, change.key), change.after):
            made |= {"state": ChangeState.SKIPPED.value, "strange": [strange.STALE]}
        found.append(made)
    return found


def _turned(change: Any, after: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": change.what,
        "kind": _OPPOSITE[ChangeKind(change.kind)].value,
        "key": change.key,
        "name": change.name,
        "rule": "undo",
        "before": {name: value for name, value in change.after.items() if name != "adopted_user_id"},
        "after": after,
    }


def _population(connection: sa.Connection, source_id: int) -> tuple[int, int]:
    """How many people are present, and how many departments there are."""
    people = sa.select(sa.func.count()).select_from(hr_persons)
    people = people.where(hr_persons.c.source_id == source_id, hr_persons.c.state.in_(_STATES))
    return connection.execute(people).scalar_one(), departments.count(connection, source_id)
