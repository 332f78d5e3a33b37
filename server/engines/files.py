"""The door to files: a folder in which a file's name is the hash of its content."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from server.config import Settings
from server.errors import EngineAway, NotFound

T = TypeVar("T")

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Below this a thread costs more than the writing.
WRITE_BYTES = 2**20
READ_BYTES = 2**18


class FileMissing(NotFound):
    """No content of that hash is stored, or it is not a hash at all."""

    type = "file_not_found"


class Stored(msgspec.Struct, frozen=True):
    """What was stored: its name and its length in bytes."""

    sha256: str
    size: int


class FilesDoor:
    """Content is never changed, only added and removed. Every method raises EngineAway when the folder cannot be used."""

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self.mode: Literal["embedded", "distributed"] = "distributed" if shared else "embedded"
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """Where the content is, or would be. Raises FileMissing for what is no hash."""
        if not _SHA256.fullmatch(sha256):
            raise FileMissing()
        return self._folder / sha256[:2] / sha256[2:4] / sha256

    async def put(self, data: bytes) -> Stored:
        """Store; content that is there already is kept as it is and counts as new for `sweep`."""
        writer = self.put_stream()
        await writer.write(data)
        return await writer.finish()

    def put_stream(self) -> FileWriter:
        """A writer for content that comes in chunks; it must be finished or abandoned."""
        return FileWriter(self, self._folder / "tmp" / uuid.uuid4().hex)

    async def read(self, sha256: str) -> bytes:
        """All of it. Raises FileMissing."""
        return await _in_thread(self.path(sha256).read_bytes)

    async def iterate(self, sha256: str, *, chunk_size: int = READ_BYTES) -> AsyncIterator[bytes]:
        """The content in chunks. Raises FileMissing before the first."""
        path = self.path(sha256)
        handle = await _in_thread(lambda: path.open("rb"))
        try:
            while chunk := await _in_thread(lambda: handle.read(chunk_size)):
                yield chunk
        finally:
            handle.close()

    async def size(self, sha256: str) -> int:
        """Its length in bytes. Raises FileMissing."""
        return (await _in_thread(self.path(sha256).stat)).st_size

    async def remove(self, sha256: str) -> None:
        """Remove it, if it is there."""
        path = self.path(sha256)
        await _in_thread(lambda: path.unlink(missing_ok=True))

    async def sweep(self, keep: Collection[str] | Callable[[str], bool], older_than: datetime) -> int:
        """Remove content that is not kept and was last put before `older_than`, and what broken uploads left; how many files went.

        A callable `keep` is called in a thread.
        """
        keeps = keep if callable(keep) else keep.__contains__
        return await _in_thread(lambda: _sweep(self._folder, keeps, older_than.timestamp()))

    async def ping(self) -> None:
        await _in_thread(lambda: (self._folder / "tmp").mkdir(parents=True, exist_ok=True))

    async def close(self) -> None:
        """Nothing is open."""


class FileWriter:
    """Takes content in chunks; nothing of it is to be seen before `finish`."""

    def __init__(self, files: FilesDoor, beside: Path) -> None:
        self._files = files
        self._beside = beside
        self._hash = hashlib.sha256()
        self._size = 0
        self._buffer = bytearray()
        self._done = False

    async def write(self, chunk: bytes) -> None:
        if self._done:
            raise ValueError("this file is finished or abandoned")
        if len(self._buffer) + len(chunk) < WRITE_BYTES:
            self._buffer += chunk
        else:
            await _in_thread(lambda: self._flush(chunk))

    async def finish(self) -> Stored:
        """Make the content durable and give it its name."""
        if self._done:
            raise ValueError("this file is finished or abandoned")
        self._done = True
        return await _in_thread(self._finish)

    async def abandon(self) -> None:
        """Forget what was written; nothing after `finish`."""
        if not self._done:
            self._done = True
            await _in_thread(lambda: self._beside.unlink(missing_ok=True))

    def _flush(self, more: bytes = b"") -> None:
        buffer, self._buffer = self._buffer, bytearray()
        self._beside.parent.mkdir(parents=True, exist_ok=True)
        with self._beside.open("ab") as handle:
            for data in (buffer, more):
                handle.write(data)
                self._hash.update(data)
                self._size += len(data)

    def _finish(self) -> Stored:
        try:
            self._flush()
            stored = Stored(self._hash.hexdigest(), self._size)
            path = self._files.path(stored.sha256)
            try:
                if path.stat().st_size == stored.size:
                    os.utime(path)  # new again, and still there
                    return stored
            except FileNotFoundError:
                pass  # the usual case
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._beside.open("rb") as handle:
                os.fsync(handle.fileno())
            self._beside.replace(path)
            _sync_folder(path.parent)
            return stored
        finally:
            self._beside.unlink(missing_ok=True)


def open_files(settings: Settings) -> FilesDoor:
    """The folder that the settings name; one that is named apart from DATA_DIR is shared between instances."""
    return FilesDoor(settings.files, shared=bool(settings.files_dir))


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except FileNotFoundError as error:
        raise FileMissing() from error
    except OSError as error:
        raise EngineAway("files", str(error)) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path, keeps: Callable[[str], bool], older_than: float) -> int:
    swept = 0
    for path in folder.glob("tmp/*"):
        swept += _remove_old(path, path, older_than)
    for path in folder.glob("??/??/*"):
        if _SHA256.fullmatch(path.name) and not keeps(path.name):
            swept += _remove_old(path, folder / "tmp" / f"{path.name}-{uuid.uuid4().hex}", older_than)
    return swept


def _remove_old(path: Path, aside: Path, older_than: float) -> bool:
    """Remove a file unless it was touched lately. One that is put again meanwhile must survive: it is moved aside and looked at again."""
    try:
        if path.stat().st_mtime >= older_than:
            return False
        aside.parent.mkdir(parents=True, exist_ok=True)
        path.rename(aside)
        if aside.stat().st_mtime >= older_than:
            aside.rename(path)
            return False
        aside.unlink()
    except FileNotFoundError:
        return False  # somebody else removed it
    return True
