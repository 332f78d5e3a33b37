"""Tasks: whatever outlives a request is a row here, put in by the transaction that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.engines.prepared import Prepared, insert_into
from server.events import Event
from server.ids import new_id
from server.platform.tables import tasks


class Queue(StrEnum):
    HR_SYNC = "hr_sync"
    ACCOUNT_TASKS = "account_tasks"
    ACCOUNT_PROCESSING = "account_processing"
    DOCUMENTS = "documents"
    MAIL = "mail"
    MAINTENANCE = "maintenance"


class TaskState(StrEnum):
    QUEUED = "queued"  # due at run_at
    RUNNING = "running"  # leased by a worker
    SUCCEEDED = "succeeded"
    DEAD = "dead"  # tries used up, or of no use; can be retried by a person
    CANCELLED = "cancelled"


ENDED = (TaskState.SUCCEEDED, TaskState.DEAD, TaskState.CANCELLED)


class TaskQueued(Event, frozen=True):
    """A task is due; workers of its queue look at once instead of at their next round."""

    queue: str


class TaskChanged(Event, frozen=True):
    task_id: str
    state: str
    progress: int
    message: str


class Claimed(msgspec.Struct, frozen=True):
    """A task in the hands of one worker. `attempt` makes its lease: only this attempt may write its outcome."""

    id: str
    queue: str
    kind: str
    payload: dict[str, Any]
    attempt: int
    max_attempts: int


def enqueue(
    connection: sa.Connection,
    queue: Queue,
    kind: str,
    payload: Mapping[str, Any],
    *,
    now: datetime,
    max_attempts: int = 5,
    run_at: datetime | None = None,
    unique_key: str | None = None,
) -> str | None:
    """Put a task in; its id, or None when an unfinished task already has the unique key, if only in a transaction that ends later."""
    if unique_key is not None:
        held = sa.select(tasks.c.id).where(tasks.c.unique_key == unique_key)
        if connection.execute(held).first() is not None:
            return None
    task_id = new_id()
    row = {
        "id": task_id,
        "queue": queue.value,
        "kind": kind,
        "payload": dict(payload),
        "state": TaskState.QUEUED.value,
        "attempts": 0,
        "max_attempts": max_attempts,
        "run_at": run_at or now,
        "progress": 0,
        "unique_key": unique_key,
        "cancel_requested": False,
        "created_at": now,
    }
    if unique_key is None:
        _insert.run(connection, row)
        return task_id
    try:
        with connection.begin_nested():
            _insert.run(connection, row)
    except sa.exc.IntegrityError:
        return None
    return task_id


def claim(
    connection: sa.Connection, queue: str, limit: int, *, owner: str, now: datetime, lease: timedelta, ahead: int = 0
) -> list[Claimed]:
    """Take up to `limit` due tasks of a queue for `owner`, the longest due first; a task whose lease ran out counts as due, or is buried.

    `ahead`: so many more that will wait in the owner's hands for their turn. A last try is not among these: it would be used up if the
    owner were lost before it began.
    """
    lost = _lost.all(connection, {"queue": queue, "now": now})
    if lost:
        bury(connection, now, queue)
        lost = [row for row in lost if row.attempts < row.max_attempts and not row.cancel_requested][:limit]
    found = lost
    if limit + ahead > len(found):
        queued = _due.all(connection, {"queue": queue, "now": now, "number": limit + ahead - len(found)})
        at_once = limit - len(found)
        found = found + queued[:at_once] + [row for row in queued[at_once:] if row.attempts + 1 < row.max_attempts]
    if not found:
        return []
    values: dict[str, Any] = {
        "state": TaskState.RUNNING.value,
        "lease_owner": owner,
        "lease_until": now + lease,
        "attempts": tasks.c.attempts + 1,
        "started_at": now,
        "error": None,
    }
    connection.execute(tasks.update().where(tasks.c.id.in_([row.id for row in found])).values(values))
    return [Claimed(row.id, row.queue, row.kind, row.payload, row.attempts + 1, row.max_attempts) for row in found]


def bury(connection: sa.Connection, now: datetime, queue: str) -> int:
    """Tasks of a queue that were lost with their worker and are not to be tried again end: dead letters when it was the last try,
    cancelled when they had been asked to stop; how many."""
    over = sa.or_(tasks.c.attempts >= tasks.c.max_attempts, tasks.c.cancel_requested.is_(True))
    lost = sa.and_(tasks.c.state == TaskState.RUNNING.value, tasks.c.lease_until < now, over)
    # Looked for without a lock: there are hardly ever any.
    ids = list(connection.execute(sa.select(tasks.c.id).where(tasks.c.queue == queue, lost)).scalars())
    if not ids:
        return 0
    values = {
        "state": sa.case((tasks.c.cancel_requested.is_(True), TaskState.CANCELLED.value), else_=TaskState.DEAD.value),
        "error": "the worker was lost during the last attempt",
        "ended_at": now,
        "unique_key": None,
        "lease_owner": None,
    }
    return connection.execute(tasks.update().where(tasks.c.id.in_(ids), lost).values(values)).rowcount


_encode = msgspec.json.Encoder(enc_hook=repr).encode
_insert = insert_into(tasks)
_columns = (tasks.c.id, tasks.c.queue, tasks.c.kind, tasks.c.payload, tasks.c.attempts, tasks.c.max_attempts, tasks.c.cancel_requested)
_now: sa.BindParameter[datetime] = sa.bindparam("now", type_=tasks.c.run_at.type)
# By the index of these columns alone: any other order would have thousands of due tasks sorted, and on MySQL locked, to find a few.
_due = Prepared(
    sa.select(*_columns)
    .where(tasks.c.queue == sa.bindparam("queue"), tasks.c.state == sa.literal_column("'queued'"), tasks.c.run_at <= _now)
    .order_by(tasks.c.run_at)
    .limit(sa.bindparam("number"))
    .with_for_update(skip_locked=True)
)
_lost = Prepared(
    sa.select(*_columns)
    .where(tasks.c.queue == sa.bindparam("queue"), tasks.c.state == sa.literal_column("'running'"), tasks.c.lease_until < _now)
    .order_by(tasks.c.run_at)
    .with_for_update(skip_locked=True)
)
_succeed = Prepared(
    tasks.update()
    .where(
        tasks.c.id == sa.bindparam("_id"),
        tasks.c.state == sa.literal_column("'running'"),
        tasks.c.lease_owner == sa.bindparam("_owner"),
        tasks.c.attempts == sa.bindparam("_attempt"),
    )
    .values(
        state=TaskState.SUCCEEDED.value,
        result=sa.bindparam("result", type_=tasks.c.result.type),
        progress=100,
        ended_at=sa.bindparam("now", type_=tasks.c.ended_at.type),
        unique_key=None,
        lease_owner=None,
    )
)


def _held(task: Claimed, owner: str) -> sa.Update:
    return tasks.update().where(
        tasks.c.id == task.id, tasks.c.state == TaskState.RUNNING.value, tasks.c.lease_owner == owner, tasks.c.attempts == task.attempt
    )


def renew(connection: sa.Connection, task: Claimed, owner: str, until: datetime) -> bool | None:
    """Keep the lease. None when it is lost; True when the task was asked to stop, else False."""
    if not connection.execute(_held(task, owner).values(lease_until=until)).rowcount:
        return None
    return bool(connection.execute(sa.select(tasks.c.cancel_requested).where(tasks.c.id == task.id)).scalar())


def report(connection: sa.Connection, task: Claimed, owner: str, percent: int, message: str) -> bool:
    """Note the progress, in percent; False when the lease is lost."""
    return connection.execute(_held(task, owner).values(progress=percent, progress_message=message[:500])).rowcount == 1


def succeed(connection: sa.Connection, task: Claimed, owner: str, result: Any, now: datetime) -> bool:
    """False when the lease was lost meanwhile: another worker has the task, and this result is dropped."""
    return _succeed.run(connection, {"_id": task.id, "_owner": owner, "_attempt": task.attempt, "result": result, "now": now}) == 1


def succeed_all(connection: sa.Connection, done: Sequence[tuple[Claimed, Any]], owner: str, now: datetime) -> list[bool]:
    """`succeed` for each of at most a few hundred; those that returned the same share one statement."""
    alike: dict[tuple[int, bytes], list[tuple[str, Any]]] = {}
    for task, result in done:
        alike.setdefault((task.attempt, _encode(result)), []).append((task.id, result))
    stood: dict[str, bool] = {}
    for (attempt, _), some in alike.items():
        ids = [task_id for task_id, _ in some]
        if _succeed_alike(connection, ids, some[0][1], owner, attempt, now) == len(ids):
            stood.update(dict.fromkeys(ids, True))
            continue
        # Rare: whose lease was lost is told by the rows.
        mine = sa.select(tasks.c.id).where(tasks.c.id.in_(ids), tasks.c.state == TaskState.SUCCEEDED.value, tasks.c.lease_owner.is_(None))
        held = set(connection.execute(mine.where(tasks.c.attempts == attempt, tasks.c.ended_at == now)).scalars())
        stood.update({task_id: task_id in held for task_id in ids})
    return [stood[task.id] for task, _ in done]


def _succeed_alike(connection: sa.Connection, ids: list[str], result: Any, owner: str, attempt: int, now: datetime) -> int:
    if len(ids) == 1:
        return _succeed.run(connection, {"_id": ids[0], "_owner": owner, "_attempt": attempt, "result": result, "now": now})
    mine = tasks.update().where(
        tasks.c.id.in_(ids), tasks.c.state == TaskState.RUNNING.value, tasks.c.lease_owner == owner, tasks.c.attempts == attempt
    )
    values = {"state": TaskState.SUCCEEDED.value, "progress": 100, "ended_at": now, "result": result}
    return connection.execute(mine.values(**values, unique_key=None, lease_owner=None)).rowcount


def fail(connection: sa.Connection, task: Claimed, owner: str, error: str, now: datetime, *, retry_at: datetime | None) -> bool:
    """Try again at `retry_at`, or make it a dead letter when that is None; one that was asked to stop is cancelled instead."""
    if retry_at is not None and _stopped(connection, task, owner, now, error):
        return True
    values: dict[str, Any] = {"error": error, "lease_owner": None, "lease_until": None}
    if retry_at is not None:
        values |= {"state": TaskState.QUEUED.value, "run_at": retry_at}
    else:
        values |= {"state": TaskState.DEAD.value, "ended_at": now, "unique_key": None}
    return connection.execute(_held(task, owner).values(values)).rowcount == 1


def give_back(connection: sa.Connection, task: Claimed, owner: str, now: datetime) -> bool:
    """Return a task unfinished, as a stopping worker does; the try does not count. One that was asked to stop is cancelled instead."""
    if _stopped(connection, task, owner, now, None):
        return True
    values = {"state": TaskState.QUEUED.value, "run_at": now, "attempts": task.attempt - 1, "lease_owner": None, "lease_until": None}
    return connection.execute(_held(task, owner).values(values)).rowcount == 1


def running_owners(connection: sa.Connection) -> list[str]:
    """Who holds a running task."""
    held = sa.select(tasks.c.lease_owner).where(tasks.c.state == TaskState.RUNNING.value, tasks.c.lease_owner.is_not(None))
    return list(connection.execute(held.distinct()).scalars())


def release(connection: sa.Connection, owners: Iterable[str], now: datetime) -> int:
    """Let the tasks of workers that are known to be gone be claimed at once, as if their lease had run out; how many."""
    held = tasks.update().where(tasks.c.state == TaskState.RUNNING.value, tasks.c.lease_owner.in_(list(owners)))
    return connection.execute(held.values(lease_until=now - timedelta(seconds=1))).rowcount


def _stopped(connection: sa.Connection, task: Claimed, owner: str, now: datetime, error: str | None) -> bool:
    """End a task that was asked to stop, if it was."""
    values = {"state": TaskState.CANCELLED.value, "error": error, "ended_at": now, "unique_key": None, "lease_owner": None}
    return connection.execute(_held(task, owner).where(tasks.c.cancel_requested.is_(True)).values(values)).rowcount == 1


def end_cancelled(connection: sa.Connection, task: Claimed, owner: str, now: datetime) -> bool:
    values = {"state": TaskState.CANCELLED.value, "ended_at": now, "unique_key": None, "lease_owner": None}
    return connection.execute(_held(task, owner).values(values)).rowcount == 1


def put_back(connection: sa.Connection, task_id: str, now: datetime) -> bool:
    """Queue a dead or cancelled task anew with all its tries; False when it is in another state."""
    return connection.execute(_put_back(tasks.c.id == task_id, now)).rowcount == 1


def _put_back(wanted: sa.ColumnElement[bool], now: datetime) -> sa.Update:
    ended = tasks.update().where(wanted, tasks.c.state.in_((TaskState.DEAD.value, TaskState.CANCELLED.value)))
    values = {
        "state": TaskState.QUEUED.value,
        "run_at": now,
        "attempts": 0,
        "error": None,
        "ended_at": None,
        "cancel_requested": False,
        "progress": 0,
    }
    return ended.values(values)


def request_cancel(connection: sa.Connection, task_id: str, now: datetime) -> bool:
    """A queued task is cancelled at once, a running one is asked to stop; False when it has ended."""
    queued = tasks.update().where(tasks.c.id == task_id, tasks.c.state == TaskState.QUEUED.value)
    if connection.execute(queued.values(state=TaskState.CANCELLED.value, ended_at=now, unique_key=None, cancel_requested=True)).rowcount:
        return True
    running = tasks.update().where(tasks.c.id == task_id, tasks.c.state == TaskState.RUNNING.value)
    return connection.execute(running.values(cancel_requested=True)).rowcount == 1


def put_back_all(connection: sa.Connection, ids: Sequence[str], now: datetime) -> int:
    """`put_back` for each of at most a few hundred; how many were in a state that allows it."""
    return connection.execute(_put_back(tasks.c.id.in_(ids), now)).rowcount


def request_cancel_all(connection: sa.Connection, ids: Sequence[str], now: datetime) -> int:
    """`request_cancel` for each of at most a few hundred; how many had not ended."""
    queued = tasks.update().where(tasks.c.id.in_(ids), tasks.c.state == TaskState.QUEUED.value)
    values = {"state": TaskState.CANCELLED.value, "ended_at": now, "unique_key": None, "cancel_requested": True}
    cancelled = connection.execute(queued.values(values)).rowcount
    running = tasks.update().where(tasks.c.id.in_(ids), tasks.c.state == TaskState.RUNNING.value)
    return cancelled + connection.execute(running.values(cancel_requested=True)).rowcount


def cancel_holder(connection: sa.Connection, unique_key: str, now: datetime) -> None:
    """Cancel the unfinished task that has the key, or ask it to stop; the key is free for another at once."""
    holder = connection.execute(sa.select(tasks.c.id).where(tasks.c.unique_key == unique_key)).scalar()
    if holder is not None:
        request_cancel(connection, holder, now)
        connection.execute(tasks.update().where(tasks.c.id == holder).values(unique_key=None))


def sweep(connection: sa.Connection, before: datetime, limit: int = 5000) -> int:
    """Remove tasks that ended before the given time, up to `limit`; how many."""
    old = sa.select(tasks.c.id).where(tasks.c.state.in_([state.value for state in ENDED]), tasks.c.ended_at < before).limit(limit)
    ids = list(connection.execute(old).scalars())
    return connection.execute(tasks.delete().where(tasks.c.id.in_(ids))).rowcount if ids else 0
