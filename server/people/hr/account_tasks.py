"""Account tasks: what each target has to do so that accounts are as HR says, derived from persons that have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.people.hr import account_states
from server.people.hr.account_states import AccountTaskState
from server.people.hr.accounts import AccountState, accounts_of
from server.people.hr.desired import Desired, Place, desired_hash, desired_of
from server.people.hr.person_row import PersonRow
from server.people.hr.states import PersonState
from server.people.hr.tables import account_tasks, hr_departments, hr_persons, hr_sources, hr_targets
from server.people.hr.targets.settings import TARGET_KINDS, TargetSettings
from server.people.hr.targets.target import Operation
from server.platform.tasks import Queue, TaskQueued, enqueue

DERIVE = "accounts.derive"
PROCESS = "accounts.process"
AT_ONCE = 200

Progress = Callable[[int, str], Awaitable[None]]


class Wanted(msgspec.Struct, frozen=True):
    """What one account should be."""

    person_id: int
    target_id: int
    desired: Desired
    hash: str
    adopted: bool  # our own user was there before HR named the person
    run_id: str | None


class _Source(msgspec.Struct, frozen=True):
    """What is read once: the targets with their settings, the departments."""

    targets: dict[int, TargetSettings]
    places: dict[str, Place]
    home: int


def enqueue_derive(connection: sa.Connection, now: datetime, source_id: int) -> str | None:
    """Put the job in that derives the tasks of a source; None when it is waiting already."""
    payload = {"source_id": source_id}
    return enqueue(connection, Queue.ACCOUNT_TASKS, DERIVE, payload, now=now, max_attempts=20, unique_key=f"{DERIVE}:{source_id}")


def enqueue_process(connection: sa.Connection, now: datetime, target_id: int, *, run_at: datetime | None = None) -> str | None:
    """Put the job in that works on the tasks of a target, at once or at a time, then to the minute."""
    when = f":{run_at:%Y%m%d%H%M}" if run_at else ""
    return enqueue(
        connection,
        Queue.ACCOUNT_PROCESSING,
        PROCESS,
        {"target_id": target_id},
        now=now,
        run_at=run_at,
        max_attempts=5,
        unique_key=f"{PROCESS}:{target_id}{when}",
    )


def derive_anew(connection: sa.Connection, now: datetime, source_id: int) -> None:
    """Have every person of a source looked at again, as a new target or other settings of one make needed."""
    connection.execute(hr_persons.update().where(hr_persons.c.source_id == source_id).values(tasked=-1))
    enqueue_derive(connection, now, source_id)


async def derive_all(ctx: Context) -> dict[str, int]:
    """Put in the jobs of all sources that have something to derive; how many."""
    now = ctx.clock.now()
    waiting = sa.select(hr_persons.c.source_id).where(hr_persons.c.revision > hr_persons.c.tasked).distinct()

    def transaction(connection: sa.Connection) -> int:
        sources = connection.execute(waiting).scalars().all()
        return sum(enqueue_derive(connection, now, source_id) is not None for source_id in sources)

    queued = await ctx.sql.write(transaction)
    if queued:
        await ctx.events.publish(TaskQueued(Queue.ACCOUNT_TASKS.value))
    return {"sources": queued}


async def derive(ctx: Context, source_id: int, progress: Progress | None = None) -> dict[str, int]:
    """Make the tasks of all persons of a source that changed since, in pieces; goes on where it was broken off."""
    source = await ctx.sql.read(lambda connection: _read_source(connection, source_id))
    if source is None:
        return {"persons": 0, "tasks": 0}
    total = max(1, await ctx.sql.read(lambda connection: connection.execute(_count(source_id)).scalar_one()))
    persons = made = last = 0
    while True:
        rows = await ctx.sql.read(lambda connection, after=last: connection.execute(_changed(source_id, after)).all())  # type: ignore[misc]
        if not rows:
            # What HR changed meanwhile, behind where we were.
            if last == 0:
                break
            last = 0
            continue
        last = rows[-1].id
        wanted = await asyncio.to_thread(_wanted, rows, source)
        made += await _write(ctx, rows, wanted)
        persons += len(rows)
        if progress is not None:
            await progress(min(99, 100 * persons // total), "")
    if made:
        await _start(ctx, list(source.targets))
    return {"persons": persons, "tasks": made}


async def _start(ctx: Context, target_ids: Sequence[int]) -> None:
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        for target_id in target_ids:
            enqueue_process(connection, now, target_id)

    await ctx.sql.write(transaction)
    await ctx.events.publish(TaskQueued(Queue.ACCOUNT_PROCESSING.value))


def _count(source_id: int) -> sa.Select[Any]:
    changed = (hr_persons.c.source_id == source_id, hr_persons.c.revision > hr_persons.c.tasked)
    return sa.select(sa.func.count()).select_from(hr_persons).where(*changed)


def _changed(source_id: int, after: int) -> sa.Select[Any]:
    table = hr_persons.c
    wanted = sa.select(table.id, table.state, table.row, table.adopted_user_id, table.revision, table.run_id)
    behind = (table.source_id == source_id, table.revision > table.tasked, table.id > after)
    return wanted.where(*behind).order_by(table.id).limit(AT_ONCE)


def _read_source(connection: sa.Connection, source_id: int) -> _Source | None:
    source = connection.execute(sa.select(hr_sources).where(hr_sources.c.id == source_id)).one_or_none()
    if source is None:
        return None
    enabled = sa.select(hr_targets).where(hr_targets.c.source_id == source_id, hr_targets.c.enabled.is_(True))
    # The secrets are sealed, and not among the settings.
    targets = {row.id: msgspec.convert(row.settings, TARGET_KINDS[row.kind]) for row in connection.execute(enabled)}
    named = sa.select(hr_departments).where(hr_departments.c.source_id == source_id, hr_departments.c.organization_id.is_not(None))
    places = {row.code: Place(row.organization_id, row.name) for row in connection.execute(named)}
    return _Source(targets, places, source.organization_id)


def _wanted(rows: Sequence[Any], source: _Source) -> list[Wanted]:
    """What the accounts of some persons should be."""
    found = []
    for row in rows:
        person = msgspec.convert(row.row, PersonRow)
        active = row.state == PersonState.ACTIVE
        for target_id, settings in source.targets.items():
            desired = desired_of(person, settings, source.places, source.home, active=active)
            adopted = row.adopted_user_id is not None and settings.__class__ is TARGET_KINDS["local"]
            found.append(Wanted(row.id, target_id, desired, desired_hash(desired), adopted, row.run_id))
    return found


async def _write(ctx: Context, rows: Sequence[Any], wanted: Sequence[Wanted]) -> int:
    """Write the tasks of some persons; again when another worker did the same at the same moment."""
    now = ctx.clock.now()
    encoded = await asyncio.to_thread(lambda: [msgspec.to_builtins(one.desired) for one in wanted])

    def transaction(connection: sa.Connection) -> int:
        ids = [row.id for row in rows]
        accounts = accounts_of(connection, ids)
        tasks = _tasks_of(connection, ids)
        inserted, overtaken = [], []
        for one, desired in zip(wanted, encoded, strict=True):
            theirs = tasks.get((one.person_id, one.target_id), [])
            newest = next((task for task in reversed(theirs) if task.state in account_states.UNFINISHED), None)
            if newest is not None and newest.hash == one.hash:
                continue
            overtaken += [task.id for task in theirs if task.state == AccountTaskState.PENDING]
            operation = operation_for(one, accounts.get((one.person_id, one.target_id)), theirs)
            if operation is not None:
                beside = next((task.unique_key for task in theirs if task.state == AccountTaskState.RUNNING), None)
                inserted.append(
                    {
                        "person_id": one.person_id,
                        "target_id": one.target_id,
                        "operation": operation.value,
                        "desired": desired,
                        "hash": one.hash,
                        "run_id": one.run_id,
                        "unique_key": account_states.unique_key(one.person_id, one.target_id, beside=beside),
                    }
                )
        account_states.supersede(connection, overtaken, now)
        account_states.insert(connection, inserted, now)
        for revision in {row.revision for row in rows}:
            same = hr_persons.c.id.in_([row.id for row in rows if row.revision == revision])
            connection.execute(hr_persons.update().where(same, hr_persons.c.revision == revision).values(tasked=revision))
        return len(inserted)

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        return await ctx.sql.write(transaction)


def _tasks_of(connection: sa.Connection, person_ids: Sequence[int]) -> Mapping[tuple[int, int], list[Any]]:
    """The unfinished and the dead tasks of some persons, oldest first, by person and target."""
    table = account_tasks.c
    columns = (table.id, table.person_id, table.target_id, table.state, table.hash, table.attempts, table.run_at, table.created_at)
    wanted = sa.select(*columns, table.ended_at, table.unique_key).where(
        table.person_id.in_(person_ids), table.state.in_([*account_states.UNFINISHED, AccountTaskState.DEAD.value])
    )
    found: dict[tuple[int, int], list[Any]] = {}
    for row in connection.execute(wanted.order_by(table.id)):
        found.setdefault((row.person_id, row.target_id), []).append(row)
    return found


def operation_for(wanted: Wanted, account: Any, tasks: Sequence[Any]) -> Operation | None:
    """What is to be done, from what was last read back; None when it is as it should be.

    An attempt whose end is not known, or that failed, may have done its work all the same: then the target is asked in any case.
    """
    doubtful = any(_is_doubtful(task, account) for task in tasks)
    if wanted.desired.active:
        if account is None:
            return Operation.CREATE
        if account.state == AccountState.DISABLED:
            return Operation.REVIVE
        return Operation.UPDATE if doubtful or account.hash != wanted.hash else None
    if account is None:
        return Operation.DISABLE if doubtful or wanted.adopted else None
    return Operation.DISABLE if doubtful or account.state == AccountState.ACTIVE else None


def _is_doubtful(task: Any, account: Any) -> bool:
    if task.state == AccountTaskState.DEAD:
        return account is None or task.ended_at > account.verified_at
    if task.state == AccountTaskState.RUNNING:
        return True
    return bool(task.attempts or task.run_at != task.created_at)
