"""The history of a project, as who may see the project reads it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.paging import Page, PageQuery, page_of
from server.projects.access import access_project, blind_ids
from server.projects.project_schemas import HistoryEntry
from server.projects.tables import project_history as table


async def list_history(ctx: Context, actor: Actor, project_id: int, query: PageQuery) -> Page[HistoryEntry]:
    """The history, newest first. For who reviews the project blindly only the transitions, and not by whom. Raises ProjectNotFound."""

    def transaction(connection: sa.Connection) -> Page[HistoryEntry]:
        access_project(connection, actor, project_id)
        wanted = sa.select(table).where(table.c.project_id == project_id)
        hidden = bool(blind_ids(connection, actor, [project_id]))
        if hidden:
            wanted = wanted.where(table.c.what == "transition")
        return page_of(connection, wanted, query, lambda row: _shown(row, hidden), sortable=_SORTABLE, searched=_SEARCHED, order="-id")

    return await ctx.sql.read(transaction)


_SORTABLE = {"id": table.c.id, "at": table.c.at}
_SEARCHED = (table.c.comment,)


def _shown(row: Any, hidden: bool) -> HistoryEntry:
    return HistoryEntry(
        id=row.id,
        at=row.at,
        user_id=None if hidden else row.user_id,
        actor="" if hidden else row.actor,
        what=row.what,
        action=row.action,
        from_state=row.from_state,
        to_state=row.to_state,
        comment=None if hidden else row.comment,
        detail={} if hidden else row.detail,
    )
