"""Finds the file to read: below the folder of HR files and nowhere else, and only once nobody writes to it any more."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from server.messages import text
from server.people.hr.refusals import FileUnusable, SourceTooLarge
from server.people.hr.source_schemas import Watch

LARGEST_FILE = 512 << 20
DONE = ".done"


class _State(NamedTuple):
    """What changes when somebody writes to a file; the change time cannot be set back as the other one can."""

    size: int
    modified_ns: int
    changed_ns: int


def is_inside(given: str) -> bool:
    """Whether a path that somebody gave can be one below the folder of HR files; links are looked at when it is opened."""
    path = PurePosixPath(given.replace("\\", "/"))
    drive = ":" in (path.parts or ("",))[0]
    return bool(given) and not path.is_absolute() and ".." not in path.parts and given.isprintable() and not drive


def find_file(folder: Path, path: str, watch: Watch | None, pattern: str | None = None) -> Path:
    """The file at `path`; with `watch` the newest one of the pattern in the folder at `path`. Raises FileUnusable."""
    found = _below(folder, path or ".") if watch is not None else _below(folder, path)
    if watch is None:
        return found
    wanted = pattern or watch.pattern
    if not found.is_dir():
        raise FileUnusable(name=path, why=text("hr.source.no_folder"))
    files = [file for file in found.iterdir() if fnmatchcase(file.name, wanted) and not file.name.endswith(DONE) and file.is_file()]
    if watch.done:
        files = [file for file in files if file.with_name(file.name + DONE).exists()]
    if not files:
        raise FileUnusable(name=wanted, why=text("hr.source.no_file"))
    newest = _below(folder, str(max(files, key=lambda file: (file.stat().st_mtime_ns, file.name)).relative_to(folder.resolve())))
    state = _state(newest)
    if time.time() - max(state.modified_ns, state.changed_ns) / 1e9 < watch.still_s:
        raise FileUnusable(name=newest.name, why=text("hr.source.still_written"))
    return newest


@contextmanager
def opened(file: Path) -> Generator[IO[bytes], None, None]:
    """The file's bytes; when somebody wrote to it meanwhile, leaving raises FileUnusable. Raises SourceTooLarge, FileUnusable."""
    try:
        stream = file.open("rb")
    except OSError as error:
        raise FileUnusable(name=file.name, why=text("hr.source.unreadable", detail=error.strerror or "?")) from None
    with stream:
        before = _state(stream.fileno())
        if before.size > LARGEST_FILE:
            raise SourceTooLarge(limit=f"{LARGEST_FILE >> 20} MiB")
        yield stream
        if _state(stream.fileno()) != before or _state(file) != before:
            raise FileUnusable(name=file.name, why=text("hr.source.changed_meanwhile"))


def _below(folder: Path, path: str) -> Path:
    """The real path, links followed; it must be below the folder."""
    root = folder.resolve()
    if not is_inside(path):
        raise FileUnusable(name=path, why=text("hr.source.outside"))
    try:
        found = (root / path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise FileUnusable(name=path, why=text("hr.source.no_file")) from None
    if not found.is_relative_to(root):
        raise FileUnusable(name=path, why=text("hr.source.outside"))
    return found


def _state(file: Path | int) -> _State:
    try:
        found = os.stat(file)
    except OSError as error:
        raise FileUnusable(name=str(getattr(file, "name", "")), why=text("hr.source.unreadable", detail=error.strerror or "?")) from None
    return _State(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
