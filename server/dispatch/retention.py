"""Removes runs that ended long ago, with their steps, attempts and file references."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from server.dispatch.tables import runs, step_attempts, steps
from server.platform.tables import file_references


def sweep_runs(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Runs that ended before the given time, up to `limit`; how many were removed."""
    ids = list(connection.execute(sa.select(runs.c.id).where(runs.c.ended_at < before).order_by(runs.c.ended_at).limit(limit)).scalars())
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        mine = list(connection.execute(sa.select(steps.c.id).where(steps.c.run_id.in_(some))).scalars())
        for first in range(0, len(mine), 500):
            connection.execute(step_attempts.delete().where(step_attempts.c.step_id.in_(mine[first : first + 500])))
        connection.execute(steps.delete().where(steps.c.run_id.in_(some)))
        connection.execute(file_references.delete().where(file_references.c.owner.in_([f"run:{run_id}" for run_id in some])))
        connection.execute(runs.delete().where(runs.c.id.in_(some)))
    return len(ids)
