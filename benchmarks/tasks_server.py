"""One server process with a job that does nothing: enqueues tasks as requests would, and prints the rates of its rounds as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import sqlalchemy as sa

from jobs.all import JOBS
from jobs.registry import Job
from server.config import read_settings
from server.context import Context
from server.platform.tables import tasks as table
from server.platform.tasks import Queue, TaskChanged, TaskQueued, enqueue
from server.resources import Resources

KIND = "bench.noop"
QUEUE = Queue.ACCOUNT_PROCESSING


async def noop(ctx: Context) -> dict[str, int]:
    return {"answer": 42}


async def measure(ctx: Context, tasks: int, callers: int) -> float:
    """Tasks a second, from the first enqueue until the last success is committed; each enqueue is a transaction of its own."""
    left, seen = iter(range(tasks)), 0
    all_done = asyncio.Event()

    def heard(event: TaskChanged) -> None:
        nonlocal seen
        seen += event.state == "succeeded"
        if seen >= tasks:
            all_done.set()

    async def call() -> None:
        for _ in left:
            now = ctx.clock.now()
            await ctx.sql.write(lambda connection: enqueue(connection, QUEUE, KIND, {}, now=now))  # noqa: B023
            await ctx.events.publish(TaskQueued(QUEUE.value))

    ctx.events.listen(TaskChanged, heard)
    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    await all_done.wait()
    took_s = time.perf_counter() - began
    ctx.events._listeners[TaskChanged].remove(heard)
    done = sa.select(sa.func.count()).select_from(table).where(table.c.kind == KIND, table.c.state != "succeeded")
    assert not await ctx.sql.read(lambda connection: connection.execute(done).scalar())
    return tasks / took_s


async def serve(options: argparse.Namespace) -> list[float]:
    JOBS[KIND] = Job(kind=KIND, queue=QUEUE, function=noop)
    resources = await Resources.open(read_settings())
    try:
        await measure(resources.ctx, 300, options.callers)  # not counted
        return [await measure(resources.ctx, options.tasks, options.callers) for _ in range(options.rounds)]
    finally:
        await resources.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--profile", type=Path, help="write a cProfile of the loop here")
    options = parser.parse_args()
    if options.profile:
        import cProfile

        profile = cProfile.Profile()
        rates = profile.runcall(lambda: asyncio.run(serve(options)))
        profile.dump_stats(options.profile)
    else:
        rates = asyncio.run(serve(options))
    print(json.dumps(rates))
    return 0


if __name__ == "__main__":
    sys.exit(main())
