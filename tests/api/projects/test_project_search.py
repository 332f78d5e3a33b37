"""Search over projects and projects like another: by words, by meaning and by documents, and never what one may not see."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.client import Api
from tests.api.knowledge.conftest import Library, embeddings, library, loops, more_settings, settings
from tests.api.projects.conftest import School
from tests.peers.embedding_server import EmbeddingPeer, refused

__all__ = ["embeddings", "library", "loops", "more_settings", "settings"]


async def search(caller: Api, q: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await caller.get(f"/api/projects/search?{urlencode({'q': q, **more})}")).result
    return found


async def titles(caller: Api, q: str, **more: Any) -> list[str]:
    return [hit["project"]["title"] for hit in (await search(caller, q, **more))["hits"]]


async def until_found(caller: Api, q: str, by: str) -> list[dict[str, Any]]:
    """The hits, once one is found in that way."""
    async with asyncio.timeout(60):
        while True:
            hits: list[dict[str, Any]] = (await search(caller, q))["hits"]
            if any(by in hit["by"] for hit in hits):
                return hits
            await asyncio.sleep(0.1)


@pytest.mark.gen_test(timeout=120)
async def test_words_are_found_in_title_summary_and_fields(school: School) -> None:
    await school.propose(school.tea, "Cold atoms", summary="about rubidium", fields={"note": "needs helium", "级别": "国家级"})
    await school.propose(school.tea, "Rubidium clocks", summary="time")
    assert await titles(school.tea, "rubidium", mode="keyword") == ["Rubidium clocks", "Cold atoms"]
    assert await titles(school.tea, "HELIUM atoms", mode="keyword") == ["Cold atoms"]
    assert await titles(school.tea, "国家级", mode="keyword") == ["Cold atoms"]
    assert await titles(school.tea, "helium clocks", mode="keyword") == []
    hit = (await search(school.tea, "rubidium", mode="keyword", limit=1))["hits"][0]
    assert (hit["by"], hit["score"]) == (["words"], 1.0)
    for odd in ("%", "_", "\\", "'", '"', "\x00x", "🙂", 1000 * "问"):
        assert isinstance((await search(school.tea, odd, mode="keyword"))["hits"], list)


@pytest.mark.gen_test(timeout=120)
async def test_nobody_finds_what_they_may_not_see(school: School) -> None:
    made = await school.propose(school.tea, "Zebra study", summary="zebra zebra")
    assert await titles(school.max, "zebra") == ["Zebra study"]
    for caller in (school.tom, school.stu, school.rev, school.out):
        for mode in ("keyword", "hybrid", "dense"):
            assert await titles(caller, "zebra", mode=mode) == []
    await school.act(school.tea, made, "submit")
    await until_found(school.tea, "zebra", "meaning")
    for caller in (school.tom, school.stu, school.out):
        for mode in ("keyword", "hybrid", "dense"):
            assert await titles(caller, "zebra", mode=mode) == []
    assert await titles(school.rev, "zebra", mode="dense") == ["Zebra study"]


@pytest.mark.gen_test(timeout=120)
async def test_a_project_is_found_by_its_documents_by_who_may_read_them(school: School, library: Library) -> None:
    paper = await library.as_caller(school.tea).ready(["The gyroscope drifts by a nanoradian."], visibility="private")
    made = await school.propose(school.tea, "Inertial navigation")
    await school.tea.post(f"/api/projects/{made['id']}/attachments", {"document_id": paper})
    hits = await until_found(school.tea, "gyroscope nanoradian", "documents")
    assert (hits[0]["project"]["title"], hits[0]["document_id"]) == ("Inertial navigation", paper)
    await school.act(school.tea, made, "submit")
    await school.decide(made, "approve")
    assert (await school.tom.get(f"/api/projects/{made['id']}")).status == 200
    hits = (await search(school.tom, "gyroscope nanoradian"))["hits"]
    assert all("documents" not in hit["by"] and hit["document_id"] is None for hit in hits)


@pytest.mark.gen_test(timeout=120)
async def test_without_the_embedding_engine_words_are_left(school: School, embeddings: EmbeddingPeer) -> None:
    made = await school.propose(school.tea, "Zebra study")
    await school.act(school.tea, made, "submit")
    await until_found(school.tea, "zebra", "meaning")
    embeddings.mischief.extend(50 * [refused(503)])
    found = await search(school.tea, "zebra study")
    assert (found["degraded"], [hit["by"] for hit in found["hits"]]) == (True, [["words"]])
    assert (await school.tea.get("/api/projects/search?q=other+words&mode=dense")).status == 503
    embeddings.mischief.clear()


@pytest.mark.gen_test(timeout=120)
async def test_similar_projects_are_like_it_by_text_and_by_documents(school: School, library: Library) -> None:
    shelf = library.as_caller(school.tea)
    papers = [await shelf.ready([line]) for line in ("Lasers cool atoms of rubidium.", "Lasers cool atoms of caesium.", "Tax law.")]
    made = []
    for title, paper in zip(("Laser cooling of rubidium", "Laser cooling of caesium", "History of tax law"), papers, strict=True):
        project = await school.propose(school.tea, title)
        await school.tea.post(f"/api/projects/{project['id']}/attachments", {"document_id": paper})
        await school.act(school.tea, project, "submit")
        made.append(project)
    for title in ("rubidium", "caesium", "tax"):
        await until_found(school.tea, title, "meaning")
    items = (await school.tea.get(f"/api/projects/{made[0]['id']}/similar")).result["items"]
    assert (items[0]["project"]["title"], sorted(items[0]["by"])) == ("Laser cooling of caesium", ["documents", "text"])
    assert made[0]["id"] not in [one["project"]["id"] for one in items]
    assert (await school.tom.get(f"/api/projects/{made[0]['id']}/similar")).status == 404
    assert (await school.rev.get(f"/api/projects/{made[0]['id']}/similar")).result["items"] != []
