"""Who may see or touch a run: whoever may, where its workflow belongs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.dispatch.errors import RunNotFound
from server.dispatch.tables import runs, workflows


def access_run(connection: sa.Connection, actor: Actor, run_id: str, scope: str) -> Any:
    """The row of a run, if the caller holds `scope` where its workflow belongs. Raises RunNotFound."""
    wanted = (
        sa.select(runs, workflows.c.organization_id)
        .select_from(runs.outerjoin(workflows, workflows.c.id == runs.c.workflow_id))
        .where(runs.c.id == run_id)
    )
    row = connection.execute(wanted).one_or_none()
    if row is None:
        raise RunNotFound()
    # A run whose workflow was removed is for those who hold the scope everywhere.
    allowed = actor.may(scope, row.organization_id) if row.organization_id is not None else actor.organizations(scope) is None
    if not allowed:
        raise RunNotFound()
    return row
