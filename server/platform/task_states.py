"""What other wings ask about their tasks."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from server.platform.tables import tasks
from server.platform.tasks import ENDED


def ended_tasks(connection: sa.Connection, task_ids: Sequence[str]) -> set[str]:
    """Those of the tasks that have ended, or that are no longer known."""
    if not task_ids:
        return set()
    rows = connection.execute(sa.select(tasks.c.id, tasks.c.state).where(tasks.c.id.in_(list(task_ids)))).all()
    going_on = {row.id for row in rows if row.state not in ENDED}
    return set(task_ids) - going_on
