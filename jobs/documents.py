"""Jobs of the documents queue: read and index, remove vectors, notice what was left behind, build another index."""

from __future__ import annotations

from typing import Any

from jobs.registry import Giveup, Work, job
from server.context import Context
from server.errors import DomainError, EngineAway
from server.knowledge import indexing, rebuilding, removals, stranded
from server.knowledge.documents import PROCESS_PDF
from server.knowledge.indexes import BUILD_INDEX
from server.knowledge.removals import REMOVE_VECTORS
from server.knowledge.statuses import Status
from server.knowledge.stranded import MEND_DOCUMENTS, SWEEP_VECTORS
from server.messages import text
from server.platform.schedules.actions import SystemSchedule
from server.platform.tasks import Queue

# An engine that is away is waited for; anything else that goes wrong so often will go on to.
MOST_FAULTS = 4
SCHEDULES = (
    SystemSchedule(name="mend_documents", job=MEND_DOCUMENTS, queue=Queue.MAINTENANCE, crons=("*/5 * * * *",)),
    SystemSchedule(name="sweep_vectors", job=SWEEP_VECTORS, queue=Queue.MAINTENANCE, crons=("30 3 * * *",)),
)


@job(PROCESS_PDF, queue="documents", max_attempts=30, backoff_s=2, backoff_most_s=600, time_limit_s=12 * 3600, resumable=True)
async def process_pdf(ctx: Context, work: Work, document_id: int, generation: int) -> dict[str, Any]:
    """Read, embed and index a document; while an engine is away it waits, and says so."""
    try:
        return await indexing.process(ctx, document_id, generation, work.progress)
    except EngineAway as away:
        if work.last_try:
            await indexing.end(ctx, document_id, generation, Status.FAILED, away.text)
        else:
            await indexing.note_waiting(ctx, document_id, generation, away.text)
        raise
    except Exception as error:  # a worker that dies each time, or a fault of ours
        if await indexing.note_fault(ctx, document_id, generation) < MOST_FAULTS:
            raise
        why = error.text if isinstance(error, DomainError) else text("error.internal")
        await indexing.end(ctx, document_id, generation, Status.FAILED, why)
        raise Giveup(str(error)) from error


@job(REMOVE_VECTORS, queue="documents", max_attempts=200, backoff_s=2, backoff_most_s=600, time_limit_s=3600)
async def remove_vectors(ctx: Context) -> dict[str, Any]:
    """Remove the vectors of what was deleted."""
    return {"removals": await removals.carry_out(ctx)}


@job(BUILD_INDEX, queue="maintenance", max_attempts=100, backoff_s=5, backoff_most_s=600, time_limit_s=24 * 3600, resumable=True)
async def build_index(ctx: Context, work: Work) -> dict[str, Any]:
    """Embed every passage for a model that was changed to, then search by it."""
    return await rebuilding.build(ctx, work.progress)


@job(MEND_DOCUMENTS, queue="maintenance", max_attempts=3, time_limit_s=600)
async def mend_documents(ctx: Context) -> dict[str, Any]:
    """End documents whose task ended without them, and see that the index fits the model that is set."""
    return await stranded.mend(ctx)


@job(SWEEP_VECTORS, queue="maintenance", max_attempts=5, time_limit_s=4 * 3600)
async def sweep_vectors(ctx: Context) -> dict[str, Any]:
    """Remove vectors that belong to nothing any more."""
    return await stranded.sweep_vectors(ctx)
