"""What goes wrong on the way into search: a clear status, nothing left behind, and no other document disturbed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import documents as documents_jobs
from server.context import Context
from server.engines.compute import ComputeCrashed
from server.engines.vectors import Row
from server.errors import EngineAway
from server.knowledge import indexing, reading, stranded
from server.knowledge.indexes import Indexes
from server.knowledge.tables import chunks, document_pages, vector_removals
from server.resources import Resources
from tests.api.knowledge.conftest import Library
from tests.documents.pdf import pdf
from tests.peers.embedding_server import EmbeddingPeer, changed, held, refused

GOOD = ["A page about lanterns and the wicks of lanterns."]
LONG = [[f"Page {number} is about lanterns, and about wick number {number} of the lantern."] for number in range(1, 41)]


async def left(ctx: Context, document_id: int) -> dict[str, int]:
    """What there still is of a document, once all removals are carried out."""
    collections = await ctx.vectors.collections()
    async with asyncio.timeout(60):
        while await ctx.sql.read(lambda connection: connection.execute(sa.select(vector_removals.c.id)).first()):
            await asyncio.sleep(0.05)

    def count(connection: sa.Connection, table: sa.Table) -> int:
        return connection.execute(sa.select(sa.func.count()).where(table.c.document_id == document_id)).scalar_one()

    return {
        "chunks": await ctx.sql.read(lambda connection: count(connection, chunks)),
        "pages": await ctx.sql.read(lambda connection: count(connection, document_pages)),
        "vectors": sum([len(await ctx.vectors.ids(collection, document_id)) for collection in collections]),
    }


NOTHING = {"chunks": 0, "pages": 0, "vectors": 0}


@pytest.mark.gen_test(timeout=180)
@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (pdf(GOOD)[:60], "failed", "damaged"),
        (b"%PDF-1.7\n" + 4000 * b"\xff", "failed", "damaged"),
        (pdf([]), "no_text", ""),
    ],
    ids=["truncated", "garbage", "blank"],
)
async def test_a_file_that_cannot_be_read_says_so_and_disturbs_no_other(
    library: Library, ctx: Context, content: bytes, status: str, says: str
) -> None:
    bad = (await library.post([("bad.pdf", content)])).result["document_id"]
    good = await library.ready(GOOD)
    document = await library.ended(bad)
    english = (await library.api.get(f"/api/documents/{bad}", headers={"Accept-Language": "en"})).result
    assert (document["status"], document["searchable"]) == (status, False)
    assert says in english["error"]
    assert document["error"] != english["error"]
    assert await left(ctx, bad) == NOTHING
    assert await library.found("lanterns") == [good]
    task = (await library.api.get(f"/api/tasks/{document['task_id']}")).result
    assert task["state"] == "succeeded"  # it is the document that failed; trying again would not help


@pytest.mark.gen_test(timeout=180)
async def test_a_worker_that_is_killed_costs_nothing(library: Library, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first batch dies with its worker; then the pages are read one by one."""
    deaths: list[Any] = []
    run = ctx.compute.run

    async def deadly(function: Any, *arguments: Any, **more: Any) -> Any:
        if function is reading.read_batch and not deaths:
            deaths.append(arguments)
            pid = await run(os.getpid, time_limit_s=10)
            working = asyncio.create_task(run(signal.sigwait, [signal.SIGUSR1], time_limit_s=60))
            while ctx.compute.state().busy == 0:
                await asyncio.sleep(0.01)
            os.kill(pid, signal.SIGKILL)
            return await working
        return await run(function, *arguments, **more)

    monkeypatch.setattr(ctx.compute, "run", deadly)
    document_id = await library.ready(*LONG[:6])
    assert len(deaths) == 1
    document = (await library.api.get(f"/api/documents/{document_id}")).result
    assert (document["pages_read"], document["unreadable"]) == (6, 0)
    assert document_id in await library.found("wick number 6")


@pytest.mark.gen_test(timeout=180)
async def test_a_page_that_kills_its_worker_is_left_out(library: Library, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ctx.compute.run

    async def deadly(function: Any, *arguments: Any, **more: Any) -> Any:
        if function is reading.read_batch and arguments[2] <= 3 <= arguments[3]:
            raise ComputeCrashed()
        return await run(function, *arguments, **more)

    monkeypatch.setattr(ctx.compute, "run", deadly)
    document_id = await library.ready(*LONG[:6])
    document = (await library.api.get(f"/api/documents/{document_id}")).result
    assert (document["status"], document["pages_read"], document["unreadable"]) == ("ready", 6, 1)
    numbers = {hit["page"] for hit in (await library.search("wick number", limit=50))["hits"]}
    assert numbers == {1, 2, 4, 5, 6}


@pytest.mark.gen_test(timeout=180)
async def test_a_document_of_deadly_pages_ends(library: Library, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ctx.compute.run

    async def deadly(function: Any, *arguments: Any, **more: Any) -> Any:
        if function is reading.read_batch:
            raise ComputeCrashed()
        return await run(function, *arguments, **more)

    monkeypatch.setattr(ctx.compute, "run", deadly)
    bad = await library.upload(*LONG)
    document = await library.ended(bad)
    assert document["status"] == "failed"
    assert str(reading.MOST_UNREADABLE) in document["error"]
    assert await left(ctx, bad) == NOTHING


@pytest.mark.gen_test(timeout=180)
async def test_an_embedding_engine_that_comes_and_goes_only_delays(library: Library, embeddings: EmbeddingPeer) -> None:
    await library.ready(GOOD)
    embeddings.mischief.extend(3 * [refused(500), refused(429, Retry_After="1")])
    document = await library.ended(await library.upload(*LONG[:5]))
    assert (document["status"], document["error"]) == ("ready", None)


@pytest.mark.gen_test(timeout=180)
async def test_vectors_of_another_dimension_end_the_document_with_the_reason(
    library: Library, ctx: Context, embeddings: EmbeddingPeer
) -> None:
    first = await library.ready(GOOD)

    def shorten(data: list[dict[str, Any]]) -> None:
        for one in data:
            one["embedding"] = one["embedding"][:10]

    embeddings.mischief.append(changed(shorten))
    document = await library.ended(await library.upload(*LONG[:2]))
    assert document["status"] == "failed"
    assert "10" in document["error"]
    assert await left(ctx, document["id"]) == NOTHING
    assert await library.found("lanterns", mode="keyword") == [first]
    again = await library.api.post(f"/api/documents/{document['id']}/reindex")
    assert again.status == 202
    task_id = again.result["task_id"]
    await library.until(document["id"], lambda one: one["task_id"] == task_id and one["status"] == "ready")


@pytest.mark.gen_test(timeout=180)
async def test_a_document_that_is_deleted_while_it_is_embedded_leaves_nothing(
    library: Library, ctx: Context, embeddings: EmbeddingPeer
) -> None:
    await library.ready(GOOD)
    gate = asyncio.Event()
    embeddings.mischief.append(held(gate))
    document_id = await library.upload(*LONG)
    async with asyncio.timeout(60):
        while not embeddings.open_requests:
            await asyncio.sleep(0.01)
    assert (await library.api.delete(f"/api/documents/{document_id}")).status == 200
    gate.set()
    async with asyncio.timeout(60):
        while (await library.api.get("/api/tasks?queue=documents&state=running")).result["total"]:
            await asyncio.sleep(0.05)
    assert await left(ctx, document_id) == NOTHING
    assert document_id not in await library.found("lanterns")


@pytest.mark.gen_test(timeout=180)
async def test_the_vector_engine_goes_and_comes_back(library: Library, ctx: Context) -> None:
    first = await library.ready(GOOD)
    os.kill(engine_of(ctx.settings.data), signal.SIGKILL)
    second = await library.ready(*LONG[:3])
    assert set(await library.found("lanterns")) == {first, second}


def engine_of(folder: Path) -> int:
    """The process id of the vector engine that works in a folder."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = line.read_bytes()
            if b"milvus_lite_server" in words and bytes(folder) in words:
                return int(line.parent.name)
    raise AssertionError("the vector engine does not run")


@pytest.mark.gen_test(timeout=180)
async def test_a_document_waits_while_the_vector_engine_is_away_and_says_so(
    library: Library, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    await library.ready(GOOD)
    away = True
    put = ctx.vectors.put

    async def absent(*arguments: Any, **more: Any) -> None:
        if away:
            raise EngineAway("vectors", "unplugged")
        await put(*arguments, **more)

    monkeypatch.setattr(ctx.vectors, "put", absent)
    document_id = await library.upload(*LONG[:3])
    waiting = await library.until(document_id, lambda one: one["error"] is not None)
    assert waiting["status"] in ("parsing", "embedding")
    away = False
    document = await library.ended(document_id)
    assert (document["status"], document["error"]) == ("ready", None)


@pytest.mark.gen_test(timeout=180)
async def test_a_document_whose_task_was_cancelled_is_ended(library: Library, ctx: Context, embeddings: EmbeddingPeer) -> None:
    await library.ready(GOOD)
    gate = asyncio.Event()
    embeddings.mischief.append(held(gate))
    document_id = await library.upload(*LONG[:3])
    document = await library.until(document_id, lambda one: one["pages_read"] > 0)
    assert (await library.api.post(f"/api/tasks/{document['task_id']}/cancel")).status == 200
    async with asyncio.timeout(60):
        while (await library.api.get(f"/api/tasks/{document['task_id']}")).result["state"] != "cancelled":
            await asyncio.sleep(0.05)
    gate.set()
    assert (await stranded.mend(ctx))["ended"] == 1
    document = await library.ended(document_id)
    assert (document["status"], document["searchable"]) == ("failed", False)
    assert await left(ctx, document_id) == NOTHING


@pytest.mark.gen_test(timeout=180)
async def test_an_attempt_that_broke_off_is_gone_on_with(
    library: Library, ctx: Context, resources: Resources, embeddings: EmbeddingPeer
) -> None:
    """As after a crash: pages that were read are not read again, passages that were embedded are not embedded again."""
    await library.ready(GOOD)
    for worker in resources.workers:
        await worker.stop(0)
    document_id = await library.upload(*LONG)
    embedded = 0

    async def report(_percent: int, _message: str) -> None:
        nonlocal embedded
        embedded += 1
        if embedded == 4:
            raise EngineAway("vectors", "unplugged")

    with pytest.raises(EngineAway):
        await indexing.process(ctx, document_id, 1, report)
    before = (await library.api.get(f"/api/documents/{document_id}")).result
    assert before["pages_read"] > 0
    texts = list(embeddings.texts)

    async def quiet(_percent: int, _message: str) -> None:
        pass

    result = await indexing.process(ctx, document_id, 1, quiet)
    assert result["pages"] == len(LONG)
    again = embeddings.texts[len(texts) :]
    live = await ctx.sql.read(lambda connection: connection.execute(sa.select(chunks.c.state).distinct()).scalars().all())
    assert live == ["live"]
    assert len(texts) + len(again) < 2 * result["passages"] + 10
    assert len({hit["page"] for hit in (await library.search("wick number of the lantern", limit=50))["hits"]}) > 20


@pytest.mark.gen_test(timeout=180)
async def test_vectors_whose_document_is_gone_are_swept(library: Library, ctx: Context) -> None:
    document_id = await library.ready(GOOD)
    index = await ctx.services.get(Indexes).find_active()
    assert index is not None
    vector = next(iter((await ctx.vectors.vectors(index.collection, list(await ctx.vectors.ids(index.collection, document_id)))).values()))
    await ctx.vectors.put(index.collection, [Row("ab", 999, 1, "en", "lanterns", vector)])
    assert await library.found("lanterns") == [document_id]  # what is not in the database is not shown
    assert (await stranded.sweep_vectors(ctx))["orphans"] == 1
    assert await left(ctx, 999) == NOTHING
    assert await ctx.vectors.count(index.collection) > 0


@pytest.mark.gen_test(timeout=180)
async def test_what_goes_wrong_each_time_ends_the_document(library: Library, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_arguments: Any, **_more: Any) -> Any:
        raise ComputeCrashed()

    good = await library.ready(GOOD)
    monkeypatch.setattr(ctx.embedding, "passages", broken)
    monkeypatch.setattr(documents_jobs, "MOST_FAULTS", 1)
    bad = await library.upload(*LONG[:2])
    document = await library.ended(bad)
    assert document["status"] == "failed"
    assert await left(ctx, bad) == NOTHING
    assert (await library.api.get(f"/api/tasks/{document['task_id']}")).result["state"] == "dead"
    assert await library.found("lanterns", mode="keyword") == [good]
