"""Search: what it takes, what it finds, and that nobody finds what they may not see."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.context import Context
from tests.api.client import Api
from tests.api.knowledge.conftest import Library
from tests.api.people import organization, user
from tests.documents.pdf import pdf
from tests.peers.embedding_server import EmbeddingPeer, refused

SECRET = ["The launch code of the antenna is zebra-4711."]


@pytest.mark.gen_test(timeout=120)
async def test_what_a_search_takes(library: Library) -> None:
    assert (await library.search("anything"))["hits"] == []  # before the first document nothing is started for it
    for query, field in (
        ("", "q"),
        ("q=", "q"),
        ("q=%20", "q"),
        (f"q={1001 * 'x'}", "q"),
        ("q=x&mode=magic", "mode"),
        ("q=x&limit=0", "limit"),
        ("q=x&limit=51", "limit"),
        ("q=x&lang=fr", "lang"),
        ("q=x&organization_id=here", "organization_id"),
        ("q=x&orgnization_id=1", "orgnization_id"),
    ):
        answer = await library.api.get(f"/api/search?{query}")
        assert answer.fields == [field], query
    assert (await library.api.post("/api/search", {"q": "x", "tags": "a"})).fields == ["tags"]


@pytest.mark.gen_test(timeout=120)
async def test_a_search_by_body_finds_the_same_and_groups_by_document(library: Library) -> None:
    long = [f"Paragraph {number} speaks of zebras and of nothing else but zebras." for number in range(25)]
    first, second = await library.ready(long, long[::-1]), await library.ready(["One zebra only."])
    by_query = await library.search("zebra zebras", limit=5)
    by_body = (await library.api.post("/api/search", {"q": "zebra zebras", "limit": 5})).result
    assert by_query["hits"] == by_body["hits"]
    assert len(by_query["hits"]) == 5
    grouped = (await library.api.post("/api/search", {"q": "zebra zebras", "limit": 2, "group": True})).result
    assert {group["document_id"] for group in grouped["groups"]} == {first, second}
    assert all(hit["document_id"] == group["document_id"] for group in grouped["groups"] for hit in group["hits"])
    scores = [hit["score"] for hit in by_query["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.gen_test(timeout=120)
async def test_odd_questions_find_something_or_nothing_and_break_nothing(library: Library) -> None:
    await library.ready(['Odd questions are questions, too: 100% "quoted" (in brackets).'])
    for question in ('"', "'", "\\", "%", "a' or 1==1 --", "(((", "🙂", "\x00x", "\u202e", 1000 * "问", "* ? ~ ^ AND OR NOT", "x\ny"):
        assert isinstance((await library.search(question))["hits"], list), question


@pytest.mark.gen_test(timeout=180)
async def test_nobody_finds_what_they_may_not_see(library: Library, anonymous: Api, ctx: Context) -> None:
    physics, history = await organization(ctx, "physics"), await organization(ctx, "history")
    owner = library.as_caller(await user(ctx, anonymous, "owner", "teacher", physics))
    colleague = library.as_caller(await user(ctx, anonymous, "colleague", "student", physics))
    manager = library.as_caller(await user(ctx, anonymous, "manager", "organization_admin", physics))
    stranger = library.as_caller(await user(ctx, anonymous, "stranger", "organization_admin", history))
    outsider = library.as_caller(await user(ctx, anonymous, "outsider", "operator", physics))

    ids = {}
    for visibility in ("private", "organization", "public"):
        ids[visibility] = await owner.ready([*SECRET, f"It is {visibility}."], visibility=visibility)
    sees = {
        owner: ["private", "organization", "public"],
        colleague: ["organization", "public"],
        manager: ["private", "organization", "public"],
        stranger: ["public"],
        library: ["private", "organization", "public"],
    }
    for who, visible in sees.items():
        expected = {ids[name] for name in visible}
        for mode in ("keyword", "dense", "hybrid"):
            assert set(await who.found("launch code zebra-4711", mode=mode)) == expected, (who.api.token[-8:], mode)
            for number in ids.values():
                only = await who.found("launch code zebra-4711", mode=mode, document_id=number)
                assert set(only) == ({number} & expected), mode
        grouped = (await who.api.post("/api/search", {"q": "zebra-4711", "group": True})).result
        assert {group["document_id"] for group in grouped["groups"]} == expected
        page = (await who.api.get("/api/documents")).result
        assert ({item["id"] for item in page["items"]}, page["total"]) == (expected, len(expected))
        for number in ids.values():
            for path in ("", "/file", "/pages/1", "/pages/1.png"):
                status = (await who.api.get(f"/api/documents/{number}{path}")).status
                assert status == (200 if number in expected else 404), (path, number)
            if number not in expected:
                for answer in (
                    await who.api.patch(f"/api/documents/{number}", {"title": "mine"}),
                    await who.api.delete(f"/api/documents/{number}"),
                    await who.api.post(f"/api/documents/{number}/reindex"),
                ):
                    assert (answer.status, answer.type) == (404, "document_not_found")
    for answer in (await outsider.api.get("/api/search?q=zebra"), await outsider.api.get("/api/documents"), await outsider.post([])):
        assert answer.status == 403

    # Colleagues may look, and no more.
    assert (await colleague.api.patch(f"/api/documents/{ids['public']}", {"title": "mine"})).status == 403
    assert (await colleague.api.delete(f"/api/documents/{ids['organization']}")).status == 403
    # A copy says nothing of an original that its owner may not see.
    answer = await stranger.post([("copy.pdf", pdf([*SECRET, "It is private."]))])
    assert answer.result["duplicate_of"] is None
    assert (await stranger.api.get(f"/api/documents/{answer.result['document_id']}")).result["duplicates"] == []
    assert (await stranger.post([("x.pdf", pdf(["x"]))], {"organization_id": str(physics)})).status == 403
    await stranger.ended(answer.result["document_id"])

    # What is made private is gone for the others with the next question.
    assert (await owner.api.patch(f"/api/documents/{ids['public']}", {"visibility": "private"})).status == 200
    assert set(await stranger.found("zebra-4711", mode="keyword")) == {answer.result["document_id"]}
    assert set(await colleague.found("zebra-4711", mode="keyword")) == {ids["organization"]}


@pytest.mark.gen_test(timeout=120)
async def test_without_the_embedding_engine_words_still_find(library: Library, embeddings: EmbeddingPeer) -> None:
    document_id = await library.ready(SECRET)
    embeddings.mischief.extend(20 * [refused(503)])
    found = await library.search("antenna zebra-4711", mode="hybrid")
    assert (found["degraded"], [hit["document_id"] for hit in found["hits"]]) == (True, [document_id])
    embeddings.mischief.extend(20 * [refused(503)])
    answer = await library.api.get("/api/search?q=other+words&mode=dense")
    assert (answer.status, answer.type) == (503, "engine_away")
    embeddings.mischief.clear()
    async with asyncio.timeout(30):
        while (await library.search("antenna zebra-4711"))["degraded"]:
            await asyncio.sleep(0.1)


@pytest.mark.gen_test(timeout=120)
async def test_filters_leave_only_what_they_name(library: Library, ctx: Context) -> None:
    physics = await organization(ctx, "physics")
    here = await library.ready([*SECRET, "here"], project_id="5")
    there = await library.ready([*SECRET, "there"], organization_id=str(physics))

    async def found(**filters: Any) -> set[int]:
        return set(await library.found("launch code zebra-4711", **filters))

    assert await found() == {here, there}
    assert await found(organization_id=physics) == {there}
    assert await found(project_id=5) == {here}
    assert await found(project_id=6) == set()
    assert await found(document_id=here, organization_id=physics) == set()
    assert await found(tags="none") == set()
    assert await found(lang="zh") == set()
    assert await found(organization_id=999) == set()
