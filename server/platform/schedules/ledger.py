"""The fire ledger: one row per planned instant, written under the planner's epoch before anything happens."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from server.platform.tables import fires, planner

NAME = "main"


class Outcome(StrEnum):
    """What became of a planned instant: a run (or a task), or the reason why not."""

    FIRED = "fired"
    DISABLED = "disabled"
    PAUSED = "paused"
    CALENDAR = "calendar"
    OVERLAP = "overlap"
    MISFIRE = "misfire"
    SHUTDOWN = "shutdown"


class LeaseLost(Exception):
    """Another instance plans now; nothing of this transaction stands."""


class Entry(msgspec.Struct, kw_only=True):
    """A ledger row to be. `count` instants from `planned_at` to `through` when it stands for a stretch of them.

    `widen`: the id of an existing row that takes this instant in instead.
    """

    id: str
    schedule_id: int
    planned_at: datetime
    starts_at: datetime
    outcome: Outcome
    reason: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    through: datetime | None = None
    count: int = 1
    widen: str | None = None


class TakenOver(msgspec.Struct, frozen=True):
    """What the planner before left: up to which start time everything is in the ledger, and when it stopped, if in good order."""

    until: datetime
    stopped_at: datetime | None


def take_over(connection: sa.Connection, epoch: int, holder: str, now: datetime) -> TakenOver:
    """Become the planner under `epoch`. Raises LeaseLost for an epoch that is over."""
    row = connection.execute(sa.select(planner).where(planner.c.name == NAME).with_for_update()).one_or_none()
    if row is None:
        connection.execute(planner.insert().values(name=NAME, epoch=epoch, holder=holder, planned_until=now))
        return TakenOver(now, None)
    taken = planner.update().where(planner.c.name == NAME, planner.c.epoch < epoch)
    if not connection.execute(taken.values(epoch=epoch, holder=holder, stopped_at=None)).rowcount:
        raise LeaseLost(f"epoch {epoch} is not after {row.epoch}")
    return TakenOver(row.planned_until, row.stopped_at)


def hold(connection: sa.Connection, now: datetime) -> None:
    """Make the planner's row if it is missing, and hold it for this transaction, so that two instances do not do the same at once.

    Raises IntegrityError when another instance makes it at the same moment; then hold it again.
    """
    mine = sa.select(planner.c.name).where(planner.c.name == NAME).with_for_update()
    if connection.execute(mine).first() is None:
        connection.execute(planner.insert().values(name=NAME, epoch=0, holder="", planned_until=now))


def stop(connection: sa.Connection, epoch: int, now: datetime) -> None:
    """Planning stops in good order: what is planned from now on, until somebody takes over, is not fired because of that."""
    connection.execute(planner.update().where(planner.c.name == NAME, planner.c.epoch == epoch).values(stopped_at=now))


def latest_epoch(connection: sa.Connection) -> int:
    """The epoch that storage has seen last; a new one must be greater."""
    return int(connection.execute(sa.select(planner.c.epoch).where(planner.c.name == NAME)).scalar() or 0)


def check_epoch(connection: sa.Connection, epoch: int) -> None:
    """Hold the planner's row for this transaction. Raises LeaseLost when the epoch is over."""
    held = connection.execute(sa.select(planner.c.epoch).where(planner.c.name == NAME).with_for_update()).scalar()
    if held != epoch:
        raise LeaseLost(f"epoch {epoch} is over, {held} holds")


def planned_until(connection: sa.Connection, epoch: int, until: datetime) -> None:
    """Everything that starts up to `until` is in the ledger."""
    connection.execute(planner.update().where(planner.c.name == NAME, planner.c.epoch == epoch).values(planned_until=until))


def find_recorded(connection: sa.Connection, entries: list[Entry]) -> set[tuple[int, datetime]]:
    """Those of the entries' instants that the ledger has already, as (schedule, planned_at)."""
    if not entries:
        return set()
    low, high = min(entry.planned_at for entry in entries), max(entry.planned_at for entry in entries)
    found: set[tuple[int, datetime]] = set()
    ids = sorted({entry.schedule_id for entry in entries})
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        wanted = sa.select(fires.c.schedule_id, fires.c.planned_at).where(
            fires.c.schedule_id.in_(some), fires.c.planned_at.between(low, high)
        )
        found.update((row.schedule_id, row.planned_at) for row in connection.execute(wanted))
    return found


def find_stretches(connection: sa.Connection, after: datetime) -> dict[int, datetime]:
    """Per schedule, up to which planned instant a widened row goes beyond `after`; a crash came before the note of it."""
    found = sa.select(fires.c.schedule_id, sa.func.max(fires.c.through).label("through")).where(fires.c.through > after)
    return {row.schedule_id: row.through for row in connection.execute(found.group_by(fires.c.schedule_id))}


def write(connection: sa.Connection, entries: list[Entry], *, epoch: int, now: datetime) -> None:
    """Add the rows, or widen the ones that they continue."""
    rows: list[dict[str, Any]] = []
    for entry in entries:
        if entry.widen is not None:
            widened = fires.update().where(fires.c.id == entry.widen)
            connection.execute(widened.values(through=entry.through or entry.planned_at, count=fires.c.count + entry.count))
            continue
        rows.append(
            {
                "id": entry.id,
                "schedule_id": entry.schedule_id,
                "planned_at": entry.planned_at,
                "starts_at": entry.starts_at,
                "outcome": entry.outcome.value,
                "reason": entry.reason[:500] if entry.reason else None,
                "run_id": entry.run_id,
                "task_id": entry.task_id,
                "lag_ms": max(0, round((now - entry.starts_at).total_seconds() * 1000)) if entry.count == 1 else 0,
                "through": entry.through,
                "count": entry.count,
                "epoch": epoch,
                "created_at": now,
            }
        )
    if rows:
        connection.execute(fires.insert(), rows)


def sweep(connection: sa.Connection, before: datetime, limit: int = 5000) -> int:
    """Remove rows written before the given time, up to `limit`; how many."""
    ids = list(connection.execute(sa.select(fires.c.id).where(fires.c.created_at < before).limit(limit)).scalars())
    return connection.execute(fires.delete().where(fires.c.id.in_(ids))).rowcount if ids else 0
