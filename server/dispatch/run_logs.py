"""The log lines of steps: addressed by line number, kept as documents of some lines each."""

from __future__ import annotations

import asyncio
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch import frames
from server.dispatch.events import StepLogged
from server.dispatch.hub import Connection
from server.dispatch.run_access import access_run
from server.dispatch.run_schemas import LogChunk, LogLine, LogQuery
from server.dispatch.states import STEP_ENDED
from server.dispatch.tables import steps
from server.engines.documents import Between, Collection, Condition
from server.errors import NotFound

LOGS = "step_logs"
COLLECTIONS = (
    Collection(LOGS, indexed=("step_id", "offset", "at")),
    Collection("stale_results", indexed=("module_hash", "step_id", "run_id", "at")),
)
LONGEST_LINE = 16_384
# Further lines of a step are counted out loud once, and dropped.
MOST_LINES = 1_000_000
MOST_LINES_A_DOCUMENT = 500


class StepNotFound(NotFound):
    type = "step_not_found"


class LogWriter:
    """Appends the lines of a step in the order in which its frames come."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._locks: dict[str, asyncio.Lock] = {}

    async def take(self, socket: Connection, frame: frames.Log) -> bool:
        """False when the frame is about no step of this module."""
        if frame.step_id is None:
            step_id = next(reversed(socket.flights), None)  # an older client: its newest step
        else:
            step_id = frame.step_id
        if step_id is None:
            return False
        lock = self._locks.setdefault(step_id, asyncio.Lock())
        try:
            async with lock:
                return await self._append(socket.hash, step_id, frame)
        finally:
            if not lock.locked():
                self._locks.pop(step_id, None)

    async def _append(self, hash: str, step_id: str, frame: frames.Log) -> bool:
        lines = [line[:LONGEST_LINE] for line in frame.lines]
        now = self._ctx.clock.now()

        def reserve(connection: sa.Connection) -> tuple[int, str] | None:
            mine = sa.select(steps.c.log_lines, steps.c.run_id).where(steps.c.id == step_id, steps.c.module_hash == hash)
            row = connection.execute(mine.with_for_update()).one_or_none()
            if row is None:
                return None
            if row.log_lines < MOST_LINES:
                connection.execute(steps.update().where(steps.c.id == step_id).values(log_lines=row.log_lines + len(lines)))
            return row.log_lines, row.run_id

        reserved = await self._ctx.sql.write(reserve)
        if reserved is None:
            return False
        offset, run_id = reserved
        if offset >= MOST_LINES or not lines:
            return True
        for start in range(0, len(lines), MOST_LINES_A_DOCUMENT):
            some = lines[start : start + MOST_LINES_A_DOCUMENT]
            document = {
                "id": f"{step_id}:{offset + start:09d}",
                "step_id": step_id,
                "run_id": run_id,
                "offset": offset + start,
                "at": now,
                "level": frame.level[:16],
                "lines": some,
            }
            await self._ctx.documents.insert(LOGS, document)
        await self._ctx.events.publish(StepLogged(run_id, step_id, offset, lines))
        return True


async def read_lines(ctx: Context, step_id: str, offset: int, limit: int) -> list[LogLine]:
    """Up to `limit` lines of a step from line `offset` on."""
    low = max(0, offset - MOST_LINES_A_DOCUMENT)  # a document may begin before the first line that is wanted
    found = await ctx.documents.find(LOGS, {"step_id": step_id, "offset": Between(low, offset + limit)}, order=["offset"])
    lines = []
    for document in found:
        for place, line in enumerate(document["lines"]):
            number = document["offset"] + place
            if offset <= number < offset + limit:
                lines.append(LogLine(number, document["at"], document["level"], line))
    return lines


async def read_log(ctx: Context, actor: Actor, run_id: str, query: LogQuery) -> LogChunk:
    """A piece of a step's log. Raises RunNotFound, StepNotFound."""

    def look(connection: sa.Connection) -> Any:
        access_run(connection, actor, run_id, "workflows:read")
        return connection.execute(
            sa.select(steps.c.log_lines, steps.c.state).where(steps.c.id == query.step_id, steps.c.run_id == run_id)
        ).one_or_none()

    step = await ctx.sql.read(look)
    if step is None:
        raise StepNotFound()
    lines = await read_lines(ctx, query.step_id, query.offset, query.limit)
    following = lines[-1].n + 1 if lines else min(query.offset, step.log_lines)
    return LogChunk(lines=lines, next_offset=following, total=step.log_lines, ended=step.state in {state.value for state in STEP_ENDED})


async def remove_logs(ctx: Context, before: Any) -> int:
    """Remove log lines and evidence older than the given time; how many documents."""
    old = Condition("lt", before)
    removed = await ctx.documents.delete(LOGS, {"at": old})
    return removed + await ctx.documents.delete("stale_results", {"at": old})
