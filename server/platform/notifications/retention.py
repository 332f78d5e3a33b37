"""Removes old notifications and messages to webhooks, a bounded number at a time."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from server.platform.notifications import webhook_queue
from server.platform.tables import notifications


def sweep(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Notifications and messages from before the given time, read or not; how many."""
    ids = list(connection.execute(sa.select(notifications.c.id).where(notifications.c.created_at < before).limit(limit)).scalars())
    removed = connection.execute(notifications.delete().where(notifications.c.id.in_(ids))).rowcount if ids else 0
    return removed + webhook_queue.sweep(connection, before, limit)
