"""Workers that stop, and the tasks of processes that are gone."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import timedelta

import pytest

from jobs.registry import Job
from jobs.worker import QueueWorker
from server.context import Context
from server.platform import tasks
from server.platform.tasks import Queue, enqueue
from server.resources import Resources

FOREVER_S = 600.0
LEASE = timedelta(minutes=10)


async def wait_forever(ctx: Context) -> None:
    await asyncio.sleep(FOREVER_S)


@pytest.mark.gen_test
async def test_what_can_go_on_elsewhere_is_handed_back_at_once(ctx: Context) -> None:
    jobs = {
        kind: Job(kind=kind, queue=Queue.MAINTENANCE, function=wait_forever, resumable=kind == "resumable")
        for kind in ("resumable", "other")
    }
    worker = QueueWorker(ctx, jobs, Queue.MAINTENANCE, concurrency=2)
    now = ctx.clock.now()
    for kind in jobs:
        await ctx.sql.write(lambda connection, kind=kind: enqueue(connection, Queue.MAINTENANCE, kind, {}, now=now))  # type: ignore[misc]
    worker.start()
    await states(ctx, "running", "running")
    stopping = asyncio.create_task(worker.stop(FOREVER_S))
    found = await states(ctx, "queued", "running")
    assert found == {"resumable": "queued", "other": "running"}
    assert not stopping.done()  # the other one has its time
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    await worker.stop(0)
    await states(ctx, "queued", "queued")


async def states(ctx: Context, *wanted: str) -> dict[str, str]:
    """The states of the tasks by kind, once they are these."""
    async with asyncio.timeout(20):
        while True:
            rows = await ctx.sql.read(lambda connection: connection.execute(tasks.tasks.select()).all())
            found = {row.kind: row.state for row in rows if row.kind in ("resumable", "other")}
            if sorted(found.values()) == sorted(wanted):
                return found
            await asyncio.sleep(0.01)


@pytest.mark.gen_test
async def test_tasks_of_a_process_that_is_gone_need_not_wait_for_its_lease(ctx: Context, resources: Resources) -> None:
    now, host = ctx.clock.now(), socket.gethostname()[:30]
    owners = [f"{host}-{os.getpid()}-0000", f"{host}-4194303-0000", f"{host}-{os.getppid()}-0000", "elsewhere-1-0000"]
    for _ in owners:
        await ctx.sql.write(lambda connection: enqueue(connection, Queue.MAINTENANCE, "other", {}, now=now))
    for owner in owners:
        await ctx.sql.write(
            lambda connection, owner=owner: tasks.claim(connection, "maintenance", 1, owner=owner, now=now, lease=LEASE)  # type: ignore[misc]
        )
    await resources._release_tasks()
    free = await ctx.sql.write(
        lambda connection: tasks.claim(connection, "maintenance", 10, owner="next", now=ctx.clock.now(), lease=LEASE)
    )
    assert len(free) == 2  # an earlier process under our own number, and one that is gone
