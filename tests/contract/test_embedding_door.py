"""The embedding door's contract: the bundled model in worker processes, and an endpoint."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from jobs.cpu import e5_identity
from server.config import Settings
from server.engines.compute import LocalCompute
from server.engines.embedding import (
    EmbeddingDoor,
    EmbeddingMisfit,
    EmbeddingModel,
    Passage,
    open_embedding,
)
from server.engines.embedding_batches import batches, side_by_side
from server.engines.embedding_http import TEXTS_A_BATCH, HttpEmbedding, endpoint
from server.engines.embedding_local import PASSAGES_A_BATCH
from server.errors import EngineAway
from tests.contract import cpu_work
from tests.contract.embedding_sides import (
    SECRET,
    Pauses,
    built,
    compute,
    cosine,
    endpoint_peer,
    local,
    numbered,
    numbers,
    pauses,
    remote,
    remote_door,
)
from tests.contract.waiting import until
from tests.peers.embedding_server import (
    DIM,
    EmbeddingPeer,
    running_embeddings,
)

__all__ = ["built", "compute", "endpoint_peer", "local", "pauses", "remote"]

TEXTS = [
    Passage("每天凌晨三点备份数据库，备份保留三十天。", "备份", "zh"),
    Passage("The database is backed up at three every night and kept for thirty days.", "Backups", "en"),
    Passage("学生在第三学期选择导师。", "", "zh"),
    Passage("", "", ""),
]


@pytest.fixture(params=["local", "remote"])
def door(request: pytest.FixtureRequest) -> EmbeddingDoor:
    found: EmbeddingDoor = request.getfixturevalue(request.param)
    return found


# What both sides promise.


@pytest.mark.gen_test(timeout=120)
async def test_vectors_of_unit_length_in_order(door: EmbeddingDoor) -> None:
    model = await door.model()
    assert model.name
    vectors = await door.passages(TEXTS)
    assert [len(vector) for vector in vectors] == [4 * model.dim] * len(TEXTS)
    for vector in vectors:
        assert math.hypot(*numbers(vector)) == pytest.approx(1, abs=1e-5)
    assert await door.passages(TEXTS[::-1]) == vectors[::-1]
    assert await door.passages([]) == []


@pytest.mark.gen_test(timeout=120)
async def test_a_query_finds_its_passage(door: EmbeddingDoor) -> None:
    vectors = await door.passages(TEXTS)
    for text, language, wanted in (("备份保留三十天吗", "zh", 0), ("backed up every night?", "en", 1), ("选择导师", "zh", 2)):
        query = await door.query(text, language)
        scores = [cosine(query, vector) for vector in vectors]
        assert scores.index(max(scores)) == wanted, text
        assert await door.query(text, language) == query


@pytest.mark.gen_test(timeout=120)
async def test_many_passages_are_the_same_as_one_by_one(door: EmbeddingDoor) -> None:
    passages = numbered(2 * TEXTS_A_BATCH + 1 if door.mode == "distributed" else 2 * PASSAGES_A_BATCH + 1)
    vectors = await door.passages(passages)
    assert len(set(vectors)) == len(passages)
    for number in (0, 17, len(passages) - 1):
        assert await door.passages([passages[number]]) == [vectors[number]]


@pytest.mark.gen_test(timeout=120)
async def test_the_heading_counts(door: EmbeddingDoor) -> None:
    bare, under, again = await door.passages(
        [Passage("三点开始。", "", "zh"), Passage("三点开始。", "数据库备份", "zh"), Passage("三点开始。", "数据库备份", "zh")]
    )
    query = await door.query("数据库备份", "zh")
    assert cosine(query, under) > cosine(query, bare)
    assert under == again


@pytest.mark.gen_test(timeout=120)
async def test_the_door_for_its_own_model_is_itself(door: EmbeddingDoor) -> None:
    assert door.other(await door.model()) is door


@pytest.mark.gen_test(timeout=120)
async def test_warm_ping_and_close(door: EmbeddingDoor) -> None:
    await door.warm()
    await door.ping()
    await door.close()
    await door.close()
    with pytest.raises(EngineAway):
        await door.query("x", "en")
    with pytest.raises(EngineAway):
        await door.ping()


def test_batches_are_bounded_both_ways() -> None:
    assert batches("abcdefg", most=3, most_chars=99, chars=len) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert batches(["aa", "aa", "a", "aaaaaaa", "a"], most=9, most_chars=4, chars=len) == [["aa", "aa"], ["a"], ["aaaaaaa"], ["a"]]
    assert batches([], most=3, most_chars=99, chars=len) == []


@pytest.mark.gen_test
async def test_one_batch_that_fails_ends_the_others() -> None:
    begun, ended = [], []

    async def work(number: int) -> list[int]:
        begun.append(number)
        try:
            await asyncio.sleep(0)
            if number == 1:
                raise EngineAway("embedding", "gone")
            await asyncio.Event().wait()
        finally:
            ended.append(number)
        return [number]

    with pytest.raises(EngineAway, match="embedding"):
        await side_by_side(work, [0, 1, 2, 3], 2)
    assert begun == [0, 1]
    assert sorted(ended) == [0, 1]


# The bundled model.


@pytest.mark.gen_test(timeout=120)
async def test_the_bundled_model_has_a_name_without_asking(local: EmbeddingDoor) -> None:
    assert local.mode == "embedded"
    assert await local.model() == EmbeddingModel(e5_identity.model_name(), 384, "")


@pytest.mark.gen_test(timeout=120)
async def test_a_query_does_not_wait_behind_documents(tmp_path: Path, local: EmbeddingDoor, compute: LocalCompute) -> None:
    busy = [asyncio.create_task(compute.run(cpu_work.spin_with_mark, str(tmp_path / str(n)), time_limit_s=300)) for n in range(2)]
    passages = asyncio.create_task(local.passages(numbered(100)))
    await until(lambda: compute.state().waiting > 0)
    assert len(await local.query("备份", "zh")) == 4 * 384
    assert compute.state().waiting > 0
    for task in (*busy, passages):
        task.cancel()
    await asyncio.gather(*busy, passages, return_exceptions=True)
    assert compute.state().waiting == 0


@pytest.mark.gen_test(timeout=120)
async def test_two_documents_take_turns(local: EmbeddingDoor, compute: LocalCompute) -> None:
    """A long document has as many batches in the line as there are slots, so that another's comes next."""
    most = 0
    long = asyncio.create_task(local.passages(numbered(10 * PASSAGES_A_BATCH)))
    while not long.done():
        most = max(most, compute.state().busy + compute.state().waiting)
        await asyncio.sleep(0.005)
    assert len(await long) == 10 * PASSAGES_A_BATCH
    assert most == 2


@pytest.mark.gen_test(timeout=120)
async def test_workers_that_begin_together_share_one_build(tmp_path: Path, compute: LocalCompute) -> None:
    door = open_embedding(Settings(data_dir=str(tmp_path), compute_memory_mb=2048), compute)
    try:
        vectors, query = await asyncio.gather(door.passages(numbered(2 * PASSAGES_A_BATCH)), door.query("x", "en"))
        assert len(vectors) == 2 * PASSAGES_A_BATCH
        assert query
        assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["build.lock", e5_identity.built_name()]
    finally:
        await door.close()


@pytest.mark.gen_test(timeout=120)
async def test_other_languages_have_other_means(local: EmbeddingDoor) -> None:
    zh, en, none = [await local.query("Debian 12", language) for language in ("zh", "en", "")]
    assert en == none
    assert 0.5 < cosine(zh, en) < 0.999


@pytest.mark.gen_test
async def test_a_model_of_another_release_is_no_more(local: EmbeddingDoor) -> None:
    with pytest.raises(EmbeddingMisfit, match="e5-small-int8-0000000000"):
        local.other(EmbeddingModel("e5-small-int8-0000000000", 384))


# From one side to the other.


@pytest.mark.gen_test(timeout=120)
async def test_an_index_of_an_endpoint_can_be_searched_after_the_settings_name_the_bundled_model(
    local: EmbeddingDoor, endpoint_peer: EmbeddingPeer
) -> None:
    model = EmbeddingModel("bigrams", DIM, endpoint(endpoint_peer.url))
    other = local.other(model)
    assert local.other(model) is other
    assert len(await other.query("x", "en")) == 4 * DIM
    assert endpoint_peer.requests[-1]["model"] == "bigrams"
    await local.close()
    with pytest.raises(EngineAway):
        await other.query("y", "en")


@pytest.mark.gen_test(timeout=120)
async def test_an_index_of_the_bundled_model_can_be_searched_after_the_settings_name_an_endpoint(
    built: Path, compute: LocalCompute, endpoint_peer: EmbeddingPeer, pauses: Pauses
) -> None:
    door = remote_door(endpoint_peer.url, built, compute, pauses)
    try:
        other = door.other(EmbeddingModel(e5_identity.model_name(), 384))
        assert len(await other.query("备份", "zh")) == 4 * 384
        assert endpoint_peer.requests == []
    finally:
        await door.close()
    with pytest.raises(EngineAway):
        await other.query("导师", "zh")


@pytest.mark.gen_test
async def test_the_key_goes_only_where_the_settings_send_it(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer) -> None:
    async with running_embeddings() as former:
        await remote.query("x", "en")
        await remote.other(EmbeddingModel("bigrams", DIM, endpoint(former.url))).query("x", "en")
        assert set(endpoint_peer.bearers) == {SECRET}
        assert set(former.bearers) == {""}
        await remote.other(EmbeddingModel("another", DIM, endpoint(endpoint_peer.url))).query("x", "en")
        assert set(endpoint_peer.bearers) == {SECRET}
        await remote.close()
