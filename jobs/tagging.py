"""Jobs that put tags on documents: on one that was just read, and on all of an organization when its vocabulary has changed."""

from __future__ import annotations

from typing import Any

from jobs.registry import Work, job
from server.context import Context
from server.engines.embedding import EmbeddingMisfit, EmbeddingRefused
from server.engines.vectors import VectorsMismatch, VectorsRefused
from server.knowledge import tag_writing
from server.knowledge.indexing import TAG_DB_WRITER
from server.knowledge.vocabulary import APPLY_TAGS

_HOPELESS = (EmbeddingMisfit, EmbeddingRefused, VectorsMismatch, VectorsRefused)


@job(TAG_DB_WRITER, queue="documents", max_attempts=20, backoff_s=5, backoff_most_s=600, time_limit_s=600, gives_up_on=_HOPELESS)
async def tag_db_writer(ctx: Context, document_id: int) -> dict[str, Any]:
    """Write the tags that surely fit a document."""
    return await tag_writing.write_tags(ctx, document_id)


@job(APPLY_TAGS, queue="maintenance", max_attempts=20, backoff_s=5, backoff_most_s=600, time_limit_s=12 * 3600, gives_up_on=_HOPELESS)
async def apply_tags(ctx: Context, work: Work, organization_id: int) -> dict[str, Any]:
    """Write the tags of all documents of an organization anew."""
    return await tag_writing.apply_vocabulary(ctx, organization_id, work.progress)
