"""The data folder: made private where we make it, and held by one server at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Literal

from server.config import Settings

Kind = Literal["server", "gunicorn"]


class DataDirInUse(Exception):
    """Another server holds the data folder; the message is one clear line."""


class DataDirUnusable(Exception):
    """The data folder cannot be made or written; the message is one clear line."""


def lock_path(settings: Settings) -> Path:
    return settings.data / "run" / "server.lock"


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter; one that is there keeps the mode that its owner gave it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


class DataDirLock:
    """The lock while it is held. It goes with the process that took it and with the children forked from it."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd, self.path = fd, path

    def release(self) -> None:
        """Let go. The file stays: to remove it would let two servers lock two files of one name."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> DataDirLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def lock_data_dir(settings: Settings, kind: Kind = "server") -> DataDirLock:
    """Take DATA_DIR/run/server.lock by flock and write our pid and kind into it. Blocking; called once at start.

    The kernel frees the lock when its last holder ends, however it ends, so it is never stale, and a pid that came round again
    misleads nobody. Raises DataDirInUse or DataDirUnusable.
    """
    path = lock_path(settings)
    try:
        make_private(settings.data)
        make_private(path.parent)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DataDirUnusable(f"DATA_DIR {settings.data} cannot be used: {error.strerror} ({error.filename}).") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 100).decode(errors="replace").split()
        os.close(fd)
        raise DataDirInUse(f"DATA_DIR {settings.data} is in use by the server with pid {holder[0] if holder else 'unknown'}.") from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n{kind}\n".encode())
    return DataDirLock(fd, path)


def find_holder(settings: Settings) -> tuple[int, str] | None:
    """The pid and kind of the server that holds the data folder now, or None when no server runs on it."""
    try:
        fd = os.open(lock_path(settings), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        words = os.read(fd, 100).decode(errors="replace").split()
        return (int(words[0]), words[1]) if len(words) == 2 and words[0].isdigit() else None
    finally:
        os.close(fd)
    return None
