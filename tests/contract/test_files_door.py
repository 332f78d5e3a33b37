"""The file door's contract."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server.config import Settings
from server.engines.files import FileMissing, FilesDoor, Stored, open_files
from server.errors import EngineAway

DATA = "内容".encode() * 300_000
SHA = hashlib.sha256(DATA).hexdigest()
NOW = datetime.now(UTC)


@pytest.fixture
def files(tmp_path: Path) -> FilesDoor:
    return open_files(Settings(data_dir=str(tmp_path)))


def all_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


def age(path: Path, **ago: float) -> None:
    at = (NOW - timedelta(**ago)).timestamp()
    os.utime(path, (at, at))


@pytest.mark.gen_test(timeout=60)
async def test_put_and_read(tmp_path: Path, files: FilesDoor) -> None:
    await files.ping()
    assert await files.put(DATA) == Stored(SHA, len(DATA))
    assert files.path(SHA) == tmp_path / "files" / SHA[:2] / SHA[2:4] / SHA
    assert await files.read(SHA) == DATA
    assert await files.size(SHA) == len(DATA)
    assert b"".join([chunk async for chunk in files.iterate(SHA, chunk_size=1000)]) == DATA
    empty = await files.put(b"")
    assert empty.size == 0
    assert await files.read(empty.sha256) == b""


@pytest.mark.gen_test(timeout=60)
async def test_the_same_content_is_stored_once(tmp_path: Path, files: FilesDoor) -> None:
    outcomes = await asyncio.gather(*(files.put(DATA) for _ in range(8)))
    assert set(outcomes) == {Stored(SHA, len(DATA))}
    before = files.path(SHA).stat().st_ino
    await files.put(DATA)
    assert files.path(SHA).stat().st_ino == before
    assert all_files(tmp_path) == [files.path(SHA)]
    # Content that a crash of the disk cut short is replaced.
    files.path(SHA).write_bytes(b"cut")
    await files.put(DATA)
    assert await files.read(SHA) == DATA


@pytest.mark.gen_test(timeout=60)
async def test_a_stream(tmp_path: Path, files: FilesDoor) -> None:
    writer = files.put_stream()
    for start in range(0, len(DATA), 100_000):
        await writer.write(DATA[start : start + 100_000])
    with pytest.raises(FileMissing):
        await files.read(SHA)
    assert await writer.finish() == Stored(SHA, len(DATA))
    await writer.abandon()
    assert await files.read(SHA) == DATA
    with pytest.raises(ValueError):
        await writer.write(b"more")
    with pytest.raises(ValueError):
        await writer.finish()


@pytest.mark.gen_test(timeout=60)
async def test_an_abandoned_stream_leaves_nothing(tmp_path: Path, files: FilesDoor) -> None:
    writer = files.put_stream()
    await writer.write(DATA)
    assert len(all_files(tmp_path)) == 1
    await writer.abandon()
    await writer.abandon()
    assert all_files(tmp_path) == []


@pytest.mark.gen_test(timeout=60)
async def test_what_is_missing_or_no_hash(files: FilesDoor) -> None:
    await files.put(DATA)
    for name in ("0" * 64, "", "../../etc/passwd", SHA.upper(), f"{SHA}/", f"{SHA}\n", SHA[:-1]):
        with pytest.raises(FileMissing):
            await files.read(name)
        with pytest.raises(FileMissing):
            await files.size(name)
        with pytest.raises(FileMissing):
            await anext(files.iterate(name))
    await files.remove(SHA)
    await files.remove(SHA)
    with pytest.raises(FileMissing):
        await files.read(SHA)
    with pytest.raises(FileMissing):
        await files.remove("../x")


@pytest.mark.gen_test(timeout=60)
async def test_sweep(tmp_path: Path, files: FilesDoor) -> None:
    kept, old, young, again = [(await files.put(text)).sha256 for text in (b"kept", b"old", b"young", b"again")]
    broken = files.put_stream()
    await broken.write(DATA)
    for path in all_files(tmp_path):
        age(path, days=2)
    age(files.path(young), hours=1)
    await files.put(b"again")
    stray = tmp_path / "files" / "readme.txt"
    stray.write_text("not ours")
    assert await files.sweep({kept}, NOW - timedelta(days=1)) == 2
    assert sorted(all_files(tmp_path)) == sorted([files.path(kept), files.path(young), files.path(again), stray])
    assert await files.sweep(lambda sha256: sha256 == kept, NOW + timedelta(days=1)) == 2
    assert await files.read(kept) == b"kept"
    with pytest.raises(FileMissing):
        await files.read(old)


@pytest.mark.gen_test(timeout=60)
async def test_content_that_is_put_while_it_is_swept_survives(files: FilesDoor) -> None:
    for n in range(30):
        sha256 = (await files.put(b"racy")).sha256
        age(files.path(sha256), days=2)
        await asyncio.gather(files.sweep(set(), NOW - timedelta(days=1)), *(files.put(b"racy") for _ in range(n % 4 + 1)))
        assert await files.read(sha256) == b"racy"


@pytest.mark.gen_test(timeout=60)
async def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("in the way")
    files = open_files(Settings(data_dir=str(tmp_path), files_dir=str(tmp_path / "shared")))
    assert files.mode == "distributed"
    for ask in (files.ping, lambda: files.put(DATA)):
        with pytest.raises(EngineAway):
            await ask()
    (tmp_path / "shared").unlink()
    await files.put(DATA)
