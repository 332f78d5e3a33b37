"""The states of account tasks: the one writer of them, every transition conditional on the state before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.people.hr.tables import account_attempts, account_tasks
from server.people.hr.targets.errors import POLICIES, ErrorClass
from server.people.hr.targets.target import Operation


class AccountTaskState(StrEnum):
    PENDING = "pending"  # due at run_at
    RUNNING = "running"  # leased by a worker
    SUCCEEDED = "succeeded"
    DEAD = "dead"  # tries used up, or of no use; can be retried by a person
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"  # HR said something newer before it was done


class AttemptOutcome(StrEnum):
    DONE = "done"
    ALREADY = "already"  # nothing was to be done
    ADOPTED = "adopted"  # it was there, with the HR id
    FAILED = "failed"


UNFINISHED = (AccountTaskState.PENDING.value, AccountTaskState.RUNNING.value)
RETRIABLE = (AccountTaskState.DEAD.value, AccountTaskState.CANCELLED.value)
MOST_TRIES = max(policy.tries for policy in POLICIES.values())
AT_ONCE = 100  # rows in one statement: MySQL's driver puts them together on the loop
# An end comes before anything else.
_ORDER = (Operation.DISABLE, Operation.REVIVE, Operation.CREATE, Operation.UPDATE)


class Claimed(msgspec.Struct, frozen=True):
    """An account task in the hands of one worker; `attempt` from 1."""

    id: int
    person_id: int
    target_id: int
    operation: Operation
    desired: dict[str, Any]
    hash: str
    attempt: int
    run_id: str | None
    claimed_at: datetime


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt. `retry_at` is None when it is over; `error_class` is None when it went well."""

    task: Claimed
    outcome: AttemptOutcome
    started_at: datetime
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    error_class: ErrorClass | None = None
    detail: str | None = None
    retry_at: datetime | None = None


def insert(connection: sa.Connection, rows: Sequence[dict[str, Any]], now: datetime) -> None:
    """New tasks; each row has person_id, target_id, operation, desired, hash, run_id, unique_key."""
    made = [
        {**row, "state": AccountTaskState.PENDING.value, "attempts": 0, "max_attempts": MOST_TRIES, "run_at": now, "created_at": now}
        for row in rows
    ]
    for first in range(0, len(made), AT_ONCE):
        connection.execute(account_tasks.insert(), made[first : first + AT_ONCE])


def supersede(connection: sa.Connection, ids: Sequence[int], now: datetime) -> None:
    """Pending tasks that HR's newer word makes pointless."""
    if ids:
        pending = account_tasks.update().where(account_tasks.c.id.in_(ids), account_tasks.c.state == AccountTaskState.PENDING.value)
        connection.execute(pending.values(state=AccountTaskState.SUPERSEDED.value, ended_at=now, unique_key=None, lease_owner=None))


def claim(connection: sa.Connection, target_id: int, limit: int, *, owner: str, now: datetime, lease: timedelta) -> list[Claimed]:
    """Take up to `limit` due tasks of a target, ends first; none of an account that another task is working on."""
    other = account_tasks.alias("other")
    busy = sa.exists().where(
        other.c.person_id == account_tasks.c.person_id,
        other.c.target_id == account_tasks.c.target_id,
        other.c.id != account_tasks.c.id,
        other.c.state == AccountTaskState.RUNNING.value,
    )
    mine = account_tasks.c.target_id == target_id
    running = account_tasks.c.state == AccountTaskState.RUNNING.value
    conditions: list[list[Any]] = [[mine, running, account_tasks.c.lease_until < now]]
    for operation in _ORDER:
        pending = account_tasks.c.state == AccountTaskState.PENDING.value
        conditions.append([mine, pending, account_tasks.c.operation == operation.value, account_tasks.c.run_at <= now, ~busy])
    ids: list[int] = []
    for condition in conditions:
        if len(ids) < limit:
            wanted = sa.select(account_tasks.c.id).where(*condition).order_by(account_tasks.c.run_at, account_tasks.c.id)
            found = connection.execute(wanted.limit(limit - len(ids)).with_for_update(skip_locked=True))
            ids += found.scalars().all()
    if not ids:
        return []
    values = {
        "state": AccountTaskState.RUNNING.value,
        "lease_owner": owner,
        "lease_until": now + lease,
        "attempts": account_tasks.c.attempts + 1,
    }
    connection.execute(account_tasks.update().where(account_tasks.c.id.in_(ids)).values(values))
    rows = {row.id: row for row in connection.execute(sa.select(account_tasks).where(account_tasks.c.id.in_(ids)))}
    return [_claimed(rows[task_id], now) for task_id in ids]


def _claimed(row: Any, now: datetime) -> Claimed:
    operation = Operation(row.operation)
    return Claimed(row.id, row.person_id, row.target_id, operation, row.desired, row.hash, row.attempts, row.run_id, now)


def settle(connection: sa.Connection, ended: Sequence[Ended], *, owner: str, now: datetime) -> set[int]:
    """Write what came of attempts; the ids of tasks whose lease still held. The others' outcome is another worker's to tell."""
    held = _held(connection, [one.task.id for one in ended], owner)
    kept = [one for one in ended if one.task.id in held]
    newer = _followed(connection, [one.task for one in kept if one.error_class is not None])
    groups: dict[tuple[Any, ...], list[int]] = {}
    for one in kept:
        groups.setdefault(_change(one, superseded=one.task.id in newer), []).append(one.task.id)
    for (state, run_at, error_class, error), ids in groups.items():
        over = state != AccountTaskState.PENDING.value
        values = {"state": state, "error_class": error_class, "error": error, "lease_owner": None, "lease_until": None}
        values |= {"ended_at": now, "unique_key": None} if over else {"run_at": run_at}
        connection.execute(account_tasks.update().where(account_tasks.c.id.in_(ids)).values(values))
    rows = [
        {
            "account_task_id": one.task.id,
            "attempt": one.task.attempt,
            "outcome": one.outcome.value,
            "error_class": one.error_class.value if one.error_class else None,
            "detail": one.detail,
            "before": one.before,
            "after": one.after,
            "started_at": one.started_at,
            "ended_at": now,
        }
        for one in kept
    ]
    for first in range(0, len(rows), AT_ONCE):
        connection.execute(account_attempts.insert(), rows[first : first + AT_ONCE])
    return held


def _change(one: Ended, *, superseded: bool) -> tuple[Any, ...]:
    """The new state, when it is due again, and the error."""
    if one.error_class is None:
        return (AccountTaskState.SUCCEEDED.value, None, None, None)
    state = AccountTaskState.DEAD if one.retry_at is None else AccountTaskState.PENDING
    return ((AccountTaskState.SUPERSEDED if superseded else state).value, one.retry_at, one.error_class.value, one.detail)


def _held(connection: sa.Connection, ids: Iterable[int], owner: str) -> set[int]:
    table = account_tasks.c
    wanted = sa.select(table.id).where(table.id.in_(list(ids)), table.state == AccountTaskState.RUNNING.value, table.lease_owner == owner)
    return set(connection.execute(wanted.with_for_update()).scalars())


def _followed(connection: sa.Connection, tasks: Sequence[Claimed]) -> set[int]:
    """Those of the tasks behind which a newer one waits for the same account."""
    if not tasks:
        return set()
    table = account_tasks.c
    wanted = sa.select(table.id, table.person_id, table.target_id).where(
        table.person_id.in_([task.person_id for task in tasks]), table.state == AccountTaskState.PENDING.value
    )
    waiting = {(row.person_id, row.target_id): row.id for row in connection.execute(wanted)}
    return {task.id for task in tasks if waiting.get((task.person_id, task.target_id), 0) > task.id}


def give_back(connection: sa.Connection, ids: Sequence[int], *, owner: str, now: datetime, started: bool) -> None:
    """Return claimed tasks unfinished, as a stopping worker does; the try counts when it was begun."""
    held = _held(connection, ids, owner)
    if not held:
        return
    values: dict[str, Any] = {"state": AccountTaskState.PENDING.value, "run_at": now, "lease_owner": None, "lease_until": None}
    if not started:
        values["attempts"] = account_tasks.c.attempts - 1
    connection.execute(account_tasks.update().where(account_tasks.c.id.in_(held)).values(values))


def put_back(connection: sa.Connection, ids: Sequence[int], now: datetime) -> list[int]:
    """Make dead and cancelled tasks pending anew, with all their tries, but for those that another task of the account has overtaken."""
    other = account_tasks.alias("other")
    last = ~sa.exists().where(
        other.c.person_id == account_tasks.c.person_id,
        other.c.target_id == account_tasks.c.target_id,
        other.c.id != account_tasks.c.id,
        sa.or_(other.c.id > account_tasks.c.id, other.c.state.in_(UNFINISHED)),
    )
    wanted = sa.select(account_tasks.c.id, account_tasks.c.person_id, account_tasks.c.target_id).where(
        account_tasks.c.id.in_(ids), account_tasks.c.state.in_(RETRIABLE), last
    )
    again = connection.execute(wanted.with_for_update()).all()
    values = {
        "state": AccountTaskState.PENDING.value,
        "run_at": now,
        "attempts": 0,
        "error_class": None,
        "error": None,
        "ended_at": None,
        "unique_key": sa.bindparam("key"),
    }
    ended = sa.or_(*(account_tasks.c.state == state for state in RETRIABLE))  # IN cannot be sent with many rows
    back = account_tasks.update().where(account_tasks.c.id == sa.bindparam("task"), ended).values(values)
    if again:
        connection.execute(back, [{"task": row.id, "key": unique_key(row.person_id, row.target_id)} for row in again])
    return [row.id for row in again]


def cancel(connection: sa.Connection, task_id: int, now: datetime) -> bool:
    """End a pending task; False when it is in another state."""
    pending = account_tasks.update().where(account_tasks.c.id == task_id, account_tasks.c.state == AccountTaskState.PENDING.value)
    values = {"state": AccountTaskState.CANCELLED.value, "ended_at": now, "unique_key": None, "lease_owner": None}
    return connection.execute(pending.values(values)).rowcount == 1


def unique_key(person_id: int, target_id: int, *, beside: str | None = None) -> str:
    """The key of an account's unfinished task; another one when `beside`, that of the task being worked on, is the usual one."""
    usual = f"{person_id}:{target_id}"
    return usual if beside != usual else f"{usual}:next"
