"""The task queues as people see them."""

from __future__ import annotations

import pytest

from server.context import Context
from server.platform import tasks
from server.platform.tasks import Queue
from tests.api.client import Api


async def put(ctx: Context, kind: str, **more: object) -> str:
    task_id = await ctx.sql.write(lambda connection: tasks.enqueue(connection, Queue.MAIL, kind, {"n": 1}, now=ctx.clock.now()))
    assert task_id is not None
    return task_id


@pytest.mark.gen_test
async def test_tasks_are_listed_and_counted(api: Api, ctx: Context) -> None:
    first, second = await put(ctx, "one"), await put(ctx, "two")
    page = (await api.get("/api/tasks?queue=mail&state=queued&sort=kind")).result
    assert [task["id"] for task in page["items"]] == [first, second]
    assert (page["total"], page["page"], page["page_size"]) == (2, 1, 20)
    assert (await api.get("/api/tasks?kind=two")).result["total"] == 1
    assert (await api.get("/api/tasks?q=on")).result["total"] == 1
    stats = {one["queue"]: one for one in (await api.get("/api/tasks/stats")).result}
    assert set(stats) == {queue.value for queue in Queue}
    assert (stats["mail"]["reserved"], stats["mail"]["dead"]) == (2, 0)


@pytest.mark.gen_test
async def test_cancel_and_retry(api: Api, ctx: Context) -> None:
    task_id = await put(ctx, "one")
    assert (await api.post(f"/api/tasks/{task_id}/cancel")).result["state"] == "cancelled"
    again = await api.post(f"/api/tasks/{task_id}/cancel")
    assert (again.status, again.type) == (409, "task_state")
    assert (await api.post(f"/api/tasks/{task_id}/retry")).result["state"] == "queued"
    assert (await api.post(f"/api/tasks/{task_id}/retry")).status == 409
    missing = await api.post(f"/api/tasks/{'0' * 32}/retry")
    assert (missing.status, missing.type) == (404, "task_not_found")


@pytest.mark.gen_test
async def test_what_was_done_is_in_the_audit_log(api: Api, ctx: Context) -> None:
    import sqlalchemy as sa

    from server.platform.tables import audit_log

    task_id = await put(ctx, "one")
    await api.post(f"/api/tasks/{task_id}/cancel")
    found = await ctx.sql.read(lambda connection: connection.execute(sa.select(audit_log).where(audit_log.c.action == "task.cancel")).one())
    assert (found.actor, found.target) == ("admin", f"task:{task_id}")
