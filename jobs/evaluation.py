"""The job that runs an evaluation set; after a restart it starts over."""

from __future__ import annotations

from typing import Any

from jobs.registry import Work, job
from server.context import Context
from server.knowledge import evaluation_runs
from server.knowledge.evaluation_runs import RUN_EVALUATION


@job(RUN_EVALUATION, queue="maintenance", max_attempts=10, backoff_s=5, backoff_most_s=300, time_limit_s=6 * 3600)
async def run_evaluation(ctx: Context, work: Work, run_id: str) -> dict[str, Any]:
    """Ask every question of the set in every mode of search and keep the figures."""
    return await evaluation_runs.carry_out(ctx, run_id, work.progress, last_try=work.last_try)
