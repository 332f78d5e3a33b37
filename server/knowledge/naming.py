"""What documents and tags are called, and which passages stand for a document, for wings that keep only their ids."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.knowledge.access import visible_by_itself
from server.knowledge.chunk_states import ChunkState
from server.knowledge.tables import chunks, documents, tags


class DocumentName(msgspec.Struct, frozen=True):
    title: str
    status: str
    pages: int


def documents_named(connection: sa.Connection, document_ids: Collection[int]) -> dict[int, DocumentName]:
    """At most some hundreds of documents by id, whoever asks; those that are gone are left out."""
    wanted = sa.select(documents.c.id, documents.c.title, documents.c.status, documents.c.pages).where(
        documents.c.id.in_(list(document_ids))
    )
    return {row.id: DocumentName(row.title, row.status, row.pages) for row in connection.execute(wanted)} if document_ids else {}


def may_pass_on(connection: sa.Connection, actor: Actor, document_id: int) -> bool:
    """Whether the actor may see the document by its own rules, and not only because somebody shared it."""
    wanted = sa.select(documents.c.id).where(documents.c.id == document_id, visible_by_itself(actor))
    return connection.execute(wanted).first() is not None


def one_of(document_ids: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """The condition on documents that they are among those of a select."""
    return documents.c.id.in_(document_ids)


def tags_named_as(name: str) -> sa.Select[tuple[int]]:
    """The ids of the tags of a name, in every organization."""
    return sa.select(tags.c.id).where(tags.c.name == name)


def tag_words(connection: sa.Connection, tag_ids: Collection[int]) -> dict[int, str]:
    """The names of tags by id."""
    if not tag_ids:
        return {}
    return {row.id: row.name for row in connection.execute(sa.select(tags.c.id, tags.c.name).where(tags.c.id.in_(sorted(set(tag_ids)))))}


def passages_of(connection: sa.Connection, document_ids: Collection[int], most: int) -> list[str]:
    """The ids of the first passages of documents that are searched, in their order."""
    if not document_ids:
        return []
    live = sa.select(chunks.c.id).where(chunks.c.document_id.in_(sorted(document_ids)), chunks.c.state == ChunkState.LIVE.value)
    return list(connection.execute(live.order_by(chunks.c.document_id, chunks.c.number).limit(most)).scalars())


def documents_of(connection: sa.Connection, passage_ids: Collection[str]) -> dict[str, int]:
    """The document of each of at most some hundreds of passages that are still searched."""
    if not passage_ids:
        return {}
    live = sa.select(chunks.c.id, chunks.c.document_id).where(chunks.c.id.in_(sorted(passage_ids)), chunks.c.state == ChunkState.LIVE.value)
    return {row.id: row.document_id for row in connection.execute(live)}
