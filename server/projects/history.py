"""What happened to a project: an entry with each change, in its transaction; only added to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.projects.tables import project_history as table


def add(
    connection: sa.Connection,
    now: datetime,
    actor: Actor,
    project_id: int,
    what: str,
    *,
    action: str | None = None,
    from_state: str | None = None,
    to_state: str | None = None,
    comment: str | None = None,
    **detail: Any,
) -> int:
    """Add an entry in the transaction of what it tells about; its id.

    `what`: created, changed, transition, member, attachment, tag, link, audit or milestone.
    """
    made = connection.execute(
        table.insert().values(
            project_id=project_id,
            at=now,
            user_id=actor.user_id,
            actor=(actor.name or actor.kind.value)[:190],
            what=what,
            action=action,
            from_state=from_state,
            to_state=to_state,
            comment=comment,
            detail=detail,
        )
    )
    assert made.inserted_primary_key
    return int(made.inserted_primary_key[0])
