"""What a task says while it works: log lines in batches, and progress, the newest first.

Everything here may be called from the handler's thread; only `flush` and `close` belong to the loop's thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from zhihui_module import frames

FLUSH_S = 0.2
FLUSH_LINES = 100
PROGRESS_S = 0.1
MAX_LINE_BYTES = 8 * 1024
# Lines kept while the socket is away or slow; the oldest give way, and their number is told.
MAX_KEPT_LINES = 10_000

LEVELS = ("debug", "info", "warning", "error")


class Reporter:
    """The log and progress of one step. `send` takes one frame and says whether the socket took it."""

    __slots__ = (
        "_closed",
        "_dropped",
        "_ids",
        "_lines",
        "_lock",
        "_loop",
        "_loop_thread",
        "_next_progress_at",
        "_progress",
        "_send",
        "_stalled",
        "_timer",
        "_woken",
    )

    def __init__(self, ids: str, send: Callable[[str], bool], loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        self._ids = ids
        self._send = send
        self._loop = loop
        self._loop_thread = loop_thread
        self._lock = threading.Lock()
        self._lines: deque[tuple[str, str]] = deque()
        self._dropped = 0
        self._progress: tuple[float, str] | None = None
        self._next_progress_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._woken = False
        self._stalled = False
        self._closed = False

    def log(self, level: str, text: str) -> None:
        """Keep the lines of a text; they travel within 200 ms, or at once when a hundred wait."""
        if not self._ids:
            return  # the inherited protocol knows neither logs nor progress
        lines = [(level, frames.encode_text(cut(line))) for line in text.splitlines() or [""]]
        with self._lock:
            if self._closed:
                return
            for line in lines:
                if len(self._lines) >= MAX_KEPT_LINES:
                    self._lines.popleft()
                    self._dropped += 1
                self._lines.append(line)
        self._wake()

    def progress(self, percent: float, message: str) -> None:
        """Tell the newest progress: the first at once, later ones at most every 100 ms, the last always."""
        if not self._ids:
            return
        with self._lock:
            if self._closed:
                return
            self._progress = percent, message
        self._wake()

    def flush(self) -> None:
        """Send what waits; what the socket does not take is kept, and tried again later."""
        self._stop_timer()
        self._send_progress()
        self._stalled = not (self._send_dropped() and self._send_lines())
        if self._stalled:
            self._timer = self._loop.call_later(FLUSH_S, self.flush)

    def close(self) -> list[str]:
        """End the report: the frames that must still travel before the result."""
        self._stop_timer()
        if self._closed:
            return []
        with self._lock:
            self._closed = True
        last: list[str] = []
        if self._progress is not None:
            last.append(frames.progress_frame(self._ids, *self._progress))
        if self._dropped:
            last.append(self._dropped_frame(self._dropped))
        while batch := self._take_batch():
            last.append(frames.log_frame(self._ids, *batch))
        return last

    def _wake(self) -> None:
        if threading.get_ident() == self._loop_thread:
            self._plan()
            return
        with self._lock:
            if self._woken:
                return
            self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._plan)
        except RuntimeError:
            return  # the loop is closed: nobody is left to tell

    def _plan(self) -> None:
        """On the loop: send now or start the timer for what waits."""
        self._woken = False
        if self._closed:
            return
        now = self._loop.time()
        if self._progress is not None and now >= self._next_progress_at:
            self._send_progress()
        if len(self._lines) >= FLUSH_LINES and not self._stalled:
            self.flush()
        if (self._lines or self._progress is not None) and self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S if self._progress is None else PROGRESS_S, self.flush)

    def _send_progress(self) -> None:
        with self._lock:
            progress, self._progress = self._progress, None
        if progress is None:
            return
        if self._send(frames.progress_frame(self._ids, *progress)):
            self._next_progress_at = self._loop.time() + PROGRESS_S
            return
        with self._lock:
            self._progress = self._progress or progress

    def _send_dropped(self) -> bool:
        dropped = self._dropped
        if not dropped:
            return True
        if not self._send(self._dropped_frame(dropped)):
            return False
        with self._lock:
            self._dropped -= dropped
        return True

    def _send_lines(self) -> bool:
        while batch := self._take_batch():
            level, lines = batch
            if not self._send(frames.log_frame(self._ids, level, lines)):
                self._put_back(level, lines)
                return False
        return True

    def _dropped_frame(self, dropped: int) -> str:
        told = frames.encode_text(f"{dropped} log lines were dropped while the server was away or slow")
        return frames.log_frame(self._ids, "warning", [told])

    def _take_batch(self) -> tuple[str, list[str]] | None:
        """The oldest lines of one level, at most a hundred and at most what a frame holds."""
        with self._lock:
            if not self._lines:
                return None
            level, line = self._lines.popleft()
            lines, size = [line], frames.size_of(line)
            while self._lines and self._lines[0][0] == level and len(lines) < FLUSH_LINES:
                size += frames.size_of(self._lines[0][1]) + 1
                if size > frames.MAX_PAYLOAD_BYTES:
                    break
                lines.append(self._lines.popleft()[1])
            return level, lines

    def _put_back(self, level: str, lines: list[str]) -> None:
        with self._lock:
            self._lines.extendleft((level, line) for line in reversed(lines))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def cut(line: str) -> str:
    """A line of at most 8 KiB in UTF-8; what is cut off is replaced by an ellipsis."""
    raw = line.encode("utf-8", "replace")
    if len(raw) <= MAX_LINE_BYTES:
        return line
    return raw[: MAX_LINE_BYTES - 3].decode("utf-8", "ignore") + "…"
