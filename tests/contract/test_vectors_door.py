"""The vectors door's contract, on Milvus Lite as our child and on Milvus at an address."""

from __future__ import annotations

import asyncio
import os
import random
import struct
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from server.config import Settings
from server.engines.vectors import CollectionNotFound, Hit, Row, VectorsDoor, VectorsMismatch, Where, open_vectors
from tests.peers.milvus import running_milvus

DIM = 8
ALL = Where()
# A real Milvus takes part where one is named.
SIDES = ["child", "address", *(["milvus"] if os.environ.get("MILVUS_HOST") else [])]
TEXTS = [
    "系统的网络配置写在 /etc/fstab 里",
    "使用 apt-get 安装软件包",
    "漏洞 CVE-2024-1234 已经修复",
    "The Kernel boots from the disk",
    "",
    "表情 😀 与 '引号' \"double\" \\ 反斜杠\n换行\t\0",
    "内核 " * 20_000,
    "半个代理 \ud83d 字符",
]


@pytest.fixture(scope="module", params=SIDES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorsDoor]:
    """A door for all tests of a side; each has a collection of its own."""
    data = tmp_path_factory.mktemp("vectors")
    if request.param == "address":
        with running_milvus(data) as peer:
            door = open_vectors(Settings(data_dir=str(data), milvus_host="127.0.0.1", milvus_port=peer.port))
            yield door
            asyncio.run(door.close())
        return
    host = os.environ["MILVUS_HOST"] if request.param == "milvus" else ""
    door = open_vectors(Settings(data_dir=str(data), milvus_host=host, milvus_port=int(os.environ.get("MILVUS_PORT", "19530"))))
    yield door
    asyncio.run(door.close())


@pytest.fixture
def vectors(opened: VectorsDoor) -> VectorsDoor:
    return opened


@pytest.fixture
def collection(vectors: VectorsDoor, on_loop: Any) -> Iterator[str]:
    """An empty collection."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    on_loop(lambda: vectors.prepare(name, DIM))
    yield name
    on_loop(lambda: vectors.drop(name))


def vector(seed: int, dim: int = DIM) -> bytes:
    drawn = random.Random(seed)
    return struct.pack(f"<{dim}f", *(drawn.gauss(0, 1) for _ in range(dim)))


def row(number: int, text: str = "", *, document: int = 1, organization: int = 1, language: str = "zh") -> Row:
    return Row(f"{number:032x}", document, organization, language, text, vector(number))


def numbers(hits: Sequence[Hit]) -> list[int]:
    return [int(hit.id, 16) for hit in hits]


@pytest.mark.gen_test(timeout=60)
async def test_the_nearest_come_first(vectors: VectorsDoor, collection: str) -> None:
    await vectors.put(collection, [row(number) for number in range(20)])
    hits = await vectors.dense(collection, vector(7), ALL, 5)
    assert len(hits) == 5
    assert numbers(hits)[0] == 7
    assert hits[0].score == pytest.approx(1, abs=1e-4)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.gen_test(timeout=60)
async def test_words_are_found(vectors: VectorsDoor, collection: str) -> None:
    await vectors.put(collection, [row(number, text) for number, text in enumerate(TEXTS)])
    for question, wanted in {
        "网络": 0,
        "/etc/fstab": 0,
        "apt-get": 1,
        "APT-GET": 1,
        "怎么安装软件包？": 1,
        "CVE-2024-1234": 2,
        "cve-2024-1234": 2,
        "kernel": 3,
        "引号": 5,
        "😀": 5,
        "内核": 6,
        "代理": 7,
    }.items():
        hits = await vectors.keyword(collection, question, ALL, 10)
        assert numbers(hits)[:1] == [wanted], question
        assert hits[0].score > 0
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.gen_test(timeout=60)
async def test_odd_questions_find_nothing(vectors: VectorsDoor, collection: str) -> None:
    await vectors.put(collection, [row(number, text) for number, text in enumerate(TEXTS[:4])])
    for question in ("", "  \n", "。，！", "的", "\ud83d", "\"' or 1 == 1", "无此词语"):
        assert await vectors.keyword(collection, question, ALL, 10) == []
    assert numbers(await vectors.keyword(collection, "网络 " * 5_000, ALL, 10)) == [0]


@pytest.mark.gen_test(timeout=60)
async def test_more_matches_of_rarer_words_are_better(vectors: VectorsDoor, collection: str) -> None:
    await vectors.put(
        collection, [row(number, f"系统 第{number}章") for number in range(10)] + [row(10, "系统 内核"), row(11, "系统 内核 模块")]
    )
    assert numbers(await vectors.keyword(collection, "系统的内核模块", ALL, 3))[:2] == [11, 10]


@pytest.mark.gen_test(timeout=60)
async def test_a_row_is_replaced_by_its_id(vectors: VectorsDoor, collection: str) -> None:
    await vectors.put(collection, [row(1, "内核"), row(2, "磁盘")])
    await vectors.put(collection, [Row(f"{1:032x}", 9, 8, "en", "网络", vector(99)), Row(f"{1:032x}", 9, 8, "en", "启动", vector(98))])
    assert await vectors.count(collection) == 2
    assert await vectors.keyword(collection, "内核 网络", ALL, 10) == []
    assert numbers(await vectors.keyword(collection, "启动", Where(organizations=frozenset({8})), 10)) == [1]
    assert await vectors.keyword(collection, "启动", Where(organizations=frozenset({1})), 10) == []
    hits = await vectors.dense(collection, vector(98), Where(documents=(9,), language="en"), 10)
    assert numbers(hits) == [1]
    assert hits[0].score == pytest.approx(1, abs=1e-4)


@pytest.mark.gen_test(timeout=60)
async def test_what_is_removed_is_gone(vectors: VectorsDoor, collection: str) -> None:
    await vectors.put(collection, [row(number, "内核", document=number // 4) for number in range(12)])
    await vectors.remove(collection, ids=[f"{0:032x}", f"{1:032x}", "abcdef"])
    await vectors.remove(collection, document_id=1)
    await vectors.remove(collection, document_id=77)
    await vectors.remove(collection)
    left = {2, 3, 8, 9, 10, 11}
    assert set(numbers(await vectors.keyword(collection, "内核", ALL, 100))) == left
    assert set(numbers(await vectors.dense(collection, vector(0), ALL, 100))) == left
    assert await vectors.count(collection) == 6
    assert await vectors.ids(collection, 0) == {f"{2:032x}", f"{3:032x}"}
    assert await vectors.ids(collection, 1) == set()
    assert await vectors.document_ids(collection) == {0, 2}
    await vectors.put(collection, [row(1, "内核", document=5)])
    assert numbers(await vectors.keyword(collection, "内核", Where(documents=(5,)), 100)) == [1]


@pytest.mark.gen_test(timeout=60)
async def test_every_put_is_found_at_once(vectors: VectorsDoor, collection: str) -> None:
    for number in range(15):
        await vectors.put(collection, [row(number, f"第 w{number}x 内核")])
        assert numbers(await vectors.keyword(collection, f"w{number}x", ALL, 3)) == [number]
        assert numbers(await vectors.dense(collection, vector(number), ALL, 100))[0] == number
        assert await vectors.count(collection) == number + 1
    await asyncio.gather(*(vectors.put(collection, [row(100 + number, "磁盘")]) for number in range(12)))
    assert len(await vectors.keyword(collection, "磁盘", ALL, 100)) == 12


@pytest.mark.gen_test(timeout=60)
async def test_conditions_hold(vectors: VectorsDoor, collection: str) -> None:
    rows = [
        row(number, "内核", document=number % 5, organization=number % 3, language=("zh", "en", "")[number % 3 if number < 30 else 0])
        for number in range(60)
    ]
    await vectors.put(collection, rows)
    for where in (
        ALL,
        Where(organizations=frozenset({0})),
        Where(organizations=frozenset({1, 2, 1000, -5})),
        Where(documents=(3,)),
        Where(documents=(4, 0, 4, 2**62)),
        Where(language="en"),
        Where(language=""),
        Where(organizations=frozenset({1}), documents=(1, 2), language="zh"),
        Where(organizations=frozenset({99})),
    ):
        allowed = {
            one.id
            for one in rows
            if (where.organizations is None or one.organization_id in where.organizations)
            and (where.documents is None or one.document_id in where.documents)
            and (where.language is None or one.language == where.language)
        }
        assert {hit.id for hit in await vectors.dense(collection, vector(1), where, 100)} == allowed, where
        assert {hit.id for hit in await vectors.keyword(collection, "内核", where, 100)} == allowed, where


@pytest.mark.gen_test(timeout=60)
async def test_an_empty_condition_matches_nothing_without_asking(vectors: VectorsDoor) -> None:
    for where in (Where(organizations=frozenset()), Where(documents=()), Where(documents=(), language="zh")):
        assert await vectors.dense("no_such_collection", vector(1), where, 10) == []
        assert await vectors.keyword("no_such_collection", "内核", where, 10) == []


@pytest.mark.gen_test(timeout=60)
async def test_what_cannot_be_is_refused(vectors: VectorsDoor, collection: str) -> None:
    await vectors.put(collection, [row(1, "内核")])
    for where in (Where(language='zh" or id >= "'), Where(documents=("1] or document in [2",)), Where(organizations=frozenset({2**64}))):  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            await vectors.keyword(collection, "内核", where, 10)
        with pytest.raises(ValueError):
            await vectors.dense(collection, vector(1), where, 10)
    for bad in ('x" or id > "', "", "A" * 32, "a" * 33):
        with pytest.raises(ValueError):
            await vectors.remove(collection, ids=[bad])
        with pytest.raises(ValueError):
            await vectors.vectors(collection, [bad])
        with pytest.raises(ValueError):
            await vectors.put(collection, [Row(bad, 1, 1, "zh", "", vector(1))])
    with pytest.raises(ValueError):
        await vectors.put(collection, [Row("aa", 1, 1, "zh", "", vector(1, DIM + 1))])
    with pytest.raises(ValueError):
        await vectors.dense(collection, vector(1), ALL, 0)
    with pytest.raises(ValueError):
        await vectors.prepare("a b", DIM)
    assert await vectors.count(collection) == 1


@pytest.mark.gen_test(timeout=60)
async def test_vectors_come_back_as_they_were(vectors: VectorsDoor, collection: str) -> None:
    await vectors.put(collection, [row(number) for number in range(5)])
    found = await vectors.vectors(collection, [f"{3:032x}", f"{1:032x}", f"{3:032x}", f"{77:032x}"])
    assert found == {f"{3:032x}": vector(3), f"{1:032x}": vector(1)}
    assert await vectors.vectors(collection, []) == {}


@pytest.mark.gen_test(timeout=60)
async def test_a_collection_keeps_its_dimension(vectors: VectorsDoor, collection: str) -> None:
    await asyncio.gather(*(vectors.prepare(collection, DIM) for _ in range(4)))
    await vectors.put(collection, [row(1, "内核")])
    with pytest.raises(VectorsMismatch):
        await vectors.prepare(collection, DIM + 1)
    assert await vectors.count(collection) == 1


@pytest.mark.gen_test(timeout=60)
async def test_several_prepare_a_new_one_at_once(vectors: VectorsDoor) -> None:
    name = f"test_{uuid.uuid4().hex[:12]}"
    await asyncio.gather(*(vectors.prepare(name, DIM) for _ in range(3)))
    await vectors.put(name, [row(1, "内核")])
    assert numbers(await vectors.dense(name, vector(1), ALL, 3)) == [1]
    await vectors.drop(name)


@pytest.mark.gen_test(timeout=60)
async def test_collections_stand_side_by_side(vectors: VectorsDoor, collection: str) -> None:
    other = f"{collection}_b"
    await vectors.prepare(other, 2 * DIM)
    await vectors.put(collection, [row(1, "内核")])
    await vectors.put(other, [Row("aa", 1, 1, "zh", "磁盘", vector(1, 2 * DIM))])
    assert {collection, other} <= set(await vectors.collections())
    assert numbers(await vectors.dense(other, vector(1, 2 * DIM), ALL, 10)) == [0xAA]
    assert await vectors.keyword(other, "内核", ALL, 10) == []
    await vectors.drop(other)
    await vectors.drop(other)
    assert other not in await vectors.collections()
    with pytest.raises(CollectionNotFound):
        await vectors.dense(other, vector(1, 2 * DIM), ALL, 10)
    assert numbers(await vectors.keyword(collection, "内核", ALL, 10)) == [1]


@pytest.mark.gen_test(timeout=60)
async def test_a_filter_of_ten_thousand_documents(vectors: VectorsDoor, collection: str) -> None:
    await vectors.put(collection, [row(number, "内核", document=3 * number) for number in range(50)])
    where = Where(documents=tuple(range(0, 20_000, 2)))
    wanted = {number for number in range(50) if number % 2 == 0}
    assert set(numbers(await vectors.dense(collection, vector(1), where, 100))) == wanted
    assert set(numbers(await vectors.keyword(collection, "内核", where, 100))) == wanted


@pytest.mark.gen_test(timeout=60)
async def test_a_ping_is_answered(vectors: VectorsDoor, tmp_path: Path) -> None:
    await vectors.ping()
    assert vectors.mode in ("embedded", "distributed")
