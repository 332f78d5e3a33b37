"""Jobs of the maintenance queue: old records go, table by table, by their own time of retention."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from jobs.registry import Work, job
from server.context import Context
from server.dispatch import module_files, run_logs
from server.dispatch import retention as dispatch_retention
from server.people import cas_logout
from server.people import retention as people_retention
from server.platform import audit_chain, kept_answers, task_logs, tasks
from server.platform import retention as platform_retention
from server.platform.notifications import retention as notification_retention
from server.platform.schedules import ledger
from server.platform.schedules.actions import SystemSchedule
from server.platform.tasks import Queue

CLEAN_UP = "maintenance.clean_up"
# Every Monday in the small hours, as the dispatch platform always did.
SCHEDULES = (SystemSchedule(name="cleanup_old_records", job=CLEAN_UP, queue=Queue.MAINTENANCE, crons=("0 3 * * 1",)),)
AT_ONCE = 2000


@job(CLEAN_UP, queue="maintenance", max_attempts=3, backoff_s=60, time_limit_s=4 * 3600)
async def clean_up(ctx: Context, work: Work) -> dict[str, int]:
    """Remove what is older than its retention, in small transactions; how many of each."""
    now, settings = ctx.clock.now(), ctx.settings
    records = now - timedelta(days=settings.retention_days)
    evidence = now - timedelta(days=settings.audit_retention_days)  # what says why something is as it is
    sweeps: list[tuple[str, Callable[[sa.Connection], int]]] = [
        ("runs", lambda connection: dispatch_retention.sweep_runs(connection, records, AT_ONCE)),
        ("fires", lambda connection: ledger.sweep(connection, records, AT_ONCE)),
        ("schedule_changes", lambda connection: platform_retention.sweep_changes(connection, records, AT_ONCE)),
        ("tasks", lambda connection: tasks.sweep(connection, now - timedelta(days=settings.task_retention_days), AT_ONCE)),
        ("audit_log", lambda connection: audit_chain.sweep(connection, now, evidence, AT_ONCE)),
        ("sessions", lambda connection: people_retention.sweep_sessions(connection, now, AT_ONCE)),
        ("user_imports", lambda connection: people_retention.sweep_imports(connection, records, AT_ONCE)),
        ("cas_sessions", lambda connection: cas_logout.sweep_tickets(connection, now, AT_ONCE)),
        ("hr_rows", lambda connection: people_retention.sweep_hr_rows(connection, AT_ONCE)),
        ("hr_changes", lambda connection: people_retention.sweep_hr_changes(connection, records, evidence, AT_ONCE)),
        ("hr_runs", lambda connection: people_retention.sweep_hr_runs(connection, records, AT_ONCE)),
        ("account_tasks", lambda connection: people_retention.sweep_account_tasks(connection, evidence, AT_ONCE)),
        ("deprovisionings", lambda connection: people_retention.sweep_deprovisionings(connection, evidence, AT_ONCE)),
        ("uploads", lambda connection: module_files.sweep_uploads(connection, now - timedelta(days=1), AT_ONCE)),
        ("notifications", lambda connection: notification_retention.sweep(connection, records, AT_ONCE)),
        ("kept_answers", lambda connection: kept_answers.sweep(connection, now)),
    ]
    removed: dict[str, int] = {}
    for number, (name, sweep) in enumerate(sweeps):
        await work.progress(100 * number // (len(sweeps) + 2), name)
        removed[name] = await _all(ctx, sweep)
    await work.progress(100 * len(sweeps) // (len(sweeps) + 2), "logs")
    removed["logs"] = await run_logs.remove_logs(ctx, records)
    removed["task_logs"] = await task_logs.remove_logs(ctx, now - timedelta(days=settings.task_retention_days))
    removed["files"] = await _files(ctx, now)
    return removed


async def _all(ctx: Context, sweep: Callable[[sa.Connection], int]) -> int:
    total = 0
    while removed := await ctx.sql.write(sweep):
        total += removed
        if removed < AT_ONCE:
            break
    return total


async def _files(ctx: Context, now: datetime) -> int:
    """Files that nobody refers to, older than a day: what is just being put in has no reference yet."""
    referred = await ctx.sql.read(platform_retention.referred_files)
    return await ctx.files.sweep(referred, older_than=now - timedelta(days=1))
