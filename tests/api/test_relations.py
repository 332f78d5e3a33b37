"""Every relation to a thing of an organization, here, below, above and beside: modules, workflows, runs, sheets, live topics."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tornado.httpclient import HTTPRequest

from server.context import Context
from server.dispatch.events import RunChanged
from server.dispatch.tables import modules
from server.knowledge.statuses import DocumentChanged
from server.knowledge.tables import documents
from server.platform.tasks import TaskChanged
from server.scopes import SYSTEM_ROLES
from tests.api.client import Api
from tests.api.people import user
from tests.api.test_authorization import ABOVE, BELOW, BESIDE, HERE, a_document, a_user, tree
from tests.api.test_live_events import browser
from tests.api.test_user_import import download

REACHED = {HERE, BELOW}


class Work(msgspec.Struct):
    """A module, a workflow with it, and a run of that; all in one organization."""

    module: str
    workflow: int
    uid: str
    schedule: int
    run: str
    step: str


async def work_in(api: Api, ctx: Context, relation: str, organization_id: int) -> Work:
    module = (await api.post("/module/register", {"name": f"module {relation}", "modelHash": "1"})).result["hash"]
    belongs = modules.update().where(modules.c.hash == module).values(organization_id=organization_id)
    await ctx.sql.write(lambda connection: connection.execute(belongs))
    body = {"name": f"workflow {relation}", "execute_modules": [{"module_hash": module}], "organization_id": organization_id}
    made = (await api.post("/workflow/create", body)).result
    run = (await api.post(f"/workflow/{made['id']}/execute", {})).result["run_id"]
    step = (await api.get(f"/run/{run}")).result["steps"][0]["id"]
    [schedule] = [one["id"] for one in (await api.get("/scheduler/jobs")).result if one["workflow_id"] == made["workflow_id"]]
    return Work(module, made["id"], made["workflow_id"], schedule, run, step)


async def work_everywhere(api: Api, ctx: Context, places: Mapping[str, int]) -> dict[str, Work]:
    return {relation: await work_in(api, ctx, relation, place) for relation, place in places.items()}


@pytest.mark.gen_test(timeout=120)
async def test_an_operator_reaches_modules_workflows_runs_and_their_schedules(api: Api, anonymous: Api, ctx: Context) -> None:
    places = await tree(ctx)
    works = await work_everywhere(api, ctx, places)
    operator = await user(ctx, anonymous, "operator", "operator", places[HERE])
    seen = [works[relation] for relation in REACHED]
    lists: list[tuple[str, str, set[Any]]] = [
        ("/module/list", "hash", {one.module for one in seen}),
        ("/workflow/list", "id", {one.workflow for one in seen}),
        ("/scheduler/jobs", "workflow_id", {one.uid for one in seen}),
    ]
    for path, name, expected in lists:
        assert {one[name] for one in (await operator.get(path)).result} == expected, path
    for relation, work in works.items():
        workflow, run = f"/workflow/{work.workflow}", f"/run/{work.run}"
        draft = {"name": f"workflow {relation}", "execute_modules": [{"module_hash": work.module}], "organization_id": places[relation]}
        asked: list[tuple[str, str, Any]] = [
            ("GET", f"/module/{work.module}", None),
            ("PATCH", f"/module/{work.module}", {"description": "changed"}),
            ("GET", workflow, None),
            ("GET", f"/workflow/{work.uid}", None),
            ("PUT", workflow, draft),
            ("POST", f"{workflow}/disable", {}),
            ("POST", f"{workflow}/enable", {}),
            ("GET", f"{workflow}/fires", None),
            ("GET", f"{workflow}/runs", None),
            ("POST", "/workflow/preview", {**draft, "id": work.workflow}),
            ("GET", run, None),
            ("GET", f"{run}/logs?step_id={work.step}", None),
            ("PATCH", f"/scheduler/jobs/{work.schedule}", {"enabled": True}),
            ("POST", f"{run}/cancel", {}),
            ("POST", f"{run}/retry", {}),
            ("POST", f"{workflow}/execute", {}),
        ]
        for method, path, body in asked:
            answer = await (operator.request(method, path, body) if body is not None else operator.request(method, path))
            if relation in REACHED:
                assert answer.status < 300, f"{method} {path}: {relation} {answer!r}"
            else:
                assert answer.status == 404, f"{method} {path}: {relation} {answer!r}"
        if relation not in REACHED:
            refused = await operator.post("/workflow/create", {**draft, "name": "mine"})
            assert (refused.status, refused.type) == (403, "forbidden"), f"a workflow put there: {relation}"
            assert (await operator.delete(f"/module/{work.module}")).status == 404
            assert (await operator.delete(workflow)).status == 404


@pytest.mark.gen_test(timeout=120)
@pytest.mark.parametrize("role", sorted(SYSTEM_ROLES))
async def test_a_run_is_seen_by_the_roles_that_read_workflows_where_they_hold(api: Api, anonymous: Api, ctx: Context, role: str) -> None:
    places = await tree(ctx)
    works = await work_everywhere(api, ctx, places)
    caller = await user(ctx, anonymous, role, role, places[HERE])
    reads, runs = ("workflows:read" in SYSTEM_ROLES[role]), ("workflows:run" in SYSTEM_ROLES[role])
    for relation, work in works.items():
        for path in (f"/run/{work.run}", f"/run/{work.run}/logs?step_id={work.step}", f"/workflow/{work.workflow}/runs"):
            expected = (200 if relation in REACHED else 404) if reads else 403
            assert (await caller.get(path)).status == expected, f"{role}: {path} {relation}"
        expected = (200 if relation in REACHED else 404) if runs else 403
        assert (await caller.post(f"/run/{work.run}/cancel", {})).status == expected, f"{role}: cancel {relation}"


@pytest.mark.gen_test(timeout=60)
async def test_a_sheet_of_users_holds_those_whom_the_list_shows(api: Api, anonymous: Api, ctx: Context) -> None:
    places = await tree(ctx)
    for place in places.values():
        await a_user(ctx, place)
    head = await user(ctx, anonymous, "head", "organization_admin", places[HERE])
    expected = {f"somebody-{places[relation]}" for relation in REACHED} | {"head"}
    for query in ("", *(f"?organization_id={place}" for place in places.values())):
        header, *rows = await download(head, f"/api/users/export.xlsx{query}")
        listed = {one["username"] for one in (await head.get(f"/api/users{query}")).result["items"]}
        assert {row[header.index("用户名")] for row in rows} == listed
        assert listed <= expected
    assert {row[0] for row in (await download(api, "/api/users/export.xlsx"))[1:]} >= expected | {"admin", f"somebody-{places[BESIDE]}"}


@pytest.mark.gen_test(timeout=60)
async def test_the_audit_log_belongs_to_no_organization(api: Api, anonymous: Api, ctx: Context) -> None:
    places = await tree(ctx)
    there = await user(ctx, anonymous, "auditor-there", "auditor", places[HERE])
    everywhere = await user(ctx, anonymous, "auditor", "auditor")
    for path in ("/api/audit-log", "/api/audit-log/export.csv", "/api/audit-log/verify"):
        assert (await there.get(path)).status == 403, path
    assert (await everywhere.get("/api/audit-log")).result["total"] > 0
    request = HTTPRequest(f"{api.base_url}/api/audit-log/export.csv", headers={"Authorization": f"Bearer {everywhere.token}"})
    rows = list(csv.reader(io.StringIO((await api.client.fetch(request)).body.decode("utf-8-sig"))))
    assert len(rows) > 1


@pytest.mark.gen_test(timeout=120)
async def test_live_topics_tell_of_what_is_reached_and_of_nothing_else(api: Api, anonymous: Api, ctx: Context) -> None:
    places = await tree(ctx)
    works = await work_everywhere(api, ctx, places)
    papers = {relation: await a_document(ctx, place) for relation, place in places.items()}
    tasks = {relation: f"{number:032x}" for number, relation in enumerate(places, start=1)}
    for relation, number in papers.items():
        change = documents.update().where(documents.c.id == number).values(task_id=tasks[relation])
        await ctx.sql.write(lambda connection, change=change: connection.execute(change))
    topics = {relation: [f"document:{papers[relation]}", f"task:{tasks[relation]}", f"run:{works[relation].run}"] for relation in places}
    manager = await user(ctx, anonymous, "manager", "organization_admin", places[HERE])
    async with browser(manager) as socket:
        for relation, wanted in topics.items():
            said = "subscribed" if relation in REACHED else "refused"
            assert await socket.ask(*wanted) == [(topic, said) for topic in wanted], relation
        assert await socket.ask("runs", "modules") == [("runs", "refused"), ("modules", "refused")]
        for relation in (ABOVE, BESIDE, HERE, BELOW):
            await ctx.events.publish(DocumentChanged(papers[relation], "ready", 100, 1, 1))
            await ctx.events.publish(TaskChanged(tasks[relation], "succeeded", 100, ""))
            await ctx.events.publish(RunChanged(works[relation].run, works[relation].workflow, "succeeded"))
        # In the order in which they were published: what was not told before the last one is not told.
        heard = [(await socket.event())["topic"] for _ in range(2 * 3)]
        assert heard == topics[HERE] + topics[BELOW]
    student = await user(ctx, anonymous, "student", "student", places[HERE])
    async with browser(student) as socket:
        expected = {f"document:{papers[HERE]}", f"task:{tasks[HERE]}", f"document:{papers[BELOW]}", f"task:{tasks[BELOW]}"}
        wanted = [topic for group in topics.values() for topic in group]
        assert {topic for topic, said in await socket.ask(*wanted) if said == "subscribed"} == expected


@pytest.mark.gen_test(timeout=60)
async def test_a_move_of_an_organization_moves_what_is_reached(api: Api, anonymous: Api, ctx: Context) -> None:
    places = await tree(ctx)
    paper = await a_document(ctx, places[BELOW])
    manager = await user(ctx, anonymous, "manager", "organization_admin", places[HERE])
    assert (await manager.get(f"/api/documents/{paper}")).status == 200
    assert (await api.post(f"/api/organizations/{places[BELOW]}/move", {"parent_id": places[BESIDE]})).status == 200
    assert (await manager.get(f"/api/documents/{paper}")).status == 404
    left = await ctx.sql.read(lambda connection: connection.execute(sa.select(sa.func.count()).select_from(documents)).scalar())
    assert left == 1
