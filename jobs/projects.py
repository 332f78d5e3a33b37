"""Jobs of projects: reminders of what is due, long imports and their undoing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from jobs.registry import Giveup, Work, job
from server.context import Context
from server.errors import NotSignedIn
from server.platform.schedules.actions import SystemSchedule
from server.platform.tasks import Queue
from server.projects import audit_telling, project_import, project_index, reminders, student_reminders
from server.projects.project_import import IMPORT_PROJECTS, UNDO_IMPORT, ProjectImportNotFound
from server.projects.project_index import INDEX_PROJECT

REMIND, INDEX_MISSING = "projects.remind", "projects.index_missing"
# Early enough to be read in the morning; and through the day for what a restart has missed.
SCHEDULES: tuple[SystemSchedule, ...] = (
    SystemSchedule(name="project_reminders", job=REMIND, queue=Queue.MAINTENANCE, crons=("15 7 * * *", "15 12,17 * * *")),
    SystemSchedule(name="project_index", job=INDEX_MISSING, queue=Queue.MAINTENANCE, crons=("40 2 * * *",)),
)
# What is reminded of; each answers how many reminders it sent.
REMINDERS: dict[str, Callable[[Context], Awaitable[int]]] = {
    "projects": reminders.remind_of_projects,
    "audits": audit_telling.remind_of_audits,
    "milestones": student_reminders.remind_of_milestones,
    "openings": student_reminders.remind_of_openings,
}


@job(REMIND, queue="maintenance", max_attempts=3, backoff_s=60, time_limit_s=1800, resumable=True)
async def remind(ctx: Context) -> dict[str, int]:
    """Remind people of what is due in 7 days and in one, and of what has been overdue for a day and for 7; each once."""
    return {name: await tell(ctx) for name, tell in REMINDERS.items()}


@job(INDEX_PROJECT, queue="documents", max_attempts=30, backoff_s=5, backoff_most_s=3600, time_limit_s=300, resumable=True)
async def index_project(ctx: Context, project_id: int) -> dict[str, bool]:
    """Read a project's title and summary, so that it is found by what they mean."""
    return {"changed": await project_index.index(ctx, project_id)}


@job(INDEX_MISSING, queue="maintenance", max_attempts=5, backoff_s=60, time_limit_s=1800, resumable=True)
async def index_missing(ctx: Context) -> dict[str, int]:
    """Have the projects read that have no vector of the present model."""
    return {"queued": await project_index.index_missing(ctx)}


@job(
    IMPORT_PROJECTS,
    queue="account_tasks",
    max_attempts=20,
    backoff_s=2,
    backoff_most_s=300,
    time_limit_s=3600,
    resumable=True,
    gives_up_on=(ProjectImportNotFound,),
)
async def import_projects(ctx: Context, work: Work, import_id: str, user_id: int, key_id: int | None) -> dict[str, Any]:
    """Write what was planned for each row; after a restart it goes on where it was."""
    try:
        return await project_import.carry_out(ctx, import_id, user_id, key_id, work.progress)
    except NotSignedIn:
        raise Giveup("whoever asked for it is disabled, or the key was revoked") from None


@job(
    UNDO_IMPORT,
    queue="account_tasks",
    max_attempts=20,
    backoff_s=2,
    backoff_most_s=300,
    time_limit_s=3600,
    resumable=True,
    gives_up_on=(ProjectImportNotFound,),
)
async def undo_import(ctx: Context, work: Work, import_id: str, user_id: int, key_id: int | None) -> dict[str, Any]:
    """Take an import back; after a restart it goes on where it was."""
    try:
        return await project_import.carry_out_undo(ctx, import_id, user_id, key_id, work.progress)
    except NotSignedIn:
        raise Giveup("whoever asked for it is disabled, or the key was revoked") from None
