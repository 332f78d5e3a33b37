"""Evaluation sets: make, fill, rename, remove; who may; what a question must be; and runs that wait."""

from __future__ import annotations

from typing import Any

import pytest

from server.clock import Clock
from server.context import Context
from server.knowledge import evaluation_runs
from server.platform.tasks import Queue
from tests.api.client import Api
from tests.api.people import organization, user
from tests.api.test_tags import put_document

MISSING_RUN = "/api/evaluation-runs/" + 32 * "0"


async def create(api: Api, name: str = "manual", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = (await api.post("/api/evaluations", {"name": name, **more})).result
    return made


def question(document_id: int, *pages: int, text: str = "防火墙怎么配置", **more: Any) -> dict[str, Any]:
    return {"question": text, "expected": [{"document_id": document_id, "pages": list(pages)}], **more}


@pytest.mark.gen_test
async def test_a_set_is_made_filled_renamed_and_removed(api: Api, ctx: Context) -> None:
    document_id = await put_document(ctx, title="手册", pages=9)
    made = await create(api, " manual ")
    address = f"/api/evaluations/{made['id']}"
    assert (made["name"], made["organization_id"], made["questions"], made["may_change"]) == ("manual", 1, 0, True)
    asked = [question(document_id, 3, 2, 3, kind="headings"), question(document_id, 9, text="mail transport")]
    put = (await api.put(f"{address}/questions", {"questions": asked})).result
    assert put == (await api.get(f"{address}/questions")).result
    assert [(one["question"], one["kind"]) for one in put] == [("防火墙怎么配置", "headings"), ("mail transport", "")]
    assert put[0]["expected"] == [{"document_id": document_id, "pages": [2, 3], "title": "手册"}]
    assert (await api.get(address)).result["questions"] == 2
    assert (await api.put(f"{address}/questions", {"questions": asked[1:]})).result[0]["question"] == "mail transport"
    assert (await api.patch(address, {"name": "other"})).result["name"] == "other"
    assert [one["name"] for one in (await api.get("/api/evaluations?q=oth")).result["items"]] == ["other"]
    assert (await api.delete(address)).status == 200
    answer = await api.get(f"{address}/questions")
    assert (answer.status, answer.type) == (404, "evaluation_not_found")


@pytest.mark.gen_test
async def test_a_name_is_one_set_in_an_organization(api: Api, ctx: Context) -> None:
    await create(api)
    assert list((await api.post("/api/evaluations", {"name": "manual"})).fields) == ["name"]
    assert (await create(api, organization_id=await organization(ctx, "school")))["name"] == "manual"
    second = await create(api, "second")
    assert (await api.patch(f"/api/evaluations/{second['id']}", {"name": "manual"})).status == 422


@pytest.mark.gen_test
async def test_who_may_what(api: Api, anonymous: Api, ctx: Context) -> None:
    school, other = await organization(ctx, "school"), await organization(ctx, "other")
    own, foreign = await create(api, organization_id=school), await create(api, organization_id=other)
    student = await user(ctx, anonymous, "student", "student", school)
    manager = await user(ctx, anonymous, "manager", "organization_admin", school)
    address, hidden = f"/api/evaluations/{own['id']}", f"/api/evaluations/{foreign['id']}"
    assert [one["id"] for one in (await student.get("/api/evaluations")).result["items"]] == [own["id"]]
    assert (await student.get(f"{address}/runs")).result["total"] == 0
    for refused in (
        student.post("/api/evaluations", {"name": "x"}),
        student.patch(address, {"name": "x"}),
        student.put(f"{address}/questions", {"questions": []}),
        student.post(f"{address}/run"),
        student.delete(address),
        manager.post("/api/evaluations", {"name": "x", "organization_id": other}),
    ):
        assert (await refused).status == 403
    for refused in (
        manager.get(hidden),
        manager.get(f"{hidden}/questions"),
        manager.get(f"{hidden}/runs"),
        manager.put(f"{hidden}/questions", {"questions": []}),
        manager.post(f"{hidden}/run"),
        manager.delete(hidden),
        manager.get(MISSING_RUN),
    ):
        assert (await refused).status == 404
    assert (await manager.patch(address, {"name": "x"})).result["name"] == "x"


@pytest.mark.gen_test
async def test_titles_that_a_caller_may_not_see_are_not_told(api: Api, anonymous: Api, ctx: Context) -> None:
    school = await organization(ctx, "school")
    document_id = await put_document(ctx, title="secret plan", organization_id=1, visibility="public", pages=3)
    made = await create(api, organization_id=school)
    address = f"/api/evaluations/{made['id']}/questions"
    assert (await api.put(address, {"questions": [question(document_id, 1)]})).status == 200
    student = await user(ctx, anonymous, "student", "student", school)
    assert (await student.get(address)).result[0]["expected"][0]["title"] == "secret plan"
    await api.patch(f"/api/documents/{document_id}", {"visibility": "private"})
    assert (await student.get(address)).result[0]["expected"] == [{"document_id": document_id, "pages": [1], "title": None}]


@pytest.mark.gen_test
async def test_only_what_readers_can_find_is_expected(api: Api, ctx: Context) -> None:
    private = await put_document(ctx, visibility="private", owner_id=1)
    elsewhere = await put_document(ctx, organization_id=await organization(ctx, "other"))
    school = await organization(ctx, "school")
    made = await create(api, organization_id=school)
    for document_id in (private, elsewhere, 99_999):
        answer = await api.put(f"/api/evaluations/{made['id']}/questions", {"questions": [question(document_id, 1)]})
        assert (answer.status, list(answer.fields)) == (422, ["questions"])
        assert str(document_id) in answer.envelope["error"]["fields"]["questions"][0]


@pytest.mark.gen_test
async def test_what_a_question_must_be(api: Api, ctx: Context) -> None:
    document_id = await put_document(ctx, pages=9)
    address = f"/api/evaluations/{(await create(api))['id']}/questions"
    wrong = [
        {**question(document_id, 1), "question": " "},
        {**question(document_id, 1), "question": 1001 * "x"},
        question(document_id),
        question(document_id, 0),
        question(document_id, 10),
        {**question(document_id, 1), "expected": []},
        {**question(document_id, 1), "kind": 65 * "x"},
        {**question(document_id, 1), "answer": "x"},
        {"question": "x"},
    ]
    for one in wrong:
        answer = await api.put(address, {"questions": [one]})
        assert answer.status == 422, one
        assert answer.fields, one
    assert (await api.put(address, {"questions": [question(document_id, 1)] * 1001})).status == 422
    assert (await api.get(address)).result == []


@pytest.mark.gen_test
async def test_a_run_waits_for_its_task_and_there_is_one_at_a_time(api: Api, ctx: Context) -> None:
    made = await create(api)
    address = f"/api/evaluations/{made['id']}"
    empty = await api.post(f"{address}/run")
    assert (empty.status, empty.type) == (409, "evaluation_empty")
    document_id = await put_document(ctx, pages=9)
    await api.put(f"{address}/questions", {"questions": [question(document_id, 1)]})
    started = await api.post(f"{address}/run")
    assert (started.status, started.result["state"], started.result["figures"]) == (202, "queued", None)
    again = await api.post(f"{address}/run")
    assert (again.status, again.type) == (409, "evaluation_running")
    task = (await api.get(f"/api/tasks/{started.result['task_id']}")).result
    assert (task["kind"], task["queue"], task["payload"]) == ("run_evaluation", Queue.MAINTENANCE, {"run_id": started.result["id"]})
    assert (await api.get(f"/api/evaluation-runs/{started.result['id']}")).result["state"] == "queued"


@pytest.mark.gen_test
async def test_a_run_whose_task_is_cancelled_has_failed_and_another_may_start(api: Api, ctx: Context) -> None:
    made = await create(api)
    document_id = await put_document(ctx, pages=9)
    await api.put(f"/api/evaluations/{made['id']}/questions", {"questions": [question(document_id, 1)]})
    started = (await api.post(f"/api/evaluations/{made['id']}/run")).result
    assert (await api.post(f"/api/tasks/{started['task_id']}/cancel")).status == 200
    [shown] = (await api.get(f"/api/evaluations/{made['id']}/runs")).result["items"]
    assert (shown["state"], shown["error"], shown["ended_at"] is None) == ("failed", "任务被取消或中断。", False)
    assert (await api.post(f"/api/evaluations/{made['id']}/run")).status == 202


@pytest.mark.gen_test
async def test_with_nothing_indexed_a_run_fails_and_says_so(api: Api, ctx: Context, clock: Clock) -> None:
    made = await create(api)
    document_id = await put_document(ctx, pages=9)
    await api.put(f"/api/evaluations/{made['id']}/questions", {"questions": [question(document_id, 1)]})
    started = (await api.post(f"/api/evaluations/{made['id']}/run")).result

    async def report(_percent: int, _message: str) -> None: ...

    await evaluation_runs.carry_out(ctx, started["id"], report, last_try=False)
    run = (await api.get(f"/api/evaluation-runs/{started['id']}", headers={"Accept-Language": "en"})).result
    assert (run["state"], run["error"]) == ("failed", "No document can be searched yet.")
    assert "skipped" in await evaluation_runs.carry_out(ctx, started["id"], report, last_try=False)
