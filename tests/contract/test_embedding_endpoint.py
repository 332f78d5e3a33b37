"""The embedding door at an endpoint, which does not always behave."""

from __future__ import annotations

import asyncio
import logging
import math
from pathlib import Path
from typing import Any

import pytest

from server.config import Settings, SettingsError
from server.engines.compute import LocalCompute
from server.engines.embedding import (
    EmbeddingMisfit,
    EmbeddingModel,
    EmbeddingRefused,
    Passage,
    open_embedding,
)
from server.engines.embedding_http import AT_ONCE, FOR_PASSAGES, FOR_QUERIES, TEXTS_A_BATCH, HttpEmbedding, Patience, endpoint
from server.errors import EngineAway
from tests.contract.embedding_sides import (
    SECRET,
    Pauses,
    compute,
    endpoint_peer,
    numbered,
    numbers,
    opened_with,
    pauses,
    remote,
    remote_door,
)
from tests.contract.waiting import until
from tests.peers.embedding_server import (
    DIM,
    EmbeddingPeer,
    as_base64,
    bigram_vector,
    changed,
    cut,
    fine,
    held,
    refused,
    running_embeddings,
    said,
)
from tests.peers.process import free_port

__all__ = ["compute", "endpoint_peer", "pauses", "remote"]


@pytest.mark.parametrize("url", ["ftp://example.org/v1", "example.org/v1", "https://", "http://host:99999/v1", "https://user:hush@host/v1"])
def test_an_address_that_is_none_is_told_at_start(tmp_path: Path, compute: LocalCompute, url: str) -> None:
    with pytest.raises(SettingsError, match="EMBEDDING_URL") as told:
        open_embedding(Settings(data_dir=str(tmp_path), embedding_url=url), compute)
    assert "hush" not in str(told.value)


def test_where_requests_go() -> None:
    assert endpoint("https://host/api/v3") == "https://host/api/v3/embeddings"
    assert endpoint("https://host/api/v3/") == "https://host/api/v3/embeddings"
    assert endpoint("https://host/v1/embeddings") == "https://host/v1/embeddings"
    assert endpoint("https://host/v1?api-version=2") == "https://host/v1/embeddings?api-version=2"


@pytest.mark.gen_test
async def test_what_is_asked(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer) -> None:
    assert await remote.model() == EmbeddingModel("bigrams", DIM, f"{endpoint_peer.url}/embeddings")
    assert await remote.model() == await remote.model()
    assert len(endpoint_peer.requests) == 1
    (vector,) = await remote.passages([Passage("body", "Heading", "en")])
    assert endpoint_peer.requests[1] == {"model": "bigrams", "input": ["Heading\nbody"], "encoding_format": "float"}
    assert numbers(vector) == pytest.approx(bigram_vector("Heading\nbody"), abs=1e-6)
    await remote.query("body", "en")
    await remote.query("body", "zh")
    assert endpoint_peer.texts[2:] == ["body"]
    assert set(endpoint_peer.bearers) == {SECRET}


@pytest.mark.gen_test(timeout=120)
async def test_few_requests_at_once(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer) -> None:
    await remote.model()
    gate = asyncio.Event()
    endpoint_peer.mischief.extend([held(gate)] * 2 * AT_ONCE)
    documents = [asyncio.create_task(remote.passages(numbered(3 * TEXTS_A_BATCH))) for _ in range(AT_ONCE)]
    await until(lambda: endpoint_peer.open_requests == AT_ONCE)
    endpoint_peer.mischief.clear()
    await remote.query("x", "en")  # has a place of its own
    assert endpoint_peer.open_requests == AT_ONCE
    gate.set()
    assert [len(vectors) for vectors in await asyncio.gather(*documents)] == [3 * TEXTS_A_BATCH] * AT_ONCE
    assert endpoint_peer.most_at_once == AT_ONCE + 1
    assert max(len(request["input"]) for request in endpoint_peer.requests) == TEXTS_A_BATCH


@pytest.mark.parametrize("trouble", [refused(429), refused(500), refused(502), refused(503), refused(504), refused(408), cut])
@pytest.mark.gen_test
async def test_what_passes_is_tried_again(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer, pauses: Pauses, trouble: Any) -> None:
    endpoint_peer.mischief.extend([fine, trouble, trouble])
    (vector,) = await remote.passages([Passage("x", "", "en")])
    assert numbers(vector) == pytest.approx(bigram_vector("x"), abs=1e-6)
    first, second = pauses.seconds
    assert 0.5 <= first <= 1 <= second <= 2


@pytest.mark.gen_test
async def test_the_endpoint_says_how_long_to_wait(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer, pauses: Pauses) -> None:
    later = [refused(429, Retry_After="7"), refused(503, Retry_After="86400"), refused(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")]
    endpoint_peer.mischief.extend([fine, *later])
    await remote.passages([Passage("x", "", "en")])
    assert pauses.seconds[:2] == [7, FOR_PASSAGES.longest_wait_s]
    assert 2 <= pauses.seconds[2] <= 4


@pytest.mark.gen_test
async def test_in_the_end_it_is_away(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer, pauses: Pauses) -> None:
    endpoint_peer.mischief.extend([fine, *[refused(503, f"overloaded {SECRET}")] * 9])
    with pytest.raises(EngineAway) as away:
        await remote.passages([Passage("x", "", "en")])
    assert away.value.cause == "HTTP 503"
    assert len(pauses.seconds) == FOR_PASSAGES.attempts - 1
    before = len(endpoint_peer.requests)
    with pytest.raises(EngineAway):
        await remote.query("x", "en")
    assert len(endpoint_peer.requests) - before == FOR_QUERIES.attempts
    endpoint_peer.mischief.clear()
    assert await remote.query("x", "en")


@pytest.mark.gen_test
async def test_those_who_ask_together_ask_once(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer) -> None:
    gate = asyncio.Event()
    endpoint_peer.mischief.extend([held(gate), refused(404), fine])
    impatient = asyncio.create_task(remote.model())
    await until(lambda: endpoint_peer.open_requests == 1)
    others = [asyncio.create_task(remote.model()) for _ in range(5)]
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    gate.set()
    assert {model.dim for model in await asyncio.gather(*others)} == {DIM}
    assert len(endpoint_peer.requests) == 1


@pytest.mark.gen_test
async def test_a_model_that_could_not_be_asked_is_asked_again(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer) -> None:
    endpoint_peer.mischief.extend([refused(404), fine])
    failed = await asyncio.gather(*(remote.model() for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in failed] == [EmbeddingRefused] * 3
    assert (await remote.model()).dim == DIM
    assert len(endpoint_peer.requests) == 2


@pytest.mark.gen_test
async def test_nobody_listens(tmp_path: Path, compute: LocalCompute, pauses: Pauses) -> None:
    door = remote_door(f"http://127.0.0.1:{free_port()}/v1", tmp_path, compute, pauses)
    for asked in (door.model, door.warm, door.ping, lambda: door.query("x", "en"), lambda: door.passages(numbered(1))):
        with pytest.raises(EngineAway) as away:
            await asked()
        assert away.value.engine == "embedding"
        assert away.value.cause
    await door.close()


@pytest.mark.gen_test
async def test_one_that_does_not_answer_in_time(
    remote: HttpEmbedding, endpoint_peer: EmbeddingPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remote.model()
    gate = asyncio.Event()
    hasty = Patience(attempts=1, request_s=0.05, first_wait_s=0, longest_wait_s=0)
    monkeypatch.setattr("server.engines.embedding_http.FOR_QUERIES", hasty)
    endpoint_peer.mischief.append(held(gate))
    with pytest.raises(EngineAway) as away:
        await remote.query("x", "en")
    assert "imeout" in away.value.cause
    gate.set()


@pytest.mark.gen_test
async def test_a_refusal_is_final(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer, pauses: Pauses) -> None:
    endpoint_peer.mischief.extend([fine, refused(404, f"no model bigrams for {SECRET}")])
    with pytest.raises(EmbeddingRefused, match=r"HTTP 404.*no model bigrams") as told:
        await remote.passages([Passage("x", "", "en")])
    assert SECRET not in str(told.value)
    assert len(endpoint_peer.requests) == 2
    assert pauses.seconds == []


@pytest.mark.gen_test
async def test_a_wrong_key_is_not_repeated(
    endpoint_peer: EmbeddingPeer, tmp_path: Path, compute: LocalCompute, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint_peer.key = "sk-another"
    door = remote_door(endpoint_peer.url, tmp_path, compute, pauses)
    with pytest.raises(EmbeddingRefused, match=r"401.*ARK_API_KEY") as told:
        await door.model()
    assert SECRET[:4] not in str(told.value)
    assert SECRET not in caplog.text
    await door.close()


@pytest.mark.parametrize("status", [301, 302])
@pytest.mark.gen_test
async def test_the_key_follows_no_redirection(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer, status: int) -> None:
    async with running_embeddings() as elsewhere:
        endpoint_peer.mischief.append(refused(status, Location=f"{elsewhere.url}/embeddings"))
        with pytest.raises(EmbeddingRefused, match=str(status)):
            await remote.model()
        assert elsewhere.requests == []


MISFITS = {
    "not json": said("<html>fine</html>"),
    "nothing": said(""),
    "other json": said('{"vectors": []}'),
    "a list": said("[]"),
    "no vectors": changed(lambda data: data.clear()),
    "one too few": changed(lambda data: data.pop()),
    "one too many": changed(lambda data: data.append({"index": 3, "embedding": data[0]["embedding"]})),
    "one twice": changed(lambda data: data[1].update(index=0)),
    "another dimension": changed(lambda data: [item.update(embedding=[1.0] * 32) for item in data]),
    "one of another dimension": changed(lambda data: data[1].update(embedding=[1.0] * 32)),
    "NaN": said('{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1]}, {"index": 2, "embedding": [1]}]}'),
    "null": changed(lambda data: data[1].update(embedding=[None] * DIM)),
    "NaN in base64": changed(lambda data: (data[2].update(embedding=[math.nan] * DIM), as_base64(data))),
    "infinite in base64": changed(lambda data: (data[2].update(embedding=[math.inf] * DIM), as_base64(data))),
    "bad base64": changed(lambda data: data[1].update(embedding="?" * 4 * DIM)),
    "half a number": changed(lambda data: data[1].update(embedding="AAAA")),
    "no direction": changed(lambda data: data[1].update(embedding=[0.0] * DIM)),
}


@pytest.mark.parametrize("mischief", MISFITS.values(), ids=MISFITS)
@pytest.mark.gen_test
async def test_what_is_no_answer_is_refused(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer, mischief: Any, pauses: Pauses) -> None:
    endpoint_peer.mischief.extend([fine, mischief])
    with pytest.raises(EmbeddingMisfit) as told:
        await remote.passages(numbered(3))
    assert told.value.text.say("zh") != told.value.text.english()
    assert SECRET not in str(told.value)
    assert pauses.seconds == []


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.reverse(),
        as_base64,
        lambda data: [item.pop("index") for item in data],
        lambda data: [item.update(embedding=[100 * number for number in item["embedding"]]) for item in data],
    ],
    ids=["out of order", "base64", "without index", "not of unit length"],
)
@pytest.mark.gen_test
async def test_what_is_said_in_another_way_is_understood(remote: HttpEmbedding, endpoint_peer: EmbeddingPeer, change: Any) -> None:
    endpoint_peer.mischief.extend([fine, changed(change)])
    vectors = await remote.passages(numbered(3))
    for passage, vector in zip(numbered(3), vectors, strict=True):
        assert numbers(vector) == pytest.approx(bigram_vector(passage.text), abs=1e-6)


@pytest.mark.gen_test
async def test_the_dimension_that_the_settings_say_must_be_the_models(
    endpoint_peer: EmbeddingPeer, tmp_path: Path, compute: LocalCompute, pauses: Pauses
) -> None:
    async with opened_with(endpoint_peer, tmp_path, compute, pauses, embedding_dim=DIM) as door:
        assert (await door.model()).dim == DIM
    async with opened_with(endpoint_peer, tmp_path, compute, pauses, embedding_dim=1024) as door:
        with pytest.raises(EmbeddingMisfit, match="64 dimensions rather than 1024"):
            await door.model()
        with pytest.raises(EmbeddingMisfit):
            await door.passages(numbered(1))


@pytest.mark.gen_test(timeout=120)
async def test_large_vectors_do_not_hold_the_loop(tmp_path: Path, compute: LocalCompute, pauses: Pauses) -> None:
    async with running_embeddings(dim=1024) as peer:
        body = '{"data": [' + ",".join(f'{{"index": {n}, "embedding": [{"0.12345678901," * 4095}1]}}' for n in range(TEXTS_A_BATCH)) + "]}"
        async with opened_with(peer, tmp_path, compute, pauses, embedding_dim=4096) as door:
            door._model = EmbeddingModel("large", 4096, peer.url)
            peer.mischief.append(said(body))
            vectors = await door.passages(numbered(TEXTS_A_BATCH))
    assert [len(vector) for vector in vectors] == [4 * 4096] * TEXTS_A_BATCH
