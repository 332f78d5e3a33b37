"""Who may see and change which document; every list, search, count, image and answer asks here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Forbidden
from server.knowledge.errors import DocumentNotFound
from server.knowledge.tables import documents

READ, WRITE, MANAGE = "documents:read", "documents:write", "documents:manage"


class Visibility(StrEnum):
    PRIVATE = "private"  # the owner, and who manages the organization's documents
    ORGANIZATION = "organization"  # who may read documents in the organization
    PUBLIC = "public"  # whoever may read documents anywhere


def within(column: sa.ColumnElement[Any], places: frozenset[int] | None) -> sa.ColumnElement[bool]:
    """The condition that a column of organizations is among the places; None means everywhere."""
    return sa.true() if places is None else column.in_(sorted(places))


Way = Callable[[Actor], sa.ColumnElement[bool]]


class Ways:
    """How wings above this one let documents be seen: each is a condition on `documents`, for an actor who may read documents at all."""

    def __init__(self, *ways: Way) -> None:
        self.all = ways


def visible(ctx: Context, actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on `documents` that the actor may see the row."""
    if not actor.may(READ):
        return sa.false()
    return sa.or_(visible_by_itself(actor), *(way(actor) for way in ctx.services.get(Ways).all))


def visible_by_itself(actor: Actor) -> sa.ColumnElement[bool]:
    """The same by the document's own rules alone: what may be passed on."""
    if not actor.may(READ):
        return sa.false()
    ways = [
        documents.c.visibility == Visibility.PUBLIC.value,
        sa.and_(documents.c.visibility == Visibility.ORGANIZATION.value, within(documents.c.organization_id, actor.organizations(READ))),
        within(documents.c.organization_id, actor.organizations(MANAGE)),
    ]
    if actor.user_id is not None:
        ways.append(documents.c.owner_id == actor.user_id)
    return sa.or_(*ways)


def may_change(actor: Actor, organization_id: int, owner_id: int | None) -> bool:
    """Whether the actor may change or delete a document that it sees: its own, or all of an organization that it manages."""
    if actor.may(MANAGE, organization_id):
        return True
    return owner_id is not None and owner_id == actor.user_id and actor.may(WRITE)


def access_document(ctx: Context, connection: sa.Connection, actor: Actor, document_id: int, *, to_change: bool = False) -> Any:
    """The document's row. Raises DocumentNotFound when the actor may not see it, Forbidden when it may only look."""
    row = connection.execute(sa.select(documents).where(documents.c.id == document_id, visible(ctx, actor))).one_or_none()
    if row is None:
        raise DocumentNotFound()
    if to_change and not may_change(actor, row.organization_id, row.owner_id):
        raise Forbidden(scope=WRITE)
    return row


def visible_ids(ctx: Context, connection: sa.Connection, actor: Actor, document_ids: Iterable[int]) -> set[int]:
    """Those of the documents that the actor may see."""
    asked = sorted(set(document_ids))
    if not asked:
        return set()
    return set(connection.execute(sa.select(documents.c.id).where(documents.c.id.in_(asked), visible(ctx, actor))).scalars())
