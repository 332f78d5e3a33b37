"""Log files: where finished lines go, and the thread that takes them there off the loop."""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TextIO

FILE_BYTES = 10 << 20
FILES_KEPT = 5
GATHER_S = 0.05  # lines wait so long for company: one write for all of them, and few turns of the interpreter lock
MOST_WAITING = 100_000  # lines; more are counted and dropped rather than filling memory while the disk stands still


class Sink(Protocol):
    def write(self, text: str) -> None: ...

    def close(self) -> None: ...


class ConsoleSink:
    """The process's standard error; when nobody reads it any more, lines are dropped."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        stream = self._stream or sys.stderr
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):  # the reader of a pipe is gone, or the stream is closed
            return

    def close(self) -> None:
        """Standard error is not ours to close."""


class RotatingFile:
    """A file that starts anew at `limit` bytes and keeps `kept` older ones, shared by processes.

    While gunicorn reloads, two workers and the arbiter write to one file: lines are appended whole, each writer follows the file
    when another one has rotated it, and rotation happens under a lock.
    """

    def __init__(self, path: Path, *, limit: int = FILE_BYTES, kept: int = FILES_KEPT) -> None:
        self._path, self._limit, self._kept = path, limit, kept
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        self._follow()
        if os.fstat(self._fd).st_size + len(data) > self._limit:
            self._rotate(len(data))
        os.write(self._fd, data)

    def _follow(self) -> None:
        """Open the file again when its name belongs to another file now, or to none."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            there = None
        here = os.fstat(self._fd)
        if there is None or (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev):
            os.close(self._fd)
            self._fd = self._open()

    def _rotate(self, coming: int) -> None:
        with open(self._path.with_name(f".{self._path.name}.lock"), "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            self._follow()
            size = os.fstat(self._fd).st_size
            if size == 0 or size + coming <= self._limit:  # another process was first
                return
            for number in range(self._kept - 1, 0, -1):
                older = self._numbered(number)
                if older.exists():
                    older.replace(self._numbered(number + 1))
            self._path.replace(self._numbered(1))
            self._follow()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        os.close(self._fd)


class LogWriter:
    """A thread that formats records and writes them, many at a time.

    Formatting, scrubbing and the disk cost the caller nothing but a queue entry. An error wakes the thread at once.
    """

    def __init__(self, sinks: Sequence[Sink], form: Callable[[logging.LogRecord], str]) -> None:
        self._sinks, self._form = sinks, form
        self._waiting: queue.SimpleQueue[logging.LogRecord | threading.Event | None] = queue.SimpleQueue()
        self._urgent = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self.dropped = 0
        self._thread.start()

    def put(self, record: logging.LogRecord) -> None:
        if self._waiting.qsize() >= MOST_WAITING:
            self.dropped += 1
            return
        self._waiting.put(record)
        if record.levelno >= logging.ERROR:
            self._urgent.set()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all that was put so far is written; False when that took longer than `timeout_s`."""
        done = threading.Event()
        self._waiting.put(done)
        self._urgent.set()
        return done.wait(timeout_s)

    def close(self) -> None:
        """Write what waits, end the thread and close the sinks."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        self._urgent.set()
        self._thread.join(5.0)
        for sink in self._sinks:
            sink.close()

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._waiting.get()]
            self._urgent.wait(GATHER_S)
            self._urgent.clear()
            while not self._waiting.empty():
                batch.append(self._waiting.get())
            self._write(batch)
            ended = None in batch

    def _write(self, batch: list[logging.LogRecord | threading.Event | None]) -> None:
        lines = [self._form(entry) for entry in batch if isinstance(entry, logging.LogRecord)]
        if self.dropped:
            lines.append(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} ERROR log {self.dropped} lines were dropped: the log could not keep up\n")
            self.dropped = 0
        text = "".join(lines)
        for sink in self._sinks if text else ():
            try:
                sink.write(text)
            except OSError as error:  # a full disk must not end the thread; say so where it can still be seen
                ConsoleSink().write(f"the log cannot be written: {error}\n")
        for entry in batch:
            if isinstance(entry, threading.Event):
                entry.set()
