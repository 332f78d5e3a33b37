"""Queues the task of a job's schedule, by what the schedule says of a task that is not over."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from server.platform import tasks
from server.platform.registered_jobs import RegisteredJobs
from server.platform.schedules.rows import Schedule
from server.platform.tasks import Queue

# For a job that this server does not know, so that another one, which does, can take it.
ATTEMPTS = 5


def start_task(connection: sa.Connection, registered: RegisteredJobs, schedule: Schedule, now: datetime) -> str | None:
    """The id of the task, or None while an earlier one is not over (overlap skip)."""
    kind = registered.kinds.get(schedule.job)
    unique_key = None if schedule.overlap == "parallel" else f"schedule:{schedule.id}"
    if schedule.overlap == "cancel_previous" and unique_key is not None:
        tasks.cancel_holder(connection, unique_key, now)
    return tasks.enqueue(
        connection,
        Queue(schedule.queue),
        schedule.job,
        schedule.kwargs,
        now=now,
        max_attempts=kind.max_attempts if kind else ATTEMPTS,
        unique_key=unique_key,
    )
