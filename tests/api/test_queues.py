"""Queues as people see them: figures, instances, concurrency, all of a kind at once, and what tasks logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs.registry import Job, Work
from jobs.worker import QueueWorker
from server.context import Context
from server.platform import tasks
from server.platform.inspecting import QueueAtWork, Workers, WorkerSeen
from server.platform.queue_telling import QueueFigures, QueueTelling
from server.platform.tables import audit_log, queue_settings
from server.platform.tables import tasks as table
from server.platform.task_logs import MOST_LINES
from server.platform.tasks import Queue, TaskQueued
from tests.api.client import Api
from tests.api.module import until
from tests.api.people import user

log = logging.getLogger("jobs.of_the_test")
log.setLevel(logging.INFO)


async def put(ctx: Context, number: int = 1, kind: str = "k", queue: Queue = Queue.MAIL, **more: Any) -> list[str]:
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> list[str]:
        made = [tasks.enqueue(connection, queue, kind, {}, now=now, **more) for _ in range(number)]
        return [one for one in made if one is not None]

    made = await ctx.sql.write(transaction)
    await ctx.events.publish(TaskQueued(queue.value))
    return made


async def states(ctx: Context) -> dict[str, str]:
    rows = await ctx.sql.read(lambda connection: connection.execute(sa.select(table.c.id, table.c.state)).all())
    return {row.id: row.state for row in rows}


async def die(ctx: Context, queue: Queue = Queue.MAIL) -> None:
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        for task in tasks.claim(connection, queue.value, 1000, owner="me", now=now, lease=timedelta(minutes=1)):
            tasks.fail(connection, task, "me", "broken", now, retry_at=None)

    await ctx.sql.write(transaction)


@asynccontextmanager
async def working(
    ctx: Context, function: Callable[..., Awaitable[Any]], *, concurrency: int = 4, **policy: Any
) -> AsyncIterator[QueueWorker]:
    """A worker on the mail queue whose tasks of kind `k` are this function."""
    worker = QueueWorker(ctx, {"k": Job(kind="k", queue=Queue.MAIL, function=function, **policy)}, Queue.MAIL, concurrency=concurrency)
    worker.start()
    try:
        yield worker
    finally:
        await worker.stop(0)


async def noop(ctx: Context) -> None:
    pass


@pytest.mark.gen_test(timeout=30)
async def test_many_short_tasks_are_each_done_once(ctx: Context) -> None:
    done: dict[str, int] = {}

    async def count(ctx: Context, number: str) -> str:
        done[number] = done.get(number, 0) + 1
        return number

    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        for number in range(1500):
            tasks.enqueue(connection, Queue.MAIL, "k", {"number": str(number)}, now=now)

    await ctx.sql.write(transaction)
    async with working(ctx, count):

        async def over() -> bool:
            return set((await states(ctx)).values()) == {"succeeded"}

        await until(over, timeout_s=20)
    assert done == {str(number): 1 for number in range(1500)}
    rows = await ctx.sql.read(lambda connection: connection.execute(sa.select(table.c.payload, table.c.result, table.c.attempts)).all())
    assert all(row.result == row.payload["number"] and row.attempts == 1 for row in rows)


@pytest.mark.gen_test(timeout=30)
async def test_what_was_claimed_ahead_is_handed_back_when_the_worker_stops(ctx: Context) -> None:
    gate, begun = asyncio.Event(), 0

    async def short_then_long(ctx: Context) -> None:
        nonlocal begun
        begun += 1
        if begun > 200:
            await gate.wait()

    await put(ctx, 600)
    async with working(ctx, short_then_long, resumable=True) as worker:

        async def held() -> bool:
            return worker.running == 4 and begun == 204

        await until(held)
        assert "running" in (await states(ctx)).values()
    found = list((await states(ctx)).values())
    assert (found.count("succeeded"), found.count("queued")) == (200, 400)
    attempts = await ctx.sql.read(lambda connection: set(connection.execute(sa.select(table.c.attempts)).scalars()))
    assert attempts == {0, 1}


@pytest.mark.gen_test(timeout=30)
async def test_a_last_try_is_not_claimed_ahead(ctx: Context) -> None:
    await put(ctx, 5, max_attempts=1)
    await put(ctx, 5, max_attempts=3)
    now = ctx.clock.now() + timedelta(seconds=1)
    claimed = await ctx.sql.write(
        lambda connection: tasks.claim(connection, "mail", 2, owner="me", now=now, lease=timedelta(minutes=1), ahead=8)
    )
    assert sorted(task.max_attempts for task in claimed) in ([1, 1, 3, 3, 3, 3, 3], [1, 1, 3, 3, 3])


@pytest.mark.gen_test(timeout=30)
async def test_a_result_that_cannot_be_stored_harms_no_other(ctx: Context) -> None:
    async def odd(ctx: Context, number: int) -> Any:
        return object() if number == 3 else number

    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        for number in range(6):
            tasks.enqueue(connection, Queue.MAIL, "k", {"number": number}, now=now)

    await ctx.sql.write(transaction)
    async with working(ctx, odd):

        async def over() -> bool:
            return sorted((await states(ctx)).values()) == ["dead", *5 * ["succeeded"]]

        await until(over)
    dead = await ctx.sql.read(lambda connection: connection.execute(sa.select(table).where(table.c.state == "dead")).one())
    assert dead.payload == {"number": 3}
    assert "cannot be stored" in dead.error


@pytest.mark.gen_test(timeout=30)
async def test_a_running_task_is_cancelled(api: Api, ctx: Context) -> None:
    async def wait(ctx: Context) -> None:
        await asyncio.Event().wait()

    [task_id] = await put(ctx)
    async with working(ctx, wait) as worker:
        await until(lambda: _true(worker.running == 1))
        assert (await api.post("/api/tasks/cancel", {"kind": "k"})).result == {"count": 1}
        await until(lambda: _state(ctx, task_id, "cancelled"))
        assert worker.running == 0


async def _true(value: bool) -> bool:
    return value


async def _state(ctx: Context, task_id: str, state: str) -> bool:
    return (await states(ctx))[task_id] == state


@pytest.mark.gen_test(timeout=30)
async def test_concurrency_is_changed_while_running_and_kept(api: Api, ctx: Context) -> None:
    gate = asyncio.Event()

    async def wait(ctx: Context) -> None:
        await gate.wait()

    await put(ctx, 6)
    async with working(ctx, wait, concurrency=2) as worker:
        await until(lambda: _true(worker.running == 2))
        changed = (await api.patch("/api/queues/mail", {"concurrency": 5})).result
        assert (changed["queue"], changed["concurrency"], changed["default"]) == ("mail", 5, 4)
        await until(lambda: _true(worker.running == 5))
        assert (await api.patch("/api/queues/mail", {"concurrency": 1})).result["concurrency"] == 1
        assert worker.running == 5, "what has begun goes on"
        gate.set()
        await until(lambda: _true(worker.running == 0))
    async with working(ctx, wait, concurrency=2) as again:
        await until(lambda: _true(again.concurrency == 1))
    for wrong in (0, 65, "many"):
        assert (await api.patch("/api/queues/mail", {"concurrency": wrong})).fields == ["concurrency"]
    assert (await api.patch("/api/queues/none", {"concurrency": 1})).type == "queue_not_found"
    rows = await ctx.sql.read(lambda connection: connection.execute(sa.select(queue_settings)).all())
    assert [(row.queue, row.concurrency) for row in rows] == [("mail", 1)]
    noted = sa.select(audit_log).where(audit_log.c.action == "queue.update")
    assert len(await ctx.sql.read(lambda connection: connection.execute(noted).all())) == 2


@pytest.mark.gen_test(timeout=30)
async def test_what_a_job_logs_is_kept_with_its_task(api: Api, ctx: Context) -> None:
    async def talk(ctx: Context, work: Work) -> None:
        log.info("attempt %d of %d, password=hunter22", work.attempt, work.max_attempts)
        await asyncio.to_thread(log.warning, "from a thread")
        try:
            raise ValueError("broken")
        except ValueError:
            log.exception("it went wrong")

    log.info("nobody's task")
    [task_id, other] = await put(ctx, 2)
    async with working(ctx, talk):
        await until(lambda: _state(ctx, task_id, "succeeded"))
        await until(lambda: _state(ctx, other, "succeeded"))
    kept = (await api.get(f"/api/tasks/{task_id}/log")).result
    assert [(line["level"], line["logger"]) for line in kept["lines"]] == [
        ("INFO", log.name),
        ("WARNING", log.name),
        ("ERROR", log.name),
    ]
    first, second, third = (line["message"] for line in kept["lines"])
    assert first.startswith("attempt 1 of 5")
    assert "hunter22" not in first
    assert second == "from a thread"
    assert "ValueError: broken" in third
    assert (await api.get(f"/api/tasks/{'0' * 32}/log")).type == "task_not_found"


@pytest.mark.gen_test(timeout=30)
async def test_a_log_is_bounded(api: Api, ctx: Context) -> None:
    async def chatter(ctx: Context) -> None:
        for number in range(MOST_LINES + 70):
            log.info("line %d", number)
            if number % 50 == 0:
                await asyncio.sleep(0)

    [task_id] = await put(ctx)
    async with working(ctx, chatter):
        await until(lambda: _state(ctx, task_id, "succeeded"))
    kept = (await api.get(f"/api/tasks/{task_id}/log")).result
    assert (len(kept["lines"]), kept["dropped"]) == (MOST_LINES, 70)
    assert kept["lines"][-1]["message"] == f"line {MOST_LINES + 69}"


@pytest.mark.gen_test
async def test_all_of_a_kind_are_retried_and_cancelled(api: Api, ctx: Context) -> None:
    dead = await put(ctx, 1100)
    await die(ctx)
    await die(ctx)
    others = await put(ctx, 3, kind="other")
    await die(ctx)
    assert (await api.post("/api/tasks/retry", {"kind": "k", "state": "dead"})).result == {"count": 1100}
    found = await states(ctx)
    assert {found[one] for one in dead} == {"queued"}
    assert {found[one] for one in others} == {"dead"}
    assert (await api.post("/api/tasks/retry", {"queue": "documents"})).result == {"count": 0}
    assert (await api.post("/api/tasks/retry", {"queue": "mail"})).result == {"count": 3}
    assert (await api.post("/api/tasks/cancel", {"kind": "k"})).result == {"count": 1100}
    assert (await api.post("/api/tasks/cancel", {"kind": "k"})).result == {"count": 0}
    assert (await api.post("/api/tasks/retry", {"kind": "k", "state": "cancelled"})).result == {"count": 1100}
    for path, body, field in (
        ("retry", {"state": "queued"}, "state"),
        ("cancel", {"state": "dead"}, "state"),
        ("retry", {"queue": "none"}, "queue"),
        ("cancel", {"more": 1}, "more"),
    ):
        assert (await api.post(f"/api/tasks/{path}", body)).fields == [field]
    noted = sa.select(audit_log.c.detail).where(audit_log.c.action == "task.retry_all").order_by(audit_log.c.id)
    details = await ctx.sql.read(lambda connection: list(connection.execute(noted).scalars()))
    assert details[0] == {"count": 1100, "kind": "k", "state": "dead"}


@pytest.mark.gen_test
async def test_an_inspection(api: Api, ctx: Context) -> None:
    await put(ctx, 2)
    await die(ctx)
    now = ctx.clock.now()
    [later] = await put(ctx, run_at=now + timedelta(hours=1))
    [due] = await put(ctx, run_at=now - timedelta(seconds=90))
    [active] = await put(ctx, queue=Queue.DOCUMENTS)
    await ctx.sql.write(
        lambda connection: tasks.claim(connection, "documents", 1, owner="elsewhere", now=ctx.clock.now(), lease=timedelta(minutes=1))
    )
    ctx.services.get(Workers).start([QueueWorker(ctx, {}, Queue.MAIL, concurrency=4)])
    await ctx.events.publish(WorkerSeen("elsewhere", (QueueAtWork("mail", 7, 3),)))
    seen = (await api.get("/api/tasks/inspect")).result
    kinds = {kind["kind"]: kind for kind in seen["kinds"]}
    assert (kinds["maintenance.clean_up"]["queue"], kinds["maintenance.clean_up"]["max_attempts"]) == ("maintenance", 3)
    assert [(task["id"], task["instance"], task["attempt"]) for task in seen["active"]] == [(active, "elsewhere", 1)]
    assert [task["id"] for task in seen["scheduled"]] == [later]
    assert [task["id"] for task in seen["reserved"]] == [due]
    assert [task["error"] for task in seen["dead"]] == ["broken", "broken"]
    queues = {queue["queue"]: queue for queue in seen["queues"]}
    mail = queues["mail"]
    assert (mail["active"], mail["scheduled"], mail["reserved"], mail["dead"]) == (0, 1, 1, 2)
    assert mail["oldest_s"] >= 90
    assert (mail["per_minute_5"], mail["per_minute_60"], mail["error_rate"]) == (0.4, 0.03, 1.0)
    assert (mail["concurrency"], mail["default"]) == (4, 4)
    assert queues["documents"]["active"] == 1
    workers = {worker["instance"]: worker["queues"] for worker in seen["workers"]}
    assert workers["elsewhere"] == [{"queue": "mail", "concurrency": 7, "running": 3}]
    assert workers[ctx.instance] == [{"queue": "mail", "concurrency": 4, "running": 0}]
    assert (await api.get("/api/queues")).result[0].keys() == mail.keys()


@pytest.mark.gen_test
async def test_who_may(ctx: Context, anonymous: Api) -> None:
    auditor = await user(ctx, anonymous, "auditor", "auditor")
    student = await user(ctx, anonymous, "student", "student")
    for path in ("/api/queues", "/api/tasks/inspect", f"/api/tasks/{'0' * 32}/log"):
        assert (await student.get(path)).status == 403
        assert (await auditor.get(path)).status in (200, 404)
    assert (await auditor.patch("/api/queues/mail", {"concurrency": 2})).status == 403
    assert (await auditor.post("/api/tasks/retry", {})).status == 403
    assert (await auditor.post("/api/tasks/cancel", {})).status == 403


@pytest.mark.gen_test(timeout=30)
async def test_the_figures_are_told_while_somebody_follows_them(ctx: Context) -> None:
    told: list[QueueFigures] = []
    is_followed = True
    telling = QueueTelling(ctx, told.append, lambda: is_followed)
    telling.begin()
    telling.begin()
    await until(lambda: _true(len(told) == 1))
    await put(ctx, 2)
    await until(lambda: _true(len(told) > 1))
    assert next(queue.reserved for queue in told[-1].queues if queue.queue == "mail") == 2
    is_followed = False
    assert telling._task is not None
    await asyncio.wait_for(telling._task, 10)
