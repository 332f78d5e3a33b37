"""The rows of a plan: written while it is made, and cleared with the snapshot when they are no longer wanted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.people.hr.states import ChangeState
from server.people.hr.tables import hr_changes, hr_rows

CLEARED_AT_ONCE = 2000
_PLAIN: dict[str, Any] = {
    "state": ChangeState.PENDING.value,
    "person_id": None,
    "strange": [],
    "before": None,
    "after": None,
    "candidates": [],
    "decided_by": None,
    "decision": None,
}


def write(connection: sa.Connection, run_id: str, now: datetime, changes: Sequence[dict[str, Any]]) -> None:
    """Add changes to a plan; what a change does not say is as in a plain one."""
    if changes:
        connection.execute(hr_changes.insert(), [{**_PLAIN, "run_id": run_id, "at": now, **change} for change in changes])


async def clear_changes(ctx: Context, run_id: str) -> None:
    """Remove what an earlier try had planned."""
    await _clear(ctx, hr_changes, run_id, hr_changes.c.id)


async def clear_snapshot(ctx: Context, run_id: str) -> None:
    """Remove the staged snapshot of a run."""
    await _clear(ctx, hr_rows, run_id, hr_rows.c.key)


async def _clear(ctx: Context, table: sa.Table, run_id: str, ordered: sa.ColumnElement[Any]) -> None:
    """In pieces, each up to the last of the next so many: others write meanwhile."""
    while True:
        edge = sa.select(ordered).where(table.c.run_id == run_id).order_by(ordered).offset(CLEARED_AT_ONCE).limit(1)

        def transaction(connection: sa.Connection, edge: sa.Select[Any] = edge) -> bool:
            last = connection.execute(edge).scalar()
            mine = table.delete().where(table.c.run_id == run_id)
            connection.execute(mine if last is None else mine.where(ordered <= last))
            return last is not None

        if not await ctx.sql.write(transaction):
            return
