"""Removes old rows of the platform's tables, a bounded number at a time."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from server.platform.tables import file_references, schedule_changes


def sweep_changes(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Old changes of schedules, but the newest of each: it says how the schedule came to be as it is."""
    newest = sa.select(sa.func.max(schedule_changes.c.id).label("id")).group_by(schedule_changes.c.schedule_id).subquery()
    old = sa.and_(schedule_changes.c.at < before, schedule_changes.c.id.not_in(sa.select(newest.c.id)))
    return _sweep(connection, schedule_changes, old, limit)


def _sweep(connection: sa.Connection, table: sa.Table, old: sa.ColumnElement[bool], limit: int) -> int:
    ids = list(connection.execute(sa.select(table.c.id).where(old).limit(limit)).scalars())
    return connection.execute(table.delete().where(table.c.id.in_(ids))).rowcount if ids else 0


def referred_files(connection: sa.Connection) -> set[str]:
    """The hashes of all files that something refers to."""
    return set(connection.execute(sa.select(file_references.c.sha256).distinct()).scalars())
