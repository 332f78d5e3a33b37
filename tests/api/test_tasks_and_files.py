"""The durable queues as people see them, and files by signed links."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from server.clock import HeldClock
from server.context import Context
from server.platform import file_links, tasks
from server.platform.tables import audit_log
from server.platform.tasks import Queue
from tests.api.client import Api

NOBODY = 32 * "0"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def put(ctx: Context, kind: str = "k", queue: Queue = Queue.MAIL, **more: Any) -> str:
    now = ctx.clock.now()
    made = await ctx.sql.write(lambda connection: tasks.enqueue(connection, queue, kind, {"run_id": "r"}, now=now, **more))
    assert made is not None
    return made


async def kill(ctx: Context, error: str = "100% broken") -> None:
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        for queue in Queue:
            for task in tasks.claim(connection, queue.value, 10, owner="me", now=now, lease=timedelta(minutes=1)):
                tasks.fail(connection, task, "me", error, now, retry_at=None)

    await ctx.sql.write(transaction)


@pytest.mark.gen_test
async def test_a_list_of_tasks(api: Api, ctx: Context, clock: HeldClock) -> None:
    ids = []
    for number in range(5):
        ids.append(await put(ctx, f"kind{number}", Queue.MAIL if number % 2 else Queue.DOCUMENTS))
        clock.advance(seconds=1)
    answer = (await api.get("/api/tasks")).result
    assert set(answer) == {"items", "total", "page", "page_size"}
    assert [task["id"] for task in answer["items"]] == ids[::-1]
    assert [task["id"] for task in (await api.get("/api/tasks?queue=mail&sort=created_at")).result["items"]] == [ids[1], ids[3]]
    assert (await api.get("/api/tasks?state=dead")).result["total"] == 0
    assert (await api.get("/api/tasks?kind=kind2")).result["total"] == 1
    await kill(ctx)
    assert (await api.get("/api/tasks?state=dead")).result["total"] == 5
    for q, total in [("KIND1", 1), ("%25", 5), ("_", 0), ("nothing", 0), ("100%25", 5), ("1%25b", 0)]:
        assert (await api.get(f"/api/tasks?q={q}")).result["total"] == total, q
    for wrong in ("queues=mail", "page=0", "page_size=201", "page_size=0", "page=-1", "page=99999999999999999999", "sort=payload", "q=%00"):
        assert (await api.get(f"/api/tasks?{wrong}")).fields == [wrong.partition("=")[0]], wrong


@pytest.mark.gen_test
async def test_a_dead_task_is_retried(api: Api, ctx: Context) -> None:
    task_id = await put(ctx)
    going = await api.post(f"/api/tasks/{task_id}/retry")
    assert (going.status, going.type) == (409, "task_state")
    await kill(ctx)
    dead = (await api.get(f"/api/tasks/{task_id}")).result
    assert (dead["state"], dead["error"], dead["attempts"], dead["payload"]) == ("dead", "100% broken", 1, {"run_id": "r"})
    again = (await api.post(f"/api/tasks/{task_id}/retry")).result
    assert (again["state"], again["error"], again["attempts"]) == ("queued", None, 0)


@pytest.mark.gen_test
async def test_a_queued_task_is_cancelled(api: Api, ctx: Context) -> None:
    task_id = await put(ctx)
    assert (await api.post(f"/api/tasks/{task_id}/cancel")).result["state"] == "cancelled"
    assert (await api.post(f"/api/tasks/{task_id}/cancel")).type == "task_state"
    assert (await api.post(f"/api/tasks/{task_id}/retry")).result["state"] == "queued"
    rows = await ctx.sql.read(lambda connection: connection.execute(sa.select(audit_log)).all())
    noted = [(row.actor, row.action) for row in rows if row.target == f"task:{task_id}"]
    assert noted == [("admin", "task.cancel"), ("admin", "task.retry")]


@pytest.mark.gen_test
async def test_an_unknown_task(api: Api) -> None:
    assert (await api.get(f"/api/tasks/{NOBODY}")).type == "task_not_found"
    for verb in ("retry", "cancel"):
        assert (await api.post(f"/api/tasks/{NOBODY}/{verb}")).type == "task_not_found"
    assert (await api.get("/api/tasks/x")).type == "route_not_found"


@pytest.mark.gen_test
async def test_the_figures_of_the_queues(api: Api, ctx: Context, clock: HeldClock) -> None:
    await put(ctx)
    await put(ctx, run_at=clock.now() + timedelta(hours=1))
    clock.advance(seconds=7)
    stats = {one["queue"]: one for one in (await api.get("/api/tasks/stats")).result}
    assert set(stats) == {queue.value for queue in Queue}
    assert stats["mail"] == {"queue": "mail", "active": 0, "scheduled": 1, "reserved": 1, "dead": 0, "oldest_s": 7.0, "ended_last_hour": 0}
    await kill(ctx)
    stats = {one["queue"]: one for one in (await api.get("/api/tasks/stats")).result}
    assert (stats["mail"]["dead"], stats["mail"]["ended_last_hour"], stats["mail"]["reserved"]) == (1, 1, 0)


async def link_to(ctx: Context, content: bytes) -> str:
    stored = await ctx.files.put(content)
    return file_links.sign(ctx, stored.sha256, now=ctx.clock.now()).partition("10080")[2]


@pytest.mark.gen_test
async def test_a_link_opens_its_file_for_a_week(anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    content = b"<script>alert(1)</script>" * 50_000
    link = await link_to(ctx, content)
    fetched = await anonymous.get(link)
    assert fetched.body == content
    assert fetched.headers["Content-Type"] == "application/octet-stream", "never shown as a page"
    assert fetched.headers["Content-Disposition"].startswith("attachment")
    assert fetched.headers["Content-Length"] == str(len(content))
    clock.advance(days=7, seconds=1)
    expired = await anonymous.get(link)
    assert (expired.status, expired.type) == (404, "file_not_found")


@pytest.mark.gen_test
async def test_a_changed_link_opens_nothing(anonymous: Api, ctx: Context) -> None:
    link, other = await link_to(ctx, b"one"), await link_to(ctx, b"two")
    path, _, query = link.partition("?")
    expires, signature = (part.partition("=")[2] for part in query.split("&"))
    changed = [
        path,
        f"{path}?expires={expires}",
        f"{path}?expires={int(expires) + 1}&signature={signature}",
        f"{path}?expires={expires}&signature={signature[:-1]}",
        f"{path}?expires={expires}&signature={signature[:-1]}%C3%A9",
        f"{path}?expires={expires}&signature=",
        f"{other.partition('?')[0]}?{query}",
        f"{path}?expires={expires}&signature={signature}x",
        f"/files/{64 * '0'}?{query}",
    ]
    for forged in changed:
        assert (await anonymous.get(forged)).type == "file_not_found", forged
    assert (await anonymous.get(f"{path}?expires=soon&signature={signature}")).fields == ["expires"]
    assert (await anonymous.get(f"{path}?{query}&download=1")).fields == ["download"]
    assert (await anonymous.get(f"/files/..%2f..%2fsecrets.json?{query}")).type == "route_not_found"
    assert (await anonymous.get(link)).body == b"one"


@pytest.mark.gen_test
async def test_a_signed_link_to_what_was_removed(anonymous: Api, ctx: Context) -> None:
    link = await link_to(ctx, b"one")
    await ctx.files.remove(link.partition("?")[0].rpartition("/")[2])
    assert (await anonymous.get(link)).type == "file_not_found"
