"""Jobs of accounts: deriving the tasks of a source, working on those of a target."""

from __future__ import annotations

from jobs.registry import Work, job
from server.context import Context
from server.people.hr import account_tasks, processing, proof
from server.people.hr.account_tasks import DERIVE, PROCESS
from server.people.hr.targets.errors import TargetError
from server.platform.schedules.actions import SystemSchedule
from server.platform.sealing import SealBroken
from server.platform.tasks import Queue

DERIVE_ALL = "accounts.derive_all"
PROCESS_ALL = "accounts.process_all"
SCHEDULES = (
    SystemSchedule(name="create_account_tasks", job=DERIVE_ALL, queue=Queue.ACCOUNT_TASKS, crons=("*/10 * * * *",)),
    SystemSchedule(name="process_account_creation_tasks", job=PROCESS_ALL, queue=Queue.ACCOUNT_PROCESSING, crons=("*/5 * * * *",)),
)


@job(DERIVE_ALL, queue="account_tasks", max_attempts=3, time_limit_s=60)
async def derive_all(ctx: Context) -> dict[str, int]:
    """One job for each source that has changed."""
    return await account_tasks.derive_all(ctx)


@job(DERIVE, queue="account_tasks", max_attempts=20, backoff_most_s=300, time_limit_s=3600, resumable=True)
async def derive(ctx: Context, work: Work, source_id: int) -> dict[str, int]:
    """Make the account tasks of the persons of a source that changed."""
    return await account_tasks.derive(ctx, source_id, work.progress)


@job(PROCESS_ALL, queue="account_processing", max_attempts=3, time_limit_s=60)
async def process_all(ctx: Context) -> dict[str, int]:
    """One job for each target that has something to do."""
    return await processing.process_all(ctx)


@job(
    PROCESS,
    queue="account_processing",
    max_attempts=5,
    backoff_most_s=300,
    time_limit_s=6 * 3600,
    resumable=True,
    gives_up_on=(SealBroken, TargetError),
)
async def process(ctx: Context, work: Work, target_id: int) -> dict[str, int]:
    """Work on the account tasks of a target, then have the ends among them proven."""
    done = await processing.process(ctx, target_id, work.progress)
    await proof.ask_for_proof(ctx)
    return done
