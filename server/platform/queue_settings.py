"""How many tasks of a queue an instance works on at once: a default, and what people have set instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import NotFound
from server.events import Event
from server.platform import audit
from server.platform.registered_jobs import RegisteredJobs
from server.platform.tables import queue_settings
from server.platform.tasks import Queue

MOST = 64


class QueueNotFound(NotFound):
    type = "queue_not_found"


class QueueSettingsChanged(Event, frozen=True):
    """Each instance works on so many tasks of the queue at once from now on; what has begun goes on to its end."""

    queue: str
    concurrency: int


class QueuePatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=MOST)]


class QueueView(msgspec.Struct):
    """A queue and its concurrency, for each instance."""

    queue: str
    concurrency: int
    default: int


def read_settings(connection: sa.Connection) -> dict[str, int]:
    """The concurrency of each queue that people have set."""
    rows = connection.execute(sa.select(queue_settings.c.queue, queue_settings.c.concurrency))
    return {row.queue: row.concurrency for row in rows}


def shown(settings: Mapping[str, int], registered: RegisteredJobs, queue: Queue) -> QueueView:
    default = registered.concurrency[queue]
    return QueueView(queue.value, settings.get(queue.value, default), default)


async def set_concurrency(ctx: Context, actor: Actor, name: str, patch: QueuePatch) -> QueueView:
    """Change it on every instance, now and after a restart. Raises QueueNotFound."""
    if name not in set(Queue):
        raise QueueNotFound()
    now, queue = ctx.clock.now(), Queue(name)
    values = {"concurrency": patch.concurrency, "updated_at": now}

    def transaction(connection: sa.Connection) -> QueueView:
        mine = queue_settings.update().where(queue_settings.c.queue == queue.value)
        if connection.execute(sa.select(queue_settings.c.queue).where(queue_settings.c.queue == queue.value).with_for_update()).first():
            connection.execute(mine.values(values))
        else:
            connection.execute(queue_settings.insert().values(queue=queue.value, **values))
        audit.note(connection, now, actor, "queue.update", f"queue:{queue.value}", concurrency=patch.concurrency)
        return shown({queue.value: patch.concurrency}, ctx.services.get(RegisteredJobs), queue)

    try:
        view = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # two people set it for the first time at the same moment
        view = await ctx.sql.write(transaction)
    await ctx.events.publish(QueueSettingsChanged(queue.value, patch.concurrency))
    return view
