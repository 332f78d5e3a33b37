"""Jobs of scores: assignment and results of large rounds, and reminders of reviews."""

from __future__ import annotations

from jobs.registry import Giveup, job
from server.context import Context
from server.errors import NotSignedIn
from server.platform.schedules.actions import SystemSchedule
from server.platform.tasks import Queue
from server.projects import assigning, rounds
from server.projects.assigning import ASSIGN_REVIEWS
from server.projects.review_access import RoundNotFound, WrongRoundState
from server.projects.round_schemas import AssignRequest

REMIND = "scores.remind"
SCHEDULES: tuple[SystemSchedule, ...] = (
    SystemSchedule(name="review_reminders", job=REMIND, queue=Queue.MAINTENANCE, crons=("25 7 * * *", "25 12,17 * * *")),
)


@job(
    ASSIGN_REVIEWS,
    queue="maintenance",
    max_attempts=3,
    backoff_s=5,
    time_limit_s=1800,
    gives_up_on=(RoundNotFound, WrongRoundState),
)
async def assign_reviews(ctx: Context, round_id: int, user_id: int, key_id: int | None, open_it: bool, afresh: bool) -> dict[str, int]:
    """Assign the reviews of a large round; after a restart it starts over."""
    try:
        return await assigning.carry_out(ctx, round_id, user_id, key_id, AssignRequest(open=open_it, afresh=afresh))
    except NotSignedIn:
        raise Giveup("whoever asked for it is disabled, or the key was revoked") from None


@job(REMIND, queue="maintenance", max_attempts=3, backoff_s=60, time_limit_s=1800, resumable=True)
async def remind(ctx: Context) -> dict[str, int]:
    """Remind reviewers of what they owe, 7 days and one before it is due, and as long after; each once."""
    return {"reviews": await rounds.remind_reviewers(ctx)}
