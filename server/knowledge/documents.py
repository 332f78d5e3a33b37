"""What people do with documents: put them in, list them, look at one, change, read anew, delete."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from jobs.cpu.shapes import OutlineEntry
from server.actor import Actor
from server.context import Context
from server.errors import Forbidden
from server.knowledge import document_tags as tagging
from server.knowledge import removals
from server.knowledge.access import WRITE, access_document, may_change, visible, visible_by_itself
from server.knowledge.chunk_states import ChunkState
from server.knowledge.errors import DocumentBusy
from server.knowledge.schemas import (
    Document,
    DocumentDetail,
    DocumentPatch,
    DocumentQuery,
    ReindexAnswer,
    UploadAnswer,
    Uploaded,
    UploadedFile,
    UploadFields,
)
from server.knowledge.statuses import ENDED, DocumentChanged, Status, move
from server.knowledge.tables import chunks, document_tags, documents, tags
from server.knowledge.wording import sentence
from server.paging import Page, page_of
from server.people.organizations import check_organization, home_of
from server.platform import audit
from server.platform.file_references import refer
from server.platform.tasks import Queue, TaskQueued, enqueue

PROCESS_PDF = "process_pdf"
PDF = "application/pdf"
# While an engine is away the task is tried again, at growing distances, for about a day.
MOST_ATTEMPTS = 30


async def upload(ctx: Context, actor: Actor, fields: UploadFields, files: Sequence[UploadedFile]) -> UploadAnswer:
    """A document for each file, each with a task that reads it. The same content again is a document of its own, with a warning.

    Raises Forbidden, Invalid naming the field.
    """
    now = ctx.clock.now()
    names = [name.strip() for name in fields.tags.split(",") if name.strip()]

    def transaction(connection: sa.Connection) -> list[Uploaded]:
        organization_id = fields.organization_id if fields.organization_id is not None else home_of(connection, actor.user_id)
        if not actor.may(WRITE, organization_id):
            raise Forbidden(scope=WRITE)
        check_organization(connection, organization_id)
        wanted = tagging.tags_named(connection, organization_id, names)
        made = []
        for file in files:
            uploaded = _insert(connection, ctx, actor, organization_id, fields, file, now)
            for tag_id in wanted:
                connection.execute(
                    document_tags.insert().values(
                        document_id=uploaded.document_id, tag_id=tag_id, source="person", user_id=actor.user_id, created_at=now
                    )
                )
            made.append(uploaded)
        return made

    made = await ctx.sql.write(transaction)
    for one in made:
        await ctx.events.publish(DocumentChanged(one.document_id, Status.QUEUED.value, 0, 0, 0))
    await ctx.events.publish(TaskQueued(Queue.DOCUMENTS.value))
    return UploadAnswer(made[0].document_id, made[0].task_id, made[0].duplicate_of, made)


def _insert(
    connection: sa.Connection,
    ctx: Context,
    actor: Actor,
    organization_id: int,
    fields: UploadFields,
    file: UploadedFile,
    now: datetime,
) -> Uploaded:
    same = sa.select(documents.c.id).where(documents.c.sha256 == file.stored.sha256, visible(ctx, actor)).order_by(documents.c.id).limit(1)
    duplicate_of = connection.execute(same).scalar()
    title = fields.title.strip() or os.path.splitext(file.filename)[0].strip() or file.filename
    values = {
        "organization_id": organization_id,
        "project_id": fields.project_id,
        "owner_id": actor.user_id,
        "visibility": fields.visibility.value,
        "title": title[:300],
        "filename": file.filename[:255],
        "sha256": file.stored.sha256,
        "size": file.stored.size,
        "status": Status.QUEUED.value,
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
        "created_at": now,
        "updated_at": now,
    }
    inserted = connection.execute(documents.insert().values(values)).inserted_primary_key
    assert inserted is not None
    document_id = int(inserted[0])
    refer(connection, removals.owner_of_file(document_id), file.stored.sha256, file.stored.size, PDF, now)
    task_id = _queue(connection, document_id, 1, now)
    audit.note(
        connection, now, actor, "document.create", f"document:{document_id}", sha256=file.stored.sha256, visibility=fields.visibility
    )
    return Uploaded(document_id, task_id, duplicate_of, file.filename)


def _queue(connection: sa.Connection, document_id: int, generation: int, now: datetime) -> str:
    task_id = enqueue(
        connection,
        Queue.DOCUMENTS,
        PROCESS_PDF,
        {"document_id": document_id, "generation": generation},
        now=now,
        max_attempts=MOST_ATTEMPTS,
    )
    assert task_id is not None
    connection.execute(documents.update().where(documents.c.id == document_id).values(task_id=task_id))
    return task_id


_SORTABLE = {
    "id": documents.c.id,
    "title": documents.c.title,
    "created_at": documents.c.created_at,
    "updated_at": documents.c.updated_at,
    "size": documents.c.size,
    "pages": documents.c.pages,
    "status": documents.c.status,
}


async def list_documents(ctx: Context, actor: Actor, query: DocumentQuery) -> Page[Document]:
    """The documents that the caller may see; `q` searches titles and file names, `mine` keeps the caller's own."""
    # What is seen for another's sake, as a reviewer does, is not found by whose it is, nor by where.
    by_owner = query.organization_id is not None or query.mine
    wanted = sa.select(documents).where(visible_by_itself(actor) if by_owner else visible(ctx, actor))
    for column, value in ((documents.c.organization_id, query.organization_id), (documents.c.project_id, query.project_id)):
        if value is not None:
            wanted = wanted.where(column == value)
    if query.status:
        wanted = wanted.where(documents.c.status.in_(query.status.split(",")))
    if query.visibility:
        wanted = wanted.where(documents.c.visibility == query.visibility)
    if query.mine:
        wanted = wanted.where(documents.c.owner_id == (actor.user_id or 0))
    if query.tag:
        tagged = sa.select(document_tags.c.document_id).join(tags, tags.c.id == document_tags.c.tag_id).where(tags.c.name == query.tag)
        wanted = wanted.where(documents.c.id.in_(tagged))

    def transaction(connection: sa.Connection) -> Page[Document]:
        page = page_of(
            connection,
            wanted,
            query,
            lambda row: _shown(row, actor),
            sortable=_SORTABLE,
            searched=(documents.c.title, documents.c.filename),
            order="-created_at",
        )
        _complete(connection, actor, page.items)
        return page

    return await ctx.sql.read(transaction)


async def get_document(ctx: Context, actor: Actor, document_id: int) -> DocumentDetail:
    """A document with its outline. Raises DocumentNotFound."""
    return await ctx.sql.read(lambda connection: _detail(ctx, connection, actor, access_document(ctx, connection, actor, document_id)))


async def change_document(ctx: Context, actor: Actor, document_id: int, patch: DocumentPatch) -> DocumentDetail:
    """Change title, visibility or project. Raises DocumentNotFound, Forbidden."""
    now = ctx.clock.now()
    changes = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}

    def transaction(connection: sa.Connection) -> DocumentDetail:
        access_document(ctx, connection, actor, document_id, to_change=True)
        if changes:
            connection.execute(documents.update().where(documents.c.id == document_id).values(updated_at=now, **changes))
            audit.note(connection, now, actor, "document.change", f"document:{document_id}", **changes)
        return _detail(ctx, connection, actor, access_document(ctx, connection, actor, document_id))

    document = await ctx.sql.write(transaction)
    await ctx.events.publish(changed(document))
    return document


async def reindex(ctx: Context, actor: Actor, document_id: int) -> ReindexAnswer:
    """Read a document anew; what it had stays searchable until the new passages are in. Raises DocumentBusy while it is being read."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> ReindexAnswer:
        row = access_document(ctx, connection, actor, document_id, to_change=True)
        if row.status not in {status.value for status in ENDED}:
            raise DocumentBusy(status=row.status)
        cleared = {"progress": 0, "faults": 0, "pages_read": 0, "unreadable": 0, "carry": None, "error": None}
        if not move(connection, document_id, row.generation, Status.QUEUED, now, **cleared):
            raise DocumentBusy(status=row.status)
        connection.execute(documents.update().where(documents.c.id == document_id).values(generation=row.generation + 1))
        audit.note(connection, now, actor, "document.reindex", f"document:{document_id}")
        return ReindexAnswer(document_id, _queue(connection, document_id, row.generation + 1, now))

    answer = await ctx.sql.write(transaction)
    await ctx.events.publish(DocumentChanged(document_id, Status.QUEUED.value, 0, 0, 0))
    await ctx.events.publish(TaskQueued(Queue.DOCUMENTS.value))
    return answer


async def delete_document(ctx: Context, actor: Actor, document_id: int) -> None:
    """Delete a document with all that was made of it, also while it is being read: it is gone from search at once. Raises Forbidden."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        row = access_document(ctx, connection, actor, document_id, to_change=True)
        removals.remove_document(connection, document_id, now)
        audit.note(connection, now, actor, "document.delete", f"document:{document_id}", title=row.title, sha256=row.sha256)

    await ctx.sql.write(transaction)
    await ctx.events.publish(DocumentChanged(document_id, "deleted", 0, 0, 0))
    await ctx.events.publish(TaskQueued(Queue.DOCUMENTS.value))


def changed(document: Document) -> DocumentChanged:
    return DocumentChanged(document.id, document.status, document.progress, document.pages, document.pages_read)


def _shown(row: Any, actor: Actor, kind: type[Document] = Document) -> Document:
    plain = {
        name: getattr(row, name)
        for name in Document.__struct_fields__
        if name not in ("tags", "may_change", "searchable", "error", "visibility")
    }
    return kind(
        **plain,
        visibility=row.visibility,
        error=sentence(row.error, actor.locale),
        searchable=row.built > 0,
        may_change=may_change(actor, row.organization_id, row.owner_id),
    )


def _complete(connection: sa.Connection, actor: Actor, shown: Sequence[Document]) -> None:
    """Add tags, and whether a part is searchable already of those that were never complete; withhold whose what is seen for another's
    sake is, as a blind reviewer must not know."""
    by_id = {document.id: document for document in shown}
    own = sa.select(documents.c.id).where(documents.c.id.in_(sorted(by_id)), visible_by_itself(actor))
    for document_id in by_id.keys() - set(connection.execute(own).scalars()):
        by_id[document_id].owner_id = by_id[document_id].organization_id = None
    for document_id, found in tagging.tags_of(connection, by_id, actor.locale).items():
        by_id[document_id].tags = found
    unbuilt = [document.id for document in shown if not document.searchable]
    if unbuilt:
        live = sa.select(chunks.c.document_id).where(chunks.c.document_id.in_(unbuilt), chunks.c.state == ChunkState.LIVE.value).distinct()
        for document_id in connection.execute(live).scalars():
            by_id[document_id].searchable = True


def _detail(ctx: Context, connection: sa.Connection, actor: Actor, row: Any) -> DocumentDetail:
    detail = _shown(row, actor, DocumentDetail)
    assert isinstance(detail, DocumentDetail)
    _complete(connection, actor, [detail])
    if row.survey:
        detail.outline = msgspec.convert(row.survey.get("outline", []), list[OutlineEntry])
    live = sa.select(sa.func.count()).select_from(chunks).where(chunks.c.document_id == row.id, chunks.c.state == ChunkState.LIVE.value)
    detail.chunks = connection.execute(live).scalar() or 0
    same = sa.select(documents.c.id).where(documents.c.sha256 == row.sha256, documents.c.id != row.id, visible(ctx, actor))
    detail.duplicates = list(connection.execute(same.order_by(documents.c.id).limit(20)).scalars())
    return detail


async def original(ctx: Context, actor: Actor, document_id: int) -> tuple[str, str]:
    """The uploaded file: its name and hash. Raises DocumentNotFound."""
    row = await ctx.sql.read(lambda connection: access_document(ctx, connection, actor, document_id))
    return row.filename, row.sha256
