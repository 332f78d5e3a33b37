"""How the sync with HR stands: each source's last run, and the account tasks that are not done."""

from __future__ import annotations

from datetime import datetime

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.people.hr.account_states import AccountTaskState
from server.people.hr.tables import account_tasks, deprovisionings, hr_runs, hr_sources

MOST_LISTED = 20


class SourceHealth(msgspec.Struct):
    """A source and its last run; `state` is null when it never ran."""

    source_id: int
    name: str
    enabled: bool
    state: str | None
    at: datetime | None


class HrHealth(msgspec.Struct):
    """`waiting`: plans that nobody has approved yet; `open_doors`: ended accounts that can still be used."""

    sources: list[SourceHealth]
    waiting: int
    pending_tasks: int
    dead_tasks: int
    open_doors: int


async def find_health(ctx: Context, actor: Actor) -> HrHealth | None:
    """None for whoever may not see HR sources."""
    if actor.organizations("hr:read") is not None:
        return None
    return await ctx.sql.read(_read)


def _read(connection: sa.Connection) -> HrHealth:
    sources = connection.execute(sa.select(hr_sources).order_by(hr_sources.c.name).limit(MOST_LISTED)).all()
    found = []
    for source in sources:
        last = sa.select(hr_runs.c.state, hr_runs.c.created_at).where(hr_runs.c.source_id == source.id)
        run = connection.execute(last.order_by(hr_runs.c.created_at.desc()).limit(1)).one_or_none()
        state, at = (run.state, run.created_at) if run is not None else (None, None)
        found.append(SourceHealth(source.id, source.name, bool(source.enabled), state, at))
    number = sa.func.count()
    counted = sa.select(account_tasks.c.state, number.label("number")).group_by(account_tasks.c.state)
    tasks = {row.state: row.number for row in connection.execute(counted)}
    waiting = connection.execute(sa.select(number).where(hr_runs.c.state == "awaiting_approval")).scalar_one()
    doors = connection.execute(sa.select(number).where(deprovisionings.c.state == "open")).scalar_one()
    pending = sum(tasks.get(state.value, 0) for state in (AccountTaskState.PENDING, AccountTaskState.RUNNING))
    return HrHealth(found, waiting, pending, tasks.get(AccountTaskState.DEAD.value, 0), doors)
