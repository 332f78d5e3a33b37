"""What jobs log while they work on a task: kept with the task, bounded, and removed with it."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from server.actor import Actor
from server.context import Context
from server.engines.documents import Collection, Condition
from server.errors import EngineAway
from server.log_scrubbing import Scrubber, secret_values
from server.platform.task_actions import get_task

log = logging.getLogger(__name__)

LOGS = "task_logs"
COLLECTIONS = (Collection(LOGS, indexed=("task_id", "at", "attempt")),)
# Of each attempt the newest lines are kept: the end tells more than the beginning.
MOST_LINES = 500
LONGEST_LINE = 4000
MOST_ATTEMPTS = 20


class TaskLogLine(msgspec.Struct):
    """One line. `at` is ISO 8601."""

    attempt: int
    at: str
    level: str
    logger: str
    message: str


class TaskLog(msgspec.Struct):
    """The lines of a task, oldest first; `dropped` is how many older ones were not kept."""

    lines: list[TaskLogLine]
    dropped: int


class Lines:
    """The lines of one attempt in memory; any thread may add."""

    __slots__ = ("count", "kept", "stored")

    def __init__(self) -> None:
        self.kept: deque[list[str]] | None = None
        self.count = 0
        self.stored = 0

    def add(self, line: list[str]) -> None:
        if self.kept is None:
            self.kept = deque(maxlen=MOST_LINES)
        self.kept.append(line)
        self.count += 1


lines_of_task: ContextVar[Lines | None] = ContextVar("lines_of_task", default=None)
"""Where the task at hand writes; threads and tasks that it starts inherit it."""


def trace_of(error: BaseException) -> str:
    """Where an error came from, its innermost calls last, without the headings."""
    return "".join(traceback.format_exception(error, limit=-6)).replace("Traceback (most recent call last):\n", "").rstrip()


class _Kept(logging.Handler):
    """Puts each record that is made in a task's context into the task's lines as well."""

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__(logging.INFO)
        self._scrubber = scrubber

    def emit(self, record: logging.LogRecord) -> None:
        lines = lines_of_task.get()
        if lines is None:
            return
        try:
            message = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                message += "\n" + trace_of(record.exc_info[1])
            at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
            message = self._scrubber.scrub(message[: 2 * LONGEST_LINE])[:LONGEST_LINE]
            lines.add([at, record.levelname, record.name, message.encode(errors="backslashreplace").decode()])
        except Exception:
            self.handleError(record)


class TaskLogs:
    """Listens to this process's log from `open` to `close`."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._handler = _Kept(Scrubber(secret_values(ctx.settings)))

    def open(self) -> None:
        logging.getLogger().addHandler(self._handler)

    def close(self) -> None:
        logging.getLogger().removeHandler(self._handler)

    async def store(self, task_id: str, attempt: int, lines: Lines) -> None:
        """Keep what was logged since the last time; a store that is away costs the lines, not the task."""
        if lines.kept is None or lines.stored == lines.count:
            return
        count, kept = lines.count, list(lines.kept)
        document_id = f"{task_id}:{attempt}"
        changes: dict[str, Any] = {"at": self._ctx.clock.now(), "count": count, "lines": kept}
        try:
            if not await self._ctx.documents.patch(LOGS, document_id, changes):
                await self._ctx.documents.insert(LOGS, {"id": document_id, "task_id": task_id, "attempt": attempt, **changes})
            lines.stored = count
        except EngineAway as away:
            log.warning("the log of task %s could not be kept: %s", task_id, away)


async def read_log(ctx: Context, actor: Actor, task_id: str) -> TaskLog:
    """The lines of all attempts. Raises TaskNotFound."""
    await get_task(ctx, actor, task_id)
    found = await ctx.documents.find(LOGS, {"task_id": task_id}, order=["-attempt"], limit=MOST_ATTEMPTS)
    lines: list[TaskLogLine] = []
    dropped = 0
    for document in reversed(found):
        lines += [TaskLogLine(document["attempt"], *line) for line in document["lines"]]
        dropped += document["count"] - len(document["lines"])
    surplus = max(0, len(lines) - MOST_LINES)
    return TaskLog(lines[surplus:], dropped + surplus)


async def remove_logs(ctx: Context, before: datetime) -> int:
    """Remove what was last written before the given time; how many documents."""
    return await ctx.documents.delete(LOGS, {"at": Condition("lt", before)})
