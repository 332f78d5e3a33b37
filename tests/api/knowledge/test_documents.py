"""Documents from the upload to the passage on its page."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tornado.websocket import websocket_connect

from server.context import Context
from tests.api.knowledge.conftest import Library
from tests.documents.pdf import pdf

FIREWALL = ["Firewall", "The firewall is configured with nftables rules.", "Reload it with systemctl restart nftables."]
KITCHEN = ["Kitchen", "Boil the noodles for four minutes and drain them."]
CHINESE = ["第二章 网络设置", "防火墙的规则保存在配置文件中。", "修改之后需要重新启动服务。"]


@pytest.mark.gen_test(timeout=120)
async def test_a_pdf_is_read_found_shown_and_deleted(library: Library, ctx: Context) -> None:
    first = await library.ready(FIREWALL, KITCHEN, name="手册.pdf", title="Manual")
    document = (await library.api.get(f"/api/documents/{first}")).result
    assert (document["status"], document["progress"], document["pages"], document["pages_read"]) == ("ready", 100, 2, 2)
    assert (document["title"], document["filename"], document["visibility"], document["error"]) == (
        "Manual",
        "手册.pdf",
        "organization",
        None,
    )
    assert document["chunks"] >= 2
    assert document["searchable"]

    found = await library.search("nftables rules")
    hit = found["hits"][0]
    assert (found["mode"], hit["document_id"], hit["page"], hit["title"]) == ("hybrid", first, 1, "Manual")
    assert "<mark>nftables</mark>" in hit["snippet"]
    assert hit["boxes"]
    assert found["took_ms"] > 0

    page = (await library.api.get(f"/api/documents/{first}/pages/1")).result
    assert "configured with nftables" in page["text"]
    assert hit["chunk_id"] in [chunk["chunk_id"] for chunk in page["chunks"]]
    left, top, right, bottom = hit["boxes"][0]
    assert 0 <= left < right <= page["width"]
    assert 0 <= top < bottom <= page["height"]

    plain = await library.api.get(f"/api/documents/{first}/pages/1.png")
    marked = await library.api.get(f"/api/documents/{first}/pages/1.png?highlight={hit['chunk_id']}")
    assert plain.body.startswith(b"\x89PNG")
    assert marked.body != plain.body

    file = await library.api.get(f"/api/documents/{first}/file")
    assert file.body == pdf(FIREWALL, KITCHEN)
    assert file.headers["Content-Disposition"].startswith("attachment;")
    assert "%E6%89%8B%E5%86%8C.pdf" in file.headers["Content-Disposition"]

    assert (await library.api.delete(f"/api/documents/{first}")).status == 200
    assert await library.found("nftables rules") == []
    for path in ("", "/file", "/pages/1", "/pages/1.png"):
        assert (await library.api.get(f"/api/documents/{first}{path}")).type == "document_not_found"
    [collection] = await ctx.vectors.collections()
    async with asyncio.timeout(30):
        while await ctx.vectors.count(collection):
            await asyncio.sleep(0.05)


@pytest.mark.gen_test(timeout=120)
async def test_chinese_is_found_by_words_and_by_meaning(library: Library) -> None:
    chinese, english = await library.ready(CHINESE), await library.ready(KITCHEN)
    for mode in ("keyword", "dense", "hybrid"):
        assert (await library.found("防火墙规则", mode=mode))[0] == chinese, mode
    assert await library.found("防火墙规则", mode="keyword") == [chinese]
    assert await library.found("noodles", lang="zh") == [] or chinese in await library.found("noodles", lang="zh")
    assert english not in await library.found("noodles", lang="zh")
    hit = (await library.search("防火墙规则", mode="keyword"))["hits"][0]
    assert "<mark>防火墙" in hit["snippet"]
    assert hit["lang"] == "zh"


@pytest.mark.gen_test(timeout=120)
async def test_a_copy_is_a_document_of_its_own_that_costs_no_embedding(library: Library, embeddings: Any) -> None:
    first = await library.ready(FIREWALL)
    asked = len(embeddings.texts)
    answer = await library.post([("copy.pdf", pdf(FIREWALL))], {"title": "Copy"})
    assert answer.result["duplicate_of"] == first
    copy = answer.result["document_id"]
    document = await library.ended(copy)
    assert (document["status"], document["duplicates"], document["pages"]) == ("ready", [first], 1)
    assert len(embeddings.texts) == asked
    assert sorted(await library.found("nftables", mode="keyword")) == [first, copy]
    task = (await library.api.get(f"/api/tasks/{answer.result['task_id']}")).result
    assert task["result"]["copied"] == task["result"]["passages"] > 0
    await library.api.delete(f"/api/documents/{first}")
    assert await library.found("nftables", mode="keyword") == [copy]
    assert (await library.api.get(f"/api/documents/{copy}/file")).status == 200


@pytest.mark.gen_test(timeout=120)
async def test_what_was_there_serves_while_a_document_is_read_anew(library: Library, embeddings: Any) -> None:
    document_id = await library.ready(FIREWALL)
    before = (await library.search("nftables"))["hits"][0]["chunk_id"]
    asked = len(embeddings.texts)
    answer = await library.api.post(f"/api/documents/{document_id}/reindex")
    assert answer.status == 202
    assert await library.found("nftables") == [document_id]
    task_id = answer.result["task_id"]
    document = await library.until(document_id, lambda one: one["task_id"] == task_id and one["status"] == "ready")
    assert document["progress"] == 100
    hits = (await library.search("nftables"))["hits"]
    assert [hit["chunk_id"] for hit in hits] == [before]  # a citation of it still holds
    assert len(embeddings.texts) <= asked + 1  # the question; passages that stayed kept their vectors


@pytest.mark.gen_test(timeout=120)
async def test_progress_comes_as_events(library: Library) -> None:
    ticket = (await library.api.post("/api/auth/ticket")).result["ticket"]
    socket = await websocket_connect(f"{library.api.base_url.replace('http', 'ws')}/ws/events?ticket={ticket}")
    document_id = await library.upload(FIREWALL)
    await socket.write_message(msgspec.json.encode({"subscribe": [f"document:{document_id}", "document:999"]}))
    told: list[dict[str, Any]] = []
    while not told or told[-1]["event"] != "DocumentChanged" or told[-1]["data"]["status"] != "ready":
        message = await socket.read_message()
        assert message is not None
        told.append(msgspec.json.decode(message))
    assert {"topic": "document:999", "event": "refused"} in [{"topic": one["topic"], "event": one["event"]} for one in told]
    assert told[-1]["data"] == {"document_id": document_id, "status": "ready", "progress": 100, "pages": 1, "pages_read": 1}
    socket.close()


@pytest.mark.gen_test(timeout=120)
async def test_the_list_is_filtered_searched_and_counted(library: Library) -> None:
    ids = [
        await library.ready(KITCHEN, name=f"{name}.pdf", visibility=visibility) for name, visibility in (("a", "private"), ("b", "public"))
    ]
    everything = (await library.api.get("/api/documents")).result
    assert (everything["total"], [item["id"] for item in everything["items"]]) == (2, ids[::-1])
    for query, expected in (
        ("visibility=private", ids[:1]),
        ("q=b", ids[1:]),
        ("status=ready,failed", ids),
        ("status=failed", []),
        ("mine=true", ids),
        ("tag=none", []),
        ("organization_id=999", []),
        ("project_id=1", []),
    ):
        page = (await library.api.get(f"/api/documents?sort=id&{query}")).result
        assert ([item["id"] for item in page["items"]], page["total"]) == (expected, len(expected)), query


@pytest.mark.gen_test(timeout=120)
async def test_changing_a_document(library: Library) -> None:
    document_id = await library.upload(KITCHEN)
    changed = (
        await library.api.patch(f"/api/documents/{document_id}", {"title": "Noodles", "visibility": "public", "project_id": 4})
    ).result
    assert (changed["title"], changed["visibility"], changed["project_id"]) == ("Noodles", "public", 4)
    assert (await library.api.patch(f"/api/documents/{document_id}", {"project_id": None})).result["project_id"] is None
    assert (await library.api.patch(f"/api/documents/{document_id}", {"title": ""})).fields == ["title"]
    assert (await library.api.patch(f"/api/documents/{document_id}", {"visibility": "secret"})).fields == ["visibility"]
    assert (await library.api.patch(f"/api/documents/{document_id}", {"sha256": "x"})).fields == ["sha256"]


@pytest.mark.gen_test(timeout=120)
async def test_reading_anew_waits_for_the_reading_that_goes_on(library: Library, resources: Any) -> None:
    for worker in resources.workers:
        await worker.stop(0)
    document_id = await library.upload(KITCHEN)
    refused = await library.api.post(f"/api/documents/{document_id}/reindex")
    assert (refused.status, refused.type) == (409, "document_busy")


@pytest.mark.gen_test(timeout=120)
async def test_pages_and_passages_that_are_not_there(library: Library) -> None:
    document_id = await library.ready(KITCHEN)
    for path, kind in (
        (f"{document_id}/pages/2", "page_not_found"),
        (f"{document_id}/pages/0", "page_not_found"),
        (f"{document_id}/pages/2.png", "page_not_found"),
        (f"{document_id}/pages/1.png?highlight=00", "chunk_not_found"),
        ("999", "document_not_found"),
        ("999/pages/1.png", "document_not_found"),
        ("999/file", "document_not_found"),
    ):
        answer = await library.api.get(f"/api/documents/{path}")
        assert (answer.status, answer.type) == (404, kind), path
    assert (await library.api.get(f"/api/documents/{document_id}/pages/1.png?width=9")).fields == ["width"]
