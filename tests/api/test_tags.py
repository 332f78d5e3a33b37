"""The vocabulary of tags: make, list, change, remove; who may; and what a tag must be."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.knowledge.tables import document_tags, documents, refused_tags
from server.platform.tables import audit_log, tasks
from tests.api.client import Api
from tests.api.people import organization, user


async def put_document(ctx: Context, **more: Any) -> int:
    """A document put in by SQL; its id."""
    now = ctx.clock.now()
    counts = dict.fromkeys(("size", "progress", "pages", "unreadable", "reader", "generation", "built", "pages_read"), 0)
    texts = {"title": "t", "filename": "t.pdf", "sha256": 64 * "a", "status": "ready", "language": "", "visibility": "organization"}
    values = {"organization_id": 1, **counts, **texts, "ocr": False, "created_at": now, "updated_at": now, **more}
    made = await ctx.sql.write(lambda connection: connection.execute(documents.insert().values(values)).inserted_primary_key)
    assert made
    return int(made[0])


async def tagged(ctx: Context, document_id: int, tag_id: int) -> None:
    values = {"document_id": document_id, "tag_id": tag_id, "source": "person", "created_at": ctx.clock.now()}
    await ctx.sql.write(lambda connection: connection.execute(document_tags.insert().values(values)))


async def create(api: Api, name: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = (await api.post("/api/tags", {"name": name, **more})).result
    return made


@pytest.mark.gen_test
async def test_a_tag_comes_back_as_it_went(api: Api, ctx: Context) -> None:
    made = await create(api, " 防火墙  规则 ", description="过滤流量", keywords=["iptables", " nftables", "iptables", " "])
    assert {name: made[name] for name in ("name", "description", "keywords", "organization_id", "documents", "may_change")} == {
        "name": "防火墙 规则",
        "description": "过滤流量",
        "keywords": ["iptables", "nftables"],
        "organization_id": 1,
        "documents": 0,
        "may_change": True,
    }
    assert (await api.get(f"/api/tags/{made['id']}")).result == made
    changed = (await api.patch(f"/api/tags/{made['id']}", {"name": "防火墙", "keywords": []})).result
    assert (changed["name"], changed["keywords"], changed["description"]) == ("防火墙", [], "过滤流量")
    audited = sa.select(audit_log.c.action).where(audit_log.c.target == f"tag:{made['id']}").order_by(audit_log.c.id)
    assert list(await ctx.sql.read(lambda connection: connection.execute(audited).scalars().all())) == ["tag.create", "tag.change"]


@pytest.mark.gen_test
async def test_tags_are_listed_by_name_with_the_documents_that_the_caller_sees(api: Api, anonymous: Api, ctx: Context) -> None:
    second, first = await create(api, "network"), await create(api, "mail", description="transport")
    for more in ({}, {"visibility": "private", "owner_id": 99}):
        await tagged(ctx, await put_document(ctx, **more), first["id"])
    student = await user(ctx, anonymous, "student", "student", await organization(ctx, "school"))
    listed = (await api.get("/api/tags")).result
    assert [(tag["name"], tag["documents"]) for tag in listed["items"]] == [("mail", 2), ("network", 0)]
    assert [tag["id"] for tag in (await api.get("/api/tags?sort=-name&page_size=1")).result["items"]] == [second["id"]]
    assert [tag["id"] for tag in (await api.get("/api/tags?q=TRANS")).result["items"]] == [first["id"]]
    assert (await api.get("/api/tags?organization_id=2")).result["total"] == 0
    assert (await student.get("/api/tags")).result["total"] == 0
    assert (await api.get("/api/tags?sort=description")).status == 422


@pytest.mark.gen_test
async def test_the_count_is_of_what_may_be_seen(api: Api, anonymous: Api, ctx: Context) -> None:
    school = await organization(ctx, "school")
    tag = await create(api, "mail", organization_id=school)
    for more in ({}, {"visibility": "private", "owner_id": 99}):
        await tagged(ctx, await put_document(ctx, organization_id=school, **more), tag["id"])
    student = await user(ctx, anonymous, "student", "student", school)
    assert (await student.get(f"/api/tags/{tag['id']}")).result["documents"] == 1
    assert (await student.get(f"/api/tags/{tag['id']}")).result["may_change"] is False


@pytest.mark.gen_test
async def test_a_name_is_one_tag_in_an_organization(api: Api, ctx: Context) -> None:
    school = await organization(ctx, "school")
    first = await create(api, "mail")
    other = await create(api, "mail", organization_id=school)
    assert other["organization_id"] == school
    again = await api.post("/api/tags", {"name": "mail"})
    assert (again.status, list(again.fields)) == (422, ["name"])
    second = await create(api, "network")
    assert (await api.patch(f"/api/tags/{second['id']}", {"name": "mail"})).status == 422
    assert (await api.patch(f"/api/tags/{first['id']}", {"name": "mail"})).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "a,b"}, "name"),
        ({"name": 65 * "x"}, "name"),
        ({"name": "x", "keywords": ["a"] * 31}, "keywords"),
        ({"name": "x", "keywords": "a"}, "keywords"),
        ({"name": "x", "description": 501 * "x"}, "description"),
        ({"name": "x", "organization_id": 999}, "organization_id"),
        ({"name": "x", "colour": "red"}, "colour"),
    ],
)
async def test_what_a_tag_must_be(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.post("/api/tags", body)
    assert answer.status == 422
    assert [name.partition("[")[0] for name in answer.fields] == [field]
    assert (await api.get("/api/tags")).result["total"] == 0


@pytest.mark.gen_test
async def test_who_may_what(api: Api, anonymous: Api, ctx: Context) -> None:
    school, other = await organization(ctx, "school"), await organization(ctx, "other")
    tag = await create(api, "mail", organization_id=school)
    foreign = await create(api, "mail", organization_id=other)
    student = await user(ctx, anonymous, "student", "student", school)
    manager = await user(ctx, anonymous, "manager", "organization_admin", school)
    address, hidden = f"/api/tags/{tag['id']}", f"/api/tags/{foreign['id']}"
    assert [one["id"] for one in (await student.get("/api/tags")).result["items"]] == [tag["id"]]
    assert (await student.post("/api/tags", {"name": "x"})).status == 403
    assert (await student.patch(address, {"name": "x"})).status == 403
    assert (await student.delete(address)).status == 403
    assert (await student.post(f"{address}/apply")).status == 403
    assert (await manager.post("/api/tags", {"name": "x", "organization_id": other})).status == 403
    assert (await manager.post("/api/tags", {"name": "x"})).result["organization_id"] == school
    for caller in (student, manager):
        answer = await caller.get(hidden)
        assert (answer.status, answer.type) == (404, "tag_not_found")
    for asked in (manager.patch(hidden, {"name": "x"}), manager.delete(hidden), manager.post(f"{hidden}/apply")):
        assert (await asked).status == 404
    assert (await manager.patch(address, {"name": "post"})).result["name"] == "post"
    assert (await manager.delete(address)).status == 200
    assert (await manager.get(address)).status == 404


@pytest.mark.gen_test
async def test_a_tag_that_is_removed_goes_from_documents(api: Api, ctx: Context) -> None:
    kept, gone = await create(api, "kept"), await create(api, "gone")
    document_id = await put_document(ctx)
    for tag in (kept, gone):
        await tagged(ctx, document_id, tag["id"])
    refusal = refused_tags.insert().values(document_id=document_id, tag_id=gone["id"])
    await ctx.sql.write(lambda connection: connection.execute(refusal))
    assert (await api.delete(f"/api/tags/{gone['id']}")).status == 200
    document = (await api.get(f"/api/documents/{document_id}")).result
    assert [tag["name"] for tag in document["tags"]] == ["kept"]
    assert await ctx.sql.read(lambda connection: connection.execute(sa.select(refused_tags)).all()) == []


@pytest.mark.gen_test
async def test_documents_are_looked_at_once_at_a_time(api: Api, ctx: Context) -> None:
    tag = await create(api, "mail")
    first = await api.post(f"/api/tags/{tag['id']}/apply")
    assert first.status == 202
    row = sa.select(tasks).where(tasks.c.id == first.result["task_id"])
    task = await ctx.sql.read(lambda connection: connection.execute(row).one())
    assert (task.kind, task.payload) == ("apply_tags", {"organization_id": 1})
    again = await api.post(f"/api/tags/{tag['id']}/apply")
    assert (again.status, again.type) == (409, "tags_applying")


@pytest.mark.gen_test
async def test_a_documents_tags_are_set_by_name(api: Api, anonymous: Api, ctx: Context) -> None:
    await create(api, "mail")
    await create(api, "network")
    document_id = await put_document(ctx)
    address = f"/api/documents/{document_id}/tags"
    assert [tag["name"] for tag in (await api.put(address, {"tags": ["network", "mail"]})).result] == ["mail", "network"]
    [left] = (await api.put(address, {"tags": ["mail"]})).result
    assert (left["name"], left["source"]) == ("mail", "person")
    unknown = await api.put(address, {"tags": ["mail", "cooking"]})
    assert (unknown.status, list(unknown.fields)) == (422, ["tags"])
    student = await user(ctx, anonymous, "student", "student", await organization(ctx, "school"))
    assert (await student.put(address, {"tags": []})).status == 404


@pytest.mark.gen_test
async def test_what_has_no_passages_has_no_suggestions(api: Api, anonymous: Api, ctx: Context) -> None:
    await create(api, "mail")
    document_id = await put_document(ctx)
    assert (await api.get(f"/api/documents/{document_id}/tags/suggest")).result == []
    student = await user(ctx, anonymous, "student", "student", await organization(ctx, "school"))
    assert (await student.get(f"/api/documents/{document_id}/tags/suggest")).type == "document_not_found"
