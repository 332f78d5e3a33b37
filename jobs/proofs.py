"""Jobs of proofs: trying the doors of those whose access was to end."""

from __future__ import annotations

from jobs.registry import job
from server.context import Context
from server.people.hr import proof
from server.people.hr.proof import PROVE
from server.platform.schedules.actions import SystemSchedule
from server.platform.tasks import Queue

SCHEDULES = (SystemSchedule(name="prove_deprovisionings", job=PROVE, queue=Queue.ACCOUNT_PROCESSING, crons=("*/5 * * * *",)),)


@job(PROVE, queue="account_processing", max_attempts=3, backoff_s=30, time_limit_s=3600, resumable=True)
async def prove(ctx: Context) -> dict[str, int]:
    """Try every door of each case that is not proven; how many came to what."""
    return await proof.prove_all(ctx)
