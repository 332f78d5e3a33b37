"""The statuses of a document, and the only place that changes them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from server.events import Event
from server.knowledge.tables import documents


class Status(StrEnum):
    QUEUED = "queued"  # waits for its turn
    PARSING = "parsing"  # pages are being read; those that were are searchable soon after
    EMBEDDING = "embedding"  # all pages are read, some passages have no vector yet
    READY = "ready"
    FAILED = "failed"  # `error` says why
    NO_TEXT = "no_text"  # a scan, and no OCR that could read it


ENDED = (Status.READY, Status.FAILED, Status.NO_TEXT)
_FROM: dict[Status, tuple[Status, ...]] = {
    Status.QUEUED: ENDED,
    Status.PARSING: (Status.QUEUED, Status.PARSING, Status.EMBEDDING),
    Status.EMBEDDING: (Status.PARSING, Status.EMBEDDING),
    Status.READY: (Status.PARSING, Status.EMBEDDING),
    Status.FAILED: (Status.QUEUED, Status.PARSING, Status.EMBEDDING),
    Status.NO_TEXT: (Status.PARSING, Status.EMBEDDING),
}


class DocumentChanged(Event, frozen=True):
    """How far a document is; progress in percent. A document that is gone has the status `deleted`."""

    document_id: int
    status: str
    progress: int
    pages: int
    pages_read: int


def move(connection: sa.Connection, document_id: int, generation: int, to: Status, now: datetime, **values: Any) -> bool:
    """Put a document of that generation into a status; False when it is gone, was begun anew, or may not go there from where it is."""
    moved = documents.update().where(
        documents.c.id == document_id,
        documents.c.generation == generation,
        documents.c.status.in_([status.value for status in _FROM[to]]),
    )
    return connection.execute(moved.values(status=to.value, updated_at=now, **values)).rowcount == 1
