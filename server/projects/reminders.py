"""Reminders of what is due: some days before and after, each once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.messages import Text, text
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce, notify
from server.projects.states import people_of
from server.projects.tables import project_reminders as table
from server.projects.tables import projects

# Days before (positive) and after (negative) at which people are reminded.
DAYS = (7, 1, -1, -7)
# One that was missed for longer, as the server was off, is not sent any more.
LATEST = timedelta(days=3)
PIECE = 200


def due_now(due_at: datetime, now: datetime, since: datetime | None = None) -> int | None:
    """The reminder whose time has come for what is due then, in days before (positive) or after; None when there is none.

    The latest alone: what became due in three days is reminded of when a day is left. `since`: when the date was set; a reminder whose
    time had passed by then is not sent.
    """
    for days in reversed(DAYS):
        at = due_at - timedelta(days=days)
        if at <= now:
            return days if now - at < LATEST and (since is None or at > since) else None
    return None


def window(now: datetime) -> tuple[datetime, datetime]:
    """Between which due dates reminders can be: what lies outside need not be read."""
    return now - timedelta(days=-min(DAYS)) - LATEST, now + timedelta(days=max(DAYS))


def remind(connection: sa.Connection, now: datetime, subject: str, due_at: datetime, days: int) -> bool:
    """Note that a reminder is sent; False when it was before. `subject`: such as project:3, milestone:5."""
    one = (table.c.subject == subject, table.c.due_at == due_at, table.c.days == days)
    if connection.execute(sa.select(table.c.days).where(*one)).first() is not None:
        return False
    try:
        with connection.begin_nested():
            connection.execute(table.insert().values(subject=subject, due_at=due_at, days=days, sent_at=now))
    except sa.exc.IntegrityError:  # another instance sends it at the same moment
        return False
    return True


def when_text(days: int) -> Text:
    """`in 7 days` and so on, to fill a sentence."""
    if abs(days) == 1:
        return text("project.when.tomorrow" if days > 0 else "project.when.yesterday")
    return text("project.when.before" if days > 0 else "project.when.after", days=abs(days))


def as_param(said: Text) -> dict[str, Any]:
    """A sentence as a notification's parameter: it is said in the reader's language."""
    return {"key": said.key, "params": said.params}


async def remind_of_projects(ctx: Context) -> int:
    """Remind the people of every project whose state is due; how many reminders were sent."""
    sent, after = 0, 0
    while True:
        told, after, number = await ctx.sql.write(lambda connection, after=after: _piece(connection, ctx.clock.now(), after))  # type: ignore[misc]
        await announce(ctx, *told)
        sent += len(told)
        if number < PIECE:
            return sent


def _piece(connection: sa.Connection, now: datetime, after: int) -> tuple[list[Told], int, int]:
    first, last = window(now)
    wanted = sa.select(projects).where(projects.c.due_at > first, projects.c.due_at <= last, projects.c.id > after)
    rows = connection.execute(wanted.order_by(projects.c.id).limit(PIECE)).all()
    told = []
    for row in rows:
        days = due_now(row.due_at, now, row.state_since)
        if days is None or not remind(connection, now, f"project:{row.id}", row.due_at, days):
            continue
        params = {"title": row.title, "when": as_param(when_text(days))}
        key = f"{row.id}:{row.due_at.isoformat()}:{days}"
        told.append(notify(connection, now, people_of(connection, row), Kind.PROJECT_DUE, key, params, f"/projects/{row.id}"))
    return told, rows[-1].id if rows else after, len(rows)
