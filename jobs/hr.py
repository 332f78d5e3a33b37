"""Jobs of HR sync: a sync of every source, and one run from its reading to its end."""

from __future__ import annotations

from typing import Any

from jobs.registry import Work, job
from server.context import Context
from server.people.hr import runs, syncing
from server.people.hr.runs import APPLY, MOST_ATTEMPTS, SYNC, SYNC_ALL, HrRunNotFound
from server.platform.schedules.actions import SystemSchedule
from server.platform.tasks import Queue
from server.scopes import system_actor

SCHEDULES = (SystemSchedule(name="sync_hr_persons", job=SYNC_ALL, queue=Queue.HR_SYNC, crons=("*/10 * * * *",)),)
ACTOR = system_actor("schedule")


@job(SYNC_ALL, queue="hr_sync", max_attempts=3, time_limit_s=300)
async def sync_all(ctx: Context) -> dict[str, Any]:
    """Start a run of every source that is switched on and has none going on."""
    return await runs.start_all(ctx, ACTOR)


@job(
    SYNC,
    queue="hr_sync",
    max_attempts=MOST_ATTEMPTS,
    backoff_s=5,
    backoff_most_s=300,
    time_limit_s=3 * 3600,
    resumable=True,
    gives_up_on=(HrRunNotFound,),
)
async def sync(ctx: Context, work: Work, run_id: str) -> dict[str, Any]:
    """Read, plan and, when nobody needs to look, apply a run; after a restart it goes on where it was."""
    return await syncing.carry_out(ctx, run_id, work.progress, last_try=work.last_try)


@job(
    APPLY,
    queue="hr_sync",
    max_attempts=MOST_ATTEMPTS,
    backoff_s=5,
    backoff_most_s=300,
    time_limit_s=3 * 3600,
    resumable=True,
    gives_up_on=(HrRunNotFound,),
)
async def apply(ctx: Context, work: Work, run_id: str) -> dict[str, Any]:
    """Apply a plan that was approved; after a restart it goes on where it was."""
    return await syncing.carry_out(ctx, run_id, work.progress, last_try=work.last_try)
