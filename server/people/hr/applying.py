"""Applying a plan: in small transactions, each change once, going on where a crash broke it off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.people.hr import account_tasks, departments, matching, plan_rows, proof, runs, states, strange
from server.people.hr.person_row import PersonRow, email_key
from server.people.hr.protected import break_glass
from server.people.hr.states import ChangeKind, ChangeState, PersonState, RunState, What
from server.people.hr.tables import hr_changes, hr_persons, hr_runs
from server.people.identify import RightsChanged
from server.people.organization_tree import OrganizationsChanged, lock_tree
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued
from server.scopes import system_actor

# Changes a transaction. A department takes several statements, and the tree is locked meanwhile.
AT_ONCE = 100
DEPARTMENTS_AT_ONCE = 25
Progress = Callable[[int, str], Awaitable[None]]


class Piece(msgspec.Struct):
    """What a transaction did: how many changes were settled; whether the tree of organizations is another now."""

    settled: int
    departments: bool


async def apply(ctx: Context, run_id: str, progress: Progress) -> bool:
    """Apply what is pending in a run, then have accounts follow. False when the run is not being applied (any more)."""
    changed = False
    total = max(1, await ctx.sql.read(lambda connection: runs.row_of(connection, run_id).counts.get("changes", 0)))
    done = 0
    while True:
        now = ctx.clock.now()
        piece = await ctx.sql.write(lambda connection, now=now: _piece(ctx, connection, now, run_id))  # type: ignore[misc]
        if piece is None:
            return False
        changed = changed or piece.departments
        if not piece.settled:
            break
        done += piece.settled
        await progress(min(99, 100 * done // total), "")
    if changed:
        await ctx.events.publish(OrganizationsChanged())
        await ctx.events.publish(RightsChanged())
    now = ctx.clock.now()
    if not await ctx.sql.write(lambda connection: _end(connection, now, run_id)):
        return False
    await ctx.events.publish(TaskQueued(Queue.ACCOUNT_TASKS.value))
    await plan_rows.clear_snapshot(ctx, run_id)
    return True


def _end(connection: sa.Connection, now: datetime, run_id: str) -> bool:
    """The end of the run and the deriving of account tasks are one."""
    run = runs.row_of(connection, run_id)
    if not states.move(connection, run_id, RunState.SUCCEEDED, applied_at=now, ended_at=now):
        return False
    if run.progress:
        account_tasks.enqueue_derive(connection, now, run.source_id)
        audit.note(connection, now, actor_of(run), "hr.applied", f"hr_run:{run_id}", counts=run.counts, applied=run.progress)
    return True


def actor_of(run: Any) -> Actor:
    """What a run does is done in the name of whoever approved it, or else asked for it."""
    by = run.approved_by if run.approved_by is not None else run.requested_by
    name = run.approved_name or run.requested_name
    return msgspec.structs.replace(system_actor("hr"), name=name, user_id=by)


def _piece(ctx: Context, connection: sa.Connection, now: datetime, run_id: str) -> Piece | None:
    """Settle the next changes; None when the run is in another state."""
    run = runs.row_of(connection, run_id, lock=True)
    if run.state != RunState.APPLYING.value:
        return None
    wanted = (
        sa.select(hr_changes)
        .where(hr_changes.c.run_id == run_id, hr_changes.c.state == ChangeState.PENDING.value)
        .order_by(hr_changes.c.id)
        .limit(AT_ONCE)
    )
    waiting = connection.execute(wanted).all()
    if not waiting:
        return Piece(0, False)
    first = waiting[0].what
    alike: list[Any] = []
    for change in waiting:  # those of one sort that come next
        if change.what != first or (first == What.DEPARTMENT.value and len(alike) == DEPARTMENTS_AT_ONCE):
            break
        alike.append(change)
    if first == What.DEPARTMENT.value:
        _apply_departments(connection, now, run, alike)
    else:
        apply_persons(connection, now, run.source_id, run_id, alike, break_glass(ctx.settings))
    connection.execute(hr_runs.update().where(hr_runs.c.id == run_id).values(progress=hr_runs.c.progress + len(alike)))
    return Piece(len(alike), first == What.DEPARTMENT.value)


def _apply_departments(connection: sa.Connection, now: datetime, run: Any, changes: Sequence[Any]) -> None:
    lock_tree(connection)
    top = runs.source_of(connection, run).organization_id
    done = []
    for change in changes:
        why_not = departments.apply(connection, now, actor_of(run), (run.source_id, top), change)
        if why_not is None:
            done.append(change.id)
        else:
            to = ChangeState.SKIPPED if why_not == strange.STALE else ChangeState.FAILED
            states.settle(connection, [change.id], to, strange=[*change.strange, why_not])
    states.settle(connection, done, ChangeState.APPLIED, applied_at=now)


def apply_persons(
    connection: sa.Connection, now: datetime, source_id: int, run_id: str, changes: Sequence[Any], protected: frozenset[str]
) -> int:
    """Bring changes of people about, at most some hundreds; how many. One whose person has changed since it was planned is skipped."""
    people = hr_persons.c
    keys = [change.key for change in changes]
    mine = sa.and_(people.source_id == source_id, people.employee_no.in_(keys))
    now_there = connection.execute(sa.select(people.id, people.employee_no, people.state, people.hash).where(mine).with_for_update())
    there = {row.employee_no: row for row in now_there}
    fresh: list[Any] = []
    known: list[Any] = []
    stale: list[Any] = []
    not_free = _not_free(connection, changes, protected)
    for change in changes:
        group = fresh if change.before is None else known
        current = is_current(there.get(change.key), change.before) and change.id not in not_free
        (group if current else stale).append(change)
    if fresh:
        connection.execute(hr_persons.insert(), [_new_person(change, now, source_id, run_id) for change in fresh])
        number = sa.select(people.id).where(people.source_id == source_id, people.employee_no == hr_changes.c.key).scalar_subquery()
        connection.execute(hr_changes.update().where(hr_changes.c.id.in_([change.id for change in fresh])).values(person_id=number))
    _update(connection, now, run_id, [(there[change.key].id, change) for change in known])
    _prove_ends(connection, run_id, {change.kind: [there[one.key].id for one in known if one.kind == change.kind] for change in known})
    states.settle(connection, [change.id for change in [*fresh, *known]], ChangeState.APPLIED, applied_at=now)
    for change in stale:
        states.settle(connection, [change.id], ChangeState.SKIPPED, strange=[*change.strange, strange.STALE])
    return len(fresh) + len(known)


def _prove_ends(connection: sa.Connection, run_id: str, people: Mapping[str, Sequence[int]]) -> None:
    """Whose access ends has a case to prove, from the moment when the plan was accepted; who is let in again has none."""
    if ending := people.get(ChangeKind.DISABLE.value):
        accepted = sa.select(sa.func.coalesce(hr_runs.c.approved_at, hr_runs.c.planned_at, hr_runs.c.created_at))
        proof.open_cases(connection, ending, run_id, connection.execute(accepted.where(hr_runs.c.id == run_id)).scalar_one())
    proof.drop_cases(connection, people.get(ChangeKind.REVIVE.value, ()))


def is_current(there: Any, before: Mapping[str, Any] | None) -> bool:
    """Whether a person is still as the change was planned for."""
    if there is None or before is None:
        return there is None and before is None
    return bool(there.state == before["state"] and there.hash == before["hash"])


def _not_free(connection: sa.Connection, changes: Sequence[Any], protected: frozenset[str]) -> set[int]:
    """The changes whose newcomer is to be given an account that cannot be given away (any more)."""
    wanted = {
        change.id: change.after["adopted_user_id"] for change in changes if change.before is None and change.after.get("adopted_user_id")
    }
    accounts = matching.read_by_number(connection, sorted(set(wanted.values())), protected)
    given: set[int] = set()
    refused = set()
    for change_id, user_id in wanted.items():
        if user_id in given or not matching.may_be_given(accounts.get(user_id)):
            refused.add(change_id)
        given.add(user_id)
    return refused


def _columns(after: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What a person's columns are after a change."""
    row = msgspec.convert(after["row"], PersonRow)
    return {
        "name": row.name[:190],
        "email_key": email_key(row.email),
        "department_code": row.department_code,
        "state": after["state"],
        "row": after["row"],
        "hash": after["hash"],
        "changed_at": now,
        "gone_at": now if after["state"] == PersonState.GONE.value else None,
    }


def _new_person(change: Any, now: datetime, source_id: int, run_id: str) -> dict[str, Any]:
    return {
        **_columns(change.after, now),
        "source_id": source_id,
        "employee_no": change.key,
        "adopted_user_id": change.after.get("adopted_user_id"),
        "first_seen_at": now,
        "run_id": run_id,
        "revision": 1,
        "tasked": 0,
    }


def _update(connection: sa.Connection, now: datetime, run_id: str, known: Sequence[tuple[int, Any]]) -> None:
    """Write what is new of people whom we know; where the row stays, which is so of most who go, in one statement a state."""
    raised = {"revision": hr_persons.c.revision + 1, "run_id": run_id}
    moved: dict[str, list[int]] = {}
    changed = []
    for person_id, change in known:
        if change.before["hash"] == change.after["hash"]:
            moved.setdefault(change.after["state"], []).append(person_id)
        else:
            changed.append({"person": person_id, **_columns(change.after, now)})
    for state, ids in moved.items():
        gone_at = now if state == PersonState.GONE.value else None
        plain = hr_persons.update().where(hr_persons.c.id.in_(ids))
        connection.execute(plain.values({"state": state, "gone_at": gone_at, "changed_at": now, **raised}))
    if changed:
        connection.execute(hr_persons.update().where(hr_persons.c.id == sa.bindparam("person")).values(raised), changed)
