"""Documents of a project: put there by somebody who may read them, and readable to who works on it or judges it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid, NotFound
from server.knowledge.access import visible_ids
from server.knowledge.naming import documents_named, may_pass_on, one_of
from server.platform import audit
from server.projects import history
from server.projects.access import AUDIT, READ, WRITE, access_project, audited_by, blind_ids, own, reviewed_by, within
from server.projects.effects import Effects, commit
from server.projects.events import ProjectChanged
from server.projects.project_schemas import Attachment, AttachmentBody, Listed
from server.projects.states import ProjectState
from server.projects.tables import project_attachments as table
from server.projects.tables import projects

MOST_ATTACHMENTS = 100


class AttachmentNotFound(NotFound):
    type = "attachment_not_found"


def readable(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on documents that one is attached to a project of which the actor is one of the people, an auditor or a reviewer.

    Whoever audits in the project's organization reads them while it is being reviewed. Asked by the documents' own access.
    """
    if not actor.may(READ):
        return sa.false()
    proposed = projects.c.state != ProjectState.DRAFT.value
    judged = projects.c.state.in_([ProjectState.SUBMITTED.value, ProjectState.IN_REVIEW.value])
    ways = [sa.and_(judged, within(actor.organizations(AUDIT)))] if actor.may(AUDIT) else []
    if actor.user_id is not None:
        ways += [own(actor.user_id), sa.and_(proposed, sa.or_(audited_by(actor.user_id), reviewed_by(actor.user_id)))]
    attached = sa.select(table.c.document_id).join(projects, projects.c.id == table.c.project_id).where(sa.or_(sa.false(), *ways))
    return one_of(attached)


async def list_attachments(ctx: Context, actor: Actor, project_id: int) -> Listed:
    """The documents of a project; of those that the caller may not read only that they are there. Raises ProjectNotFound."""

    def transaction(connection: sa.Connection) -> Listed:
        access_project(connection, actor, project_id)
        return _listed(ctx, connection, actor, project_id)

    return await ctx.sql.read(transaction)


async def add_attachment(ctx: Context, actor: Actor, project_id: int, body: AttachmentBody) -> Listed:
    """Attach a document that the caller may read by the document's own rules, or give one that is there another purpose; all of them then.

    A document that is seen only because of another project cannot be passed on. Raises ProjectNotFound, Forbidden, Invalid.
    """

    def transaction(connection: sa.Connection, effects: Effects) -> Listed:
        project = access_project(connection, actor, project_id, WRITE, lock=True)
        attach(connection, effects, actor, project, body.document_id, body.purpose)
        return _listed(ctx, connection, actor, project_id)

    return await commit(ctx, transaction)


def attach(connection: sa.Connection, effects: Effects, actor: Actor, project: Any, document_id: int, purpose: str) -> None:
    """Attach a document, whoever may change the project. Raises Invalid for a document that the actor may not pass on."""
    held = {row.document_id: row.purpose for row in connection.execute(sa.select(table).where(table.c.project_id == project.id))}
    if held.get(document_id) == purpose:
        return
    one = (table.c.project_id == project.id, table.c.document_id == document_id)
    if document_id in held:
        connection.execute(table.update().where(*one).values(purpose=purpose))
    else:
        if not may_pass_on(connection, actor, document_id):
            raise Invalid.field("document_id", "project.no_document", id=document_id)
        if len(held) >= MOST_ATTACHMENTS:
            raise Invalid.field("document_id", "project.too_many_attachments", most=MOST_ATTACHMENTS)
        values = {"project_id": project.id, "document_id": document_id, "purpose": purpose}
        connection.execute(table.insert().values(**values, added_by=actor.user_id, created_at=effects.now))
    _note(connection, effects, actor, project, "add", document_id, purpose=purpose)


async def remove_attachment(ctx: Context, actor: Actor, project_id: int, document_id: int) -> Listed:
    """Take a document off; the document itself stays. Raises ProjectNotFound, Forbidden, AttachmentNotFound."""

    def transaction(connection: sa.Connection, effects: Effects) -> Listed:
        project = access_project(connection, actor, project_id, WRITE, lock=True)
        gone = table.delete().where(table.c.project_id == project_id, table.c.document_id == document_id)
        if not connection.execute(gone).rowcount:
            raise AttachmentNotFound()
        _note(connection, effects, actor, project, "remove", document_id)
        return _listed(ctx, connection, actor, project_id)

    return await commit(ctx, transaction)


def _note(connection: sa.Connection, effects: Effects, actor: Actor, project: Any, action: str, document_id: int, **detail: Any) -> None:
    history.add(connection, effects.now, actor, project.id, "attachment", action=action, document_id=document_id, **detail)
    audit.note(connection, effects.now, actor, f"project.{action}_attachment", f"project:{project.id}", document_id=document_id, **detail)
    effects.events.append(ProjectChanged(project.id, project.organization_id, project.state))


def _listed(ctx: Context, connection: sa.Connection, actor: Actor, project_id: int) -> Listed:
    rows = connection.execute(
        sa.select(table).where(table.c.project_id == project_id).order_by(table.c.created_at, table.c.document_id)
    ).all()
    named = documents_named(connection, [row.document_id for row in rows])
    seen = visible_ids(ctx, connection, actor, named)
    hidden = bool(blind_ids(connection, actor, [project_id]))
    items = [
        Attachment(
            document_id=row.document_id,
            title=named[row.document_id].title if row.document_id in seen else "",
            status=named[row.document_id].status,
            pages=named[row.document_id].pages,
            purpose=row.purpose,
            readable=row.document_id in seen,
            added_by=None if hidden else row.added_by,
            created_at=row.created_at,
        )
        for row in rows
        if row.document_id in named  # one that was deleted is no longer there
    ]
    return Listed(items, len(items))
