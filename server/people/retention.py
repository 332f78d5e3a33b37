"""Removes sessions that are long over, and imports that nobody will undo any more."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from server.people.tables import sessions, user_imports

KEPT_FOR = timedelta(days=30)


def sweep_sessions(connection: sa.Connection, now: datetime, limit: int) -> int:
    """Sessions that ended or expired a month ago; how many were removed."""
    before = now - KEPT_FOR
    old = sa.select(sessions.c.id).where(sa.or_(sessions.c.ended_at < before, sessions.c.expires_at < before)).limit(limit)
    ids = list(connection.execute(old).scalars())
    return connection.execute(sessions.delete().where(sessions.c.id.in_(ids))).rowcount if ids else 0


def sweep_imports(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Imports from before that time, with what undoing them would need; how many were removed."""
    old = sa.select(user_imports.c.id).where(user_imports.c.created_at < before).limit(limit)
    ids = list(connection.execute(old).scalars())
    return connection.execute(user_imports.delete().where(user_imports.c.id.in_(ids))).rowcount if ids else 0
