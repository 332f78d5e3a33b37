"""Who needs which stored file: a file that nobody refers to is removed after a day."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from server.platform.tables import file_references as table


def refer(connection: sa.Connection, owner: str, sha256: str, size: int, content_type: str, now: datetime) -> None:
    """Note that `owner` (such as step:<id>) needs the file; once is enough."""
    held = sa.select(table.c.sha256).where(table.c.sha256 == sha256, table.c.owner == owner)
    if connection.execute(held).first() is None:
        connection.execute(table.insert().values(sha256=sha256, owner=owner, size=size, content_type=content_type[:100], created_at=now))


def release(connection: sa.Connection, owner: str) -> None:
    """`owner` needs no file any more."""
    connection.execute(table.delete().where(table.c.owner == owner))
