"""Files that modules put in: outputs too large for a frame."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch.errors import ModuleNotFound
from server.dispatch.large_values import Kept, refer
from server.dispatch.module_schemas import FileStored
from server.dispatch.modules import check_may_register
from server.dispatch.tables import modules
from server.engines.files import Stored
from server.platform import file_links
from server.platform.tables import file_references as table


async def check_may_put(ctx: Context, actor: Actor, hash: str, key: str) -> None:
    """Raise RegistrationRefused or ModuleNotFound unless the caller may put in files for the module."""
    check_may_register(ctx, actor, key)
    known = sa.select(modules.c.id).where(modules.c.hash == hash)
    if await ctx.sql.read(lambda connection: connection.execute(known).scalar()) is None:
        raise ModuleNotFound()


async def note(ctx: Context, hash: str, stored: Stored, content_type: str) -> FileStored:
    """The stored file's link. The run that names it in its result is then what keeps it; until then it is kept for the module."""
    now = ctx.clock.now()
    kept = Kept(stored.sha256, stored.size, content_type)
    await ctx.sql.write(lambda connection: refer(connection, f"upload:{hash}", [kept], now))
    return FileStored(url=file_links.sign(ctx, stored.sha256, now=now), sha256=stored.sha256, size=stored.size)


def sweep_uploads(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Uploads that are kept for no run need not be kept for their module after a day; how many references were removed."""
    old = sa.select(table.c.sha256, table.c.owner).where(table.c.owner.startswith("upload:"), table.c.created_at < before).limit(limit)
    found = connection.execute(old).all()
    for row in found:
        connection.execute(table.delete().where(table.c.sha256 == row.sha256, table.c.owner == row.owner))
    return len(found)
