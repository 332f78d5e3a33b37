"""Tags by themselves: proposed with a reason, written by the job, taken off by people for good."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.context import Context
from server.knowledge import tag_writing
from tests.api.client import Api
from tests.api.knowledge.conftest import LONG_S, Library

FIREWALL = [
    "Firewall",
    "The firewall filters packets: firewall rules are kept by nftables.",
    "Reload the firewall after a change of rules.",
]
KITCHEN = ["Kitchen", "Boil the noodles for four minutes and drain them."]
TAGS = (
    {"name": "Firewall", "description": "Firewall rules that filter packets", "keywords": ["nftables"]},
    {"name": "Noodles", "description": "Boiling noodles in the kitchen", "keywords": ["kitchen"]},
    {"name": "Law", "description": "Lawsuits before a court of justice", "keywords": ["judge"]},
)


async def create(api: Api) -> dict[str, int]:
    """The vocabulary; ids by name."""
    return {tag["name"]: (await api.post("/api/tags", tag)).result["id"] for tag in TAGS}


async def task_ended(api: Api, task_id: str) -> dict[str, Any]:
    async with asyncio.timeout(LONG_S):
        while True:
            task: dict[str, Any] = (await api.get(f"/api/tasks/{task_id}")).result
            if task["state"] in ("succeeded", "dead", "cancelled"):
                return task
            await asyncio.sleep(0.05)


@pytest.mark.gen_test(timeout=120)
async def test_tags_are_proposed_with_a_reason(library: Library, api: Api) -> None:
    ids = await create(api)
    document_id = await library.ready(FIREWALL, KITCHEN)
    proposed = (await api.get(f"/api/documents/{document_id}/tags/suggest", headers={"Accept-Language": "en"})).result
    by_name = {one["name"]: one for one in proposed}
    assert next(iter(by_name)) == "Firewall"
    assert "Law" not in by_name
    first = by_name["Firewall"]
    assert first["tag_id"] == ids["Firewall"]
    assert 0.5 < first["score"] <= 1
    assert "passages mention “Firewall" in first["reason"]
    assert first["reason"].endswith("page 1")
    assert by_name["Noodles"]["reason"].endswith("page 2")
    chinese = (await api.get(f"/api/documents/{document_id}/tags/suggest", headers={"Accept-Language": "zh"})).result
    assert "最接近的段落在第 1 页" in chinese[0]["reason"]
    assert [one["score"] for one in proposed] == sorted((one["score"] for one in proposed), reverse=True)


@pytest.mark.gen_test(timeout=120)
async def test_the_job_writes_what_surely_fits_and_leaves_what_a_person_took_off(library: Library, api: Api) -> None:
    ids = await create(api)
    document_id = await library.ready(FIREWALL)
    document = await library.until(document_id, lambda one: bool(one["tags"]))
    [tag] = document["tags"]
    assert (tag["name"], tag["source"]) == ("Firewall", "job")
    assert tag["score"] >= tag_writing.LEAST_SCORE
    assert "Firewall" in tag["reason"]
    [proposed] = [one for one in (await api.get(f"/api/documents/{document_id}/tags/suggest")).result if one["applied"]]
    assert proposed["tag_id"] == ids["Firewall"]

    assert (await api.put(f"/api/documents/{document_id}/tags", {"tags": ["Law"]})).status == 200
    applied = (await api.post(f"/api/tags/{ids['Law']}/apply")).result
    task = await task_ended(api, applied["task_id"])
    assert (task["state"], task["result"]) == ("succeeded", {"documents": 1, "written": 0, "removed": 0})
    document = (await api.get(f"/api/documents/{document_id}")).result
    assert [(tag["name"], tag["source"]) for tag in document["tags"]] == [("Law", "person")]


@pytest.mark.gen_test(timeout=120)
async def test_a_changed_vocabulary_is_applied_to_what_is_there(library: Library, api: Api, ctx: Context) -> None:
    first, second = await library.ready(FIREWALL), await library.ready(KITCHEN)
    ids = await create(api)
    applied = (await api.post(f"/api/tags/{ids['Firewall']}/apply")).result
    assert (await task_ended(api, applied["task_id"]))["result"]["documents"] == 2
    shown = {document_id: (await api.get(f"/api/documents/{document_id}")).result["tags"] for document_id in (first, second)}
    assert [tag["name"] for tag in shown[first]] == ["Firewall"]
    assert [tag["name"] for tag in shown[second]] == ["Noodles"]

    # A tag that comes to mean something else goes where it no longer fits.
    change = {"name": "Law", "description": TAGS[2]["description"], "keywords": ["judge"]}
    assert (await api.delete(f"/api/tags/{ids['Law']}")).status == 200
    assert (await api.patch(f"/api/tags/{ids['Firewall']}", change)).status == 200
    assert await tag_writing.write_tags(ctx, first) == {"written": 0, "removed": 1}
    assert (await api.get(f"/api/documents/{first}")).result["tags"] == []
    assert "skipped" in await tag_writing.write_tags(ctx, 99_999)
