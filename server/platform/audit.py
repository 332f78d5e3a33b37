"""The audit log: who did what to what, when and from where; rows are only ever added."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.platform.tables import audit_log


def note(connection: sa.Connection, now: datetime, actor: Actor, action: str, target: str, **detail: Any) -> None:
    """Add a row in the transaction of what it tells about; `action` such as `workflow.create`, `target` such as `workflow:3`."""
    connection.execute(
        audit_log.insert().values(
            at=now,
            user_id=actor.user_id,
            actor=actor.name or actor.kind.value,
            action=action,
            target=target[:190],
            address=actor.address[:64],
            request_id=actor.request_id,
            detail=detail,
        )
    )
