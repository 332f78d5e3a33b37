"""A database in memory with the tables of documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from server.engines.schema import metadata
from server.knowledge.tables import chunks, document_pages, documents, vector_indexes, vector_removals
from server.platform.tables import file_references, tasks

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
Put = Callable[..., int]


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    tables = [documents, document_pages, chunks, vector_indexes, vector_removals, tasks, file_references]
    with engine.connect() as opened:
        metadata.create_all(opened, tables=tables)
        yield opened
    engine.dispose()


@pytest.fixture
def put(connection: sa.Connection) -> Put:
    """Puts in a document; its id."""

    def insert(**more: Any) -> int:
        values = {
            "organization_id": 1,
            "owner_id": 7,
            "visibility": "organization",
            "title": "t",
            "filename": "t.pdf",
            "sha256": 64 * "a",
            "size": 1,
            "status": "queued",
            "progress": 0,
            "language": "",
            "pages": 0,
            "unreadable": 0,
            "ocr": False,
            "reader": 0,
            "generation": 1,
            "built": 0,
            "faults": 0,
            "pages_read": 0,
            "created_at": NOW,
            "updated_at": NOW,
            **more,
        }
        inserted = connection.execute(documents.insert().values(values)).inserted_primary_key
        assert inserted is not None
        return int(inserted[0])

    return insert
