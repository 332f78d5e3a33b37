"""How the workflows stand: the runs of the last day by their state, where the caller may see them."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch.states import RUN_ACTIVE
from server.dispatch.tables import runs, workflows

DAY = timedelta(days=1)


class WorkflowHealth(msgspec.Struct):
    """Runs that ended in the last 24 hours, by state; `active`: those that have not ended."""

    ended: dict[str, int]
    active: int


async def find_health(ctx: Context, actor: Actor) -> WorkflowHealth | None:
    """None for whoever may not see workflows."""
    if not actor.may("workflows:read"):
        return None
    places, since = actor.organizations("workflows:read"), ctx.clock.now() - DAY

    def read(connection: sa.Connection) -> WorkflowHealth:
        counted = sa.select(runs.c.state, sa.func.count().label("number")).group_by(runs.c.state)
        if places is not None:
            seen = sa.select(workflows.c.id).where(workflows.c.organization_id.in_(sorted(places)))
            counted = counted.where(runs.c.workflow_id.in_(seen))
        ended = {row.state: row.number for row in connection.execute(counted.where(runs.c.ended_at >= since))}
        active = connection.execute(counted.where(runs.c.state.in_([state.value for state in RUN_ACTIVE]))).all()
        return WorkflowHealth(ended, sum(row.number for row in active))

    return await ctx.sql.read(read)
