"""Search, pages and their images from every relation to an organization: here, below, above and beside."""

from __future__ import annotations

from typing import Any

import pytest

from server.context import Context
from tests.api.client import Api
from tests.api.knowledge.conftest import Library
from tests.api.people import user
from tests.api.test_authorization import BELOW, HERE, tree

REACHED = {HERE, BELOW}
ASKED = "launch code zebra-4711"


@pytest.mark.gen_test(timeout=180)
async def test_search_and_pages_reach_the_organization_and_what_is_below(library: Library, anonymous: Api, ctx: Context) -> None:
    places = await tree(ctx)
    papers = {}
    for relation, place in places.items():
        lines = [f"The launch code of {relation} is zebra-4711."]
        papers[relation] = await library.ready(lines, organization_id=str(place), visibility="organization")
    reached = {papers[relation] for relation in REACHED}
    manager = library.as_caller(await user(ctx, anonymous, "manager", "organization_admin", places[HERE]))
    student = library.as_caller(await user(ctx, anonymous, "student", "student", places[HERE]))
    for who in (manager, student):
        for mode in ("keyword", "dense", "hybrid"):
            assert set(await who.found(ASKED, mode=mode)) == reached, mode
            posted = (await who.api.post("/api/search", {"q": ASKED, "mode": mode})).result
            assert {hit["document_id"] for hit in posted["hits"]} == reached, mode
            assert len(posted["hits"]) == len(reached), mode
            for relation, place in places.items():
                own: set[int] = {papers[relation]} & reached
                within = set(await who.found(ASKED, mode=mode, organization_id=place))
                assert within <= reached, f"{mode}: the filter, {relation}"
                assert own <= within, f"{mode}: the filter, {relation}"
                body: dict[str, Any] = {"q": ASKED, "mode": mode, "document_id": papers[relation]}
                narrowed = (await who.api.post("/api/search", body)).result
                assert {hit["document_id"] for hit in narrowed["hits"]} == own, f"{mode}: one document, {relation}"
        grouped = (await who.api.post("/api/search", {"q": ASKED, "group": True})).result
        assert {group["document_id"] for group in grouped["groups"]} == reached
        page = (await who.api.get("/api/documents")).result
        assert ({item["id"] for item in page["items"]}, page["total"]) == (reached, len(reached))
        for relation, paper in papers.items():
            expected = 200 if relation in REACHED else 404
            for path in ("", "/file", "/pages/1", "/pages/1.png", "/tags/suggest"):
                assert (await who.api.get(f"/api/documents/{paper}{path}")).status == expected, f"{path}: {relation}"
    assert set(await library.found(ASKED, mode="keyword")) == set(papers.values())
