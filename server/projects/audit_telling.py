"""How reviewers are told that an audit waits for them, and reminded of one that is due."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.messages import Locale, say
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce, notify
from server.projects.audit_steps import AuditState
from server.projects.reminders import as_param, due_now, remind, when_text, window
from server.projects.tables import audit_reviewers, audits, projects

WAITING = Kind.AUDIT_WAITING
PIECE = 200
# The one step of a project that no chain is set for has no name of its own.
UNNAMED = "audit.step_without_chain"


def step_name(name: str, locale: Locale) -> str:
    """What a step is called."""
    return name or say(UNNAMED, locale)


def waiting(title: str, name: str) -> dict[str, Any]:
    """What fills the sentences about an audit."""
    return {"title": title, "step": name or {"key": UNNAMED, "params": {}}}


async def remind_of_audits(ctx: Context) -> int:
    """Remind who has yet to decide of every open audit that is due; how many reminders were sent."""
    sent, after = 0, 0
    while True:
        told, after, number = await ctx.sql.write(lambda connection, after=after: _piece(connection, ctx.clock.now(), after))  # type: ignore[misc]
        await announce(ctx, *told)
        sent += len(told)
        if number < PIECE:
            return sent


def _piece(connection: sa.Connection, now: datetime, after: int) -> tuple[list[Told], int, int]:
    first, last = window(now)
    wanted = sa.select(audits, projects.c.title).join(projects, projects.c.id == audits.c.project_id)
    wanted = wanted.where(audits.c.state == AuditState.OPEN.value, audits.c.due_at > first, audits.c.due_at <= last, audits.c.id > after)
    rows = connection.execute(wanted.order_by(audits.c.id).limit(PIECE)).all()
    told = []
    for row in rows:
        days = due_now(row.due_at, now, row.opened_at)
        if days is None or not remind(connection, now, f"audit:{row.id}", row.due_at, days):
            continue
        asked = sa.select(audit_reviewers.c.user_id).where(audit_reviewers.c.audit_id == row.id, audit_reviewers.c.decision.is_(None))
        params = {**waiting(row.title, row.name), "when": as_param(when_text(days))}
        people = connection.execute(asked).scalars().all()
        told.append(notify(connection, now, people, Kind.AUDIT_DUE, f"{row.id}:{days}", params, f"/audits/{row.id}"))
    return told, rows[-1].id if rows else after, len(rows)
