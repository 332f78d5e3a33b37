"""What a handler gets: the arguments, the moment, and a way to speak while it works."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from zhihui_module.errors import TaskCancelled
from zhihui_module.reporting import LEVELS, Reporter
from zhihui_module.task_meta import TaskMeta

FileReference = dict[str, dict[str, Any]]
FileSource = Path | str | bytes
PutFile = Callable[[FileSource, str], Awaitable[FileReference]]


class BaseTask:
    """The part of a task that sync and async handlers share.

    `args` are the step's arguments, earlier steps' outputs among them, files already fetched; `meta` says which run this is.
    """

    __slots__ = ("_cancelled", "_loop", "_put_file", "_reporter", "args", "meta")

    def __init__(
        self, args: dict[str, Any], meta: TaskMeta, reporter: Reporter, put_file: PutFile, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.args = args
        self.meta = meta
        self._reporter = reporter
        self._put_file = put_file
        self._loop = loop
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether the server, or the end of this process, asks the handler to stop."""
        return self._cancelled

    def raise_if_cancelled(self) -> None:
        """Raise TaskCancelled once the task was asked to stop; call it between pieces of work."""
        if self._cancelled:
            raise TaskCancelled("the task was asked to stop")

    def progress(self, percent: float, message: str = "") -> None:
        """Tell how far the work is, 0 to 100. Raises ValueError when `percent` is not such a number."""
        self._reporter.progress(_check_percent(percent), str(message)[:1000])

    def log(self, text: str, level: str = "info") -> None:
        """Add lines to the run's log. Levels: debug, info, warning, error; raises ValueError for another."""
        if level not in LEVELS:
            raise ValueError(f"level: {level!r} is not one of {', '.join(LEVELS)}")
        self._reporter.log(level, str(text))

    def request_cancel(self) -> None:
        """Set the flag that `cancelled` shows."""
        self._cancelled = True


class Task(BaseTask):
    """The task of a sync handler, which runs in its own thread."""

    __slots__ = ()

    def put_file(self, source: FileSource, content_type: str = "application/octet-stream") -> FileReference:
        """Upload a file (a path is streamed from disk) and return the reference to put into an output of type "file".

        Raises FileTransferFailed; OSError when the path cannot be read.
        """

        async def upload() -> FileReference:
            return await self._put_file(source, content_type)

        return asyncio.run_coroutine_threadsafe(upload(), self._loop).result()


class AsyncTask(BaseTask):
    """The task of an async handler."""

    __slots__ = ()

    async def put_file(self, source: FileSource, content_type: str = "application/octet-stream") -> FileReference:
        """Upload a file (a path is streamed from disk) and return the reference to put into an output of type "file".

        Raises FileTransferFailed; OSError when the path cannot be read.
        """
        return await self._put_file(source, content_type)


def _check_percent(percent: Any) -> float:
    """Any number from 0 to 100, NumPy's among them, to two places."""
    try:
        number = math.nan if isinstance(percent, (bool, str)) else float(percent)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 100:
        raise ValueError(f"percent: must be a number from 0 to 100, not {percent!r}")
    return round(number, 2)
