"""Jobs about people: writing an import of users that is too long for a request."""

from __future__ import annotations

from typing import Any

from jobs.registry import Work, job
from server.context import Context
from server.people import user_import
from server.people.user_import import IMPORT_USERS, ImportNotFound


@job(
    IMPORT_USERS,
    queue="account_tasks",
    max_attempts=20,
    backoff_s=2,
    backoff_most_s=300,
    time_limit_s=3600,
    resumable=True,
    gives_up_on=(ImportNotFound,),
)
async def import_users(ctx: Context, work: Work, import_id: str) -> dict[str, Any]:
    """Write what was planned for each row; after a restart it goes on where it was."""
    return await user_import.carry_out(ctx, import_id, work.progress)
