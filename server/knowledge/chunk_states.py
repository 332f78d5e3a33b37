"""The states of a chunk: from read to searchable. Written by chunking and indexing alone, through `set_state`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import sqlalchemy as sa

from server.knowledge.tables import chunks


class ChunkState(StrEnum):
    PENDING = "pending"  # has no vector yet
    WAITING = "waiting"  # has one, and is shown when its whole generation is complete
    LIVE = "live"  # found by search


def set_state(connection: sa.Connection, chunk_ids: Sequence[str], old: ChunkState, new: ChunkState) -> int:
    """Move those of the chunks that are in the old state; how many were."""
    moved = chunks.update().where(chunks.c.id.in_(chunk_ids), chunks.c.state == old.value)
    return connection.execute(moved.values(state=new.value)).rowcount
