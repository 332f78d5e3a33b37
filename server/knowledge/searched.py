"""Which documents a search may touch: those that the caller may see and that the filters leave."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.engines.vectors import Where
from server.knowledge.access import visible, visible_by_itself
from server.knowledge.search_schemas import SearchScope
from server.knowledge.tables import document_tags, documents, tags

# A filter names at most so many documents; beyond that it names organizations, and more is asked for than is shown.
MOST_NAMED = 10_000


def conditions(ctx: Context, actor: Actor, scope: SearchScope) -> sa.ColumnElement[bool]:
    """The condition on `documents` for what may be found."""
    # What is seen for another's sake is not found by where it is from.
    found = [visible(ctx, actor) if scope.organization_id is None else visible_by_itself(actor)]
    if scope.organization_id is not None:
        found.append(documents.c.organization_id == scope.organization_id)
    if scope.document_ids:
        found.append(documents.c.id.in_(scope.document_ids))
    if scope.project_id is not None:
        found.append(documents.c.project_id == scope.project_id)
    if scope.tags:
        tagged = sa.select(document_tags.c.document_id).join(tags, tags.c.id == document_tags.c.tag_id).where(tags.c.name.in_(scope.tags))
        found.append(documents.c.id.in_(tagged))
    return sa.and_(*found)


def where(ctx: Context, connection: sa.Connection, actor: Actor, scope: SearchScope) -> tuple[Where, bool]:
    """The same for the vectors' engine, and whether it is exact (else more is asked for, and what may not be shown is dropped).

    With every document left there is no condition; the rows that are found are checked once more in any case.
    """
    wanted = sa.select(documents.c.id, documents.c.organization_id).where(conditions(ctx, actor, scope)).limit(MOST_NAMED + 1)
    rows = connection.execute(wanted).all()
    language = scope.lang or None
    if len(rows) > MOST_NAMED:
        # The partitions of the organizations in question.
        places = sa.select(documents.c.organization_id).where(conditions(ctx, actor, scope)).distinct()
        return Where(organizations=frozenset(connection.execute(places).scalars()), language=language), False
    if rows and len(rows) == _number_of_documents(connection):
        return Where(language=language), True
    organizations: frozenset[Any] = frozenset(row.organization_id for row in rows)
    return Where(organizations=organizations, documents=tuple(row.id for row in rows), language=language), True


def _number_of_documents(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(documents)).scalar_one())
