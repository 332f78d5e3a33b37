"""The vectors door when engines come and go: restarts, crashes, frozen processes, two servers on one DATA_DIR."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from server.config import Settings
from server.engines.milvus_lite import LiteChild
from server.engines.vectors import Row, VectorsDoor, Where, open_vectors
from server.engines.vectors_milvus import MilvusVectors
from server.errors import EngineAway
from tests.contract.test_vectors_door import ALL, DIM, numbers, row, vector
from tests.contract.waiting import until
from tests.peers.milvus import running_milvus
from tests.peers.process import free_port, spawn

ROOT = Path(__file__).resolve().parents[2]


def pid_of(data: Path) -> int:
    return int((data / "run" / "milvus.users").read_text())


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def door(tmp_path: Path, on_loop: Any) -> Iterator[VectorsDoor]:
    """A door with a child and a collection `c` of one row."""
    door = open_vectors(Settings(data_dir=str(tmp_path)))

    async def filled() -> None:
        await door.prepare("c", DIM)
        await door.put("c", [row(1, "内核")])

    on_loop(filled)
    yield door
    on_loop(door.close)


@pytest.mark.gen_test(timeout=60)
async def test_rows_outlast_a_restart(door: VectorsDoor, tmp_path: Path) -> None:
    pid = pid_of(tmp_path)
    await door.close()
    assert not lives(pid)
    with pytest.raises(EngineAway):
        await door.count("c")
    again = open_vectors(Settings(data_dir=str(tmp_path)))
    await again.warm()
    assert numbers(await again.keyword("c", "内核", ALL, 10)) == [1]
    assert numbers(await again.dense("c", vector(1), ALL, 10)) == [1]
    await again.put("c", [row(2, "内核")])
    assert await again.count("c") == 2
    pid = pid_of(tmp_path)
    await again.close()
    assert not lives(pid)


@pytest.mark.gen_test(timeout=90)
async def test_nothing_that_was_put_is_lost_with_a_crash(door: VectorsDoor, tmp_path: Path) -> None:
    first = pid_of(tmp_path)
    done: set[int] = set()

    async def put(numbers: range) -> None:
        for number in numbers:
            await door.put("c", [row(number, "磁盘")])
            done.add(number)

    work = [asyncio.create_task(put(range(100 * start, 100 * start + 15))) for start in (1, 2)]
    await until(lambda: len(done) > 5)
    os.kill(first, signal.SIGKILL)
    await asyncio.gather(*work)
    assert pid_of(tmp_path) != first
    assert set(numbers(await door.keyword("c", "磁盘", ALL, 100))) == done
    assert len(done) == 30
    assert await door.count("c") == 31


@pytest.mark.gen_test(timeout=90)
async def test_a_frozen_child_is_away_until_it_thaws(tmp_path: Path) -> None:
    door = MilvusVectors(child=LiteChild(tmp_path), search_timeout_s=1, write_timeout_s=20)
    await door.prepare("c", DIM)
    await door.put("c", [row(1, "内核")])
    pid = pid_of(tmp_path)
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        failed = await asyncio.gather(*(door.dense("c", vector(1), ALL, 1) for _ in range(10)), return_exceptions=True)
        assert all(isinstance(one, EngineAway) for one in failed), failed
        assert time.monotonic() - started < 20
    finally:
        os.kill(pid, signal.SIGCONT)
    assert numbers(await door.dense("c", vector(1), ALL, 1)) == [1]
    assert pid_of(tmp_path) == pid
    await door.close()


@pytest.mark.gen_test(timeout=90)
async def test_two_doors_share_one_child(door: VectorsDoor, tmp_path: Path) -> None:
    second = open_vectors(Settings(data_dir=str(tmp_path)))
    pid = pid_of(tmp_path)
    await asyncio.gather(*(one.put("c", [row(number, "磁盘")]) for number in range(10, 20) for one in (door, second)))
    assert await second.count("c") == 11
    assert pid_of(tmp_path) == pid
    await door.close()
    assert numbers(await second.keyword("c", "内核", ALL, 10)) == [1]
    assert pid_of(tmp_path) == pid
    os.kill(pid, signal.SIGKILL)  # the one that started it has gone; the one that is left starts another
    assert await second.count("c") == 11
    pid = pid_of(tmp_path)
    await second.close()
    assert not lives(pid)


@pytest.mark.gen_test(timeout=90)
async def test_of_two_that_start_at_once_one_has_the_folder(tmp_path: Path) -> None:
    doors = [open_vectors(Settings(data_dir=str(tmp_path))) for _ in range(2)]
    await asyncio.gather(*(one.prepare("c", DIM) for one in doors))
    await doors[0].put("c", [row(1, "内核")])
    assert await doors[1].count("c") == 1
    await asyncio.gather(*(one.close() for one in doors))
    await until(lambda: not lives(pid_of(tmp_path)))


@pytest.mark.gen_test(timeout=90)
async def test_the_child_ends_with_a_server_that_crashed(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\nfrom server.config import Settings\nfrom server.engines.vectors import open_vectors\n"
        "async def main():\n    await open_vectors(Settings(data_dir=sys.argv[1])).collections()\n    print('up', flush=True)\n"
        "    await asyncio.sleep(600)\nasyncio.run(main())\n"
    )
    server = spawn([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server.stdout as output:
        assert await asyncio.to_thread(output.readline) == b"up\n"
    pid = pid_of(tmp_path)
    server.kill()
    server.wait()
    # A server that starts at this very moment uses the orphan, or waits for its end.
    door = open_vectors(Settings(data_dir=str(tmp_path)))
    await door.collections()
    await door.close()
    await until(lambda: not lives(pid) and not lives(pid_of(tmp_path)))


@pytest.mark.gen_test(timeout=60)
async def test_the_child_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "not-for-children")
    door = open_vectors(Settings(data_dir=str(tmp_path)))
    await door.collections()
    pid = pid_of(tmp_path)
    assert (tmp_path / "run" / "milvus.sock").stat().st_mode & 0o077 == 0
    assert (tmp_path / "milvus").stat().st_mode & 0o007 in (0, 5)
    assert b"not-for-children" not in Path(f"/proc/{pid}/environ").read_bytes()
    sockets = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    listening = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    assert not [line for line in listening if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]
    await door.close()


@pytest.mark.gen_test(timeout=60)
async def test_a_data_dir_of_a_long_name(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 20) / ("name" * 20)
    door = open_vectors(Settings(data_dir=str(data)))
    await door.collections()
    pid = pid_of(data)
    await door.close()
    assert not lives(pid)


@pytest.mark.gen_test(timeout=60)
async def test_a_child_that_cannot_start_is_said_so_at_once(tmp_path: Path) -> None:
    (tmp_path / "milvus").write_text("in the way")
    door = open_vectors(Settings(data_dir=str(tmp_path)))
    await door.warm()
    for _ in range(3):
        with pytest.raises(EngineAway):
            await door.collections()
    (tmp_path / "milvus").unlink()

    async def answers() -> bool:
        with suppress(EngineAway):
            await door.collections()
            return True
        return False

    await until(answers)
    await door.close()


@pytest.mark.gen_test(timeout=60)
async def test_closing_while_the_child_starts(tmp_path: Path) -> None:
    door = open_vectors(Settings(data_dir=str(tmp_path)))
    waiting = asyncio.create_task(door.collections())
    await until((tmp_path / "logs" / "milvus.log").exists)
    await door.close()
    with suppress(EngineAway):
        await waiting
    await until(lambda: not (tmp_path / "run" / "milvus.sock").exists())


@pytest.mark.gen_test(timeout=60)
async def test_an_address_where_nobody_is(tmp_path: Path) -> None:
    door = open_vectors(Settings(data_dir=str(tmp_path), milvus_host="127.0.0.1", milvus_port=free_port()))
    with pytest.raises(EngineAway):
        await door.collections()
    await door.close()


@pytest.mark.gen_test(timeout=90)
async def test_a_server_that_goes_and_comes_back(tmp_path: Path) -> None:
    with running_milvus(tmp_path) as peer:
        door = MilvusVectors(f"http://127.0.0.1:{peer.port}", search_timeout_s=1, write_timeout_s=20)
        await door.prepare("c", DIM)
        await door.put("c", [row(1, "内核")])
        await asyncio.to_thread(peer.freeze)
        with pytest.raises(EngineAway):
            await door.keyword("c", "内核", ALL, 10)
        await asyncio.to_thread(peer.thaw)
        assert numbers(await door.keyword("c", "内核", ALL, 10)) == [1]
        await asyncio.to_thread(peer.stop)
        waiting = asyncio.create_task(door.keyword("c", "内核", ALL, 10))
        await asyncio.to_thread(peer.start)
        with suppress(EngineAway):  # it may have taken too long
            await waiting
        assert numbers(await door.keyword("c", "内核", ALL, 10)) == [1]
        await door.close()


@pytest.mark.gen_test(timeout=90)
async def test_the_child_finds_what_milvus_lite_finds(door: VectorsDoor, tmp_path: Path) -> None:
    """Our own search in the child against the engine's, which holds all rows in one place here: scores and order are the same."""
    drawn = random.Random(5)
    words = [f"词{'甲乙丙丁戊己庚辛'[number % 8]}w{number}" for number in range(60)]
    rows = [row(number, " ".join(drawn.choices(words, k=drawn.randrange(1, 30))), document=number % 7) for number in range(2, 120)]
    with running_milvus(tmp_path) as peer:
        plain = MilvusVectors(f"http://127.0.0.1:{peer.port}")
        await plain.prepare("c", DIM)
        await door.remove("c", document_id=1)
        for one in (door, plain):
            for start in range(0, len(rows), 30):
                await one.put("c", rows[start : start + 30])
        where = Where(documents=(1, 2, 3, 5))
        for question in ("w3 w7", "w1 w1 w59 词甲", "没有"):
            ours, theirs = await door.keyword("c", question, ALL, 200), await plain.keyword("c", question, ALL, 200)
            assert {hit.id: pytest.approx(hit.score, rel=1e-3) for hit in theirs} == {hit.id: hit.score for hit in ours}
            ours, theirs = await door.keyword("c", question, where, 200), await plain.keyword("c", question, where, 200)
            assert {hit.id for hit in theirs} == {hit.id for hit in ours}  # it weighs words within the condition here, we never do
        for seed in (1, 2, 3):
            ours, theirs = await door.dense("c", vector(seed), where, 40), await plain.dense("c", vector(seed), where, 40)
            assert [hit.id for hit in ours] == [hit.id for hit in theirs]
            assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in theirs], abs=1e-4)
        await plain.close()


@pytest.mark.gen_test(timeout=60)
async def test_a_zero_vector_and_many_small_files(door: VectorsDoor) -> None:
    for number in range(2, 14):
        await door.put("c", [Row(f"{number:032x}", 1, 1, "zh", "内核", bytes(4 * DIM) if number % 2 else vector(number))])
    hits = await door.dense("c", vector(4), ALL, 50)
    assert numbers(hits)[0] == 4
    assert len(hits) == 13
    assert len(await door.keyword("c", "内核", ALL, 50)) == 13
