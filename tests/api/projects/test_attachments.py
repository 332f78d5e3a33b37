"""Documents of projects: attached by who may pass them on, read by its people and its judges on every path, and by nobody else."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from server.context import Context
from server.projects.tables import audit_reviewers, audits, reviews
from tests.api.client import Api
from tests.api.knowledge.conftest import Library, embeddings, library, loops, more_settings, settings
from tests.api.projects.conftest import School

__all__ = ["embeddings", "library", "loops", "more_settings", "settings"]
LINE = "The zebra crosses the meridian at noon."


async def paths(library: Library, caller: Api, document_id: int) -> dict[str, bool]:
    """Whether somebody comes to see a document, by each way there is."""
    at, shelf = f"/api/documents/{document_id}", library.as_caller(caller)
    listed = (await caller.get("/api/documents")).result["items"]
    return {
        "detail": (await caller.get(at)).status == 200,
        "list": document_id in [one["id"] for one in listed],
        "file": (await caller.get(f"{at}/file")).status == 200,
        "text": (await caller.get(f"{at}/pages/1")).status == 200,
        "image": (await caller.get(f"{at}/pages/1.png")).status == 200,
        "search": document_id in [hit["document_id"] for hit in (await shelf.search("zebra meridian"))["hits"]],
    }


def everywhere(answer: bool) -> dict[str, bool]:
    return dict.fromkeys(("detail", "list", "file", "text", "image", "search"), answer)


@pytest.mark.gen_test(timeout=180)
async def test_an_attached_document_is_read_by_its_people_and_judges_alone(school: School, library: Library, ctx: Context) -> None:
    paper = await library.as_caller(school.tea).ready([LINE], visibility="private")
    made = await school.propose(school.tea)
    at = f"/api/projects/{made['id']}"
    await school.tea.post(f"{at}/members", {"username": "stu"})
    assert await paths(library, school.stu, paper) == everywhere(False)
    attached = (await school.tea.post(f"{at}/attachments", {"document_id": paper, "purpose": "proposal"})).result["items"]
    assert [(one["document_id"], one["purpose"], one["readable"]) for one in attached] == [(paper, "proposal", True)]
    assert await paths(library, school.stu, paper) == everywhere(True)
    for caller in (school.tom, school.rev, school.out):
        assert await paths(library, caller, paper) == everywhere(False)

    await school.act(school.tea, made, "submit")
    assert await paths(library, school.rev, paper) == everywhere(True)  # audits in that school, and the project is in review
    assert await paths(library, school.tom, paper) == everywhere(False)
    await school.decide(made, "approve")
    hidden = (await school.tom.get(f"{at}/attachments")).result["items"]
    assert [(one["title"], one["readable"]) for one in hidden] == [("", False)]
    assert await paths(library, school.tom, paper) == everywhere(False)

    await school.tea.patch(at, {})
    await school.max.delete(f"{at}/attachments?document_id={paper}")
    assert await paths(library, school.stu, paper) == everywhere(False)


@pytest.mark.gen_test(timeout=180)
async def test_who_was_asked_to_audit_or_to_review_reads_and_no_longer_once_declined(
    school: School, library: Library, ctx: Context
) -> None:
    paper = await library.as_caller(school.tea).ready([LINE], visibility="private")
    made = await school.propose(school.tea)
    await school.tea.post(f"/api/projects/{made['id']}/attachments", {"document_id": paper})
    await school.act(school.tea, made, "submit")
    tom, out, now = await school.user_id("tom"), await school.user_id("out"), ctx.clock.now()

    def assign(connection: sa.Connection) -> None:
        row: dict[str, Any] = {"round_id": 1, "project_id": made["id"], "reviewer_id": tom, "state": "assigned", "scores": {}}
        connection.execute(reviews.insert().values(**row, assigned_at=now))
        step = {"project_id": made["id"], "passage": 9, "step": 0, "name": "x", "mode": "any", "state": "open"}
        key = connection.execute(audits.insert().values(**step, organization_id=school.id, opened_at=now)).inserted_primary_key
        assert key
        connection.execute(audit_reviewers.insert().values(audit_id=key[0], user_id=out))

    await ctx.sql.write(assign)
    assert await paths(library, school.tom, paper) == everywhere(True)
    assert await paths(library, school.out, paper) == everywhere(True)
    await ctx.sql.write(lambda connection: connection.execute(reviews.update().values(state="declined")))
    assert await paths(library, school.tom, paper) == everywhere(False)


@pytest.mark.gen_test(timeout=180)
async def test_a_document_is_not_passed_on_by_who_sees_it_through_a_project_alone(school: School, library: Library) -> None:
    paper = await library.as_caller(school.tea).ready([LINE], visibility="private")
    made = await school.propose(school.tea)
    await school.tea.post(f"/api/projects/{made['id']}/attachments", {"document_id": paper})
    await school.tea.post(f"/api/projects/{made['id']}/members", {"username": "tom"})
    assert (await school.tom.get(f"/api/documents/{paper}")).status == 200
    other = await school.propose(school.tom)
    refused = await school.tom.post(f"/api/projects/{other['id']}/attachments", {"document_id": paper})
    assert refused.fields == ["document_id"]
    assert (await school.tom.delete(f"/api/documents/{paper}")).status == 403
    assert (await school.tom.patch(f"/api/documents/{paper}", {"visibility": "public"})).status == 403
    assert (await school.out.post(f"/api/projects/{other['id']}/attachments", {"document_id": paper})).status == 404
    assert (await school.tea.delete(f"/api/projects/{made['id']}/attachments?document_id=999")).type == "attachment_not_found"
