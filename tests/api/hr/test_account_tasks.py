"""/api/account-tasks: the list, the attempts, trying again and giving up."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from tornado.ioloop import IOLoop

from server.context import Context
from server.platform.tables import audit_log, notifications
from tests.api.client import Api
from tests.api.people import user
from tests.contract.target_sides import WebhookSide, receiver
from tests.hr_people import HrPeople, row
from tests.peers.http_peer import Answer, HttpPeer

__all__ = ["receiver"]


@pytest.fixture
def people(io_loop: IOLoop, ctx: Context) -> HrPeople:
    opened: HrPeople = io_loop.run_sync(HrPeople(ctx).open)
    return opened


@pytest.fixture
def hook(io_loop: IOLoop, people: HrPeople, receiver: HttpPeer) -> WebhookSide:
    side = WebhookSide(receiver)
    io_loop.run_sync(lambda: people.target("webhook", **side.settings))
    return side


async def listed(api: Api, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get(f"/api/account-tasks{query}")).result["items"]
    return found


@pytest.mark.gen_test(timeout=60)
async def test_a_dead_task_is_shown_told_of_and_tried_again(ctx: Context, api: Api, people: HrPeople, hook: WebhookSide) -> None:
    hook.peer.answer = lambda _request: Answer(422)
    await people.work(row(1), row(2))
    dead = await listed(api, "?state=dead&error_class=invalid&q=E00001")
    assert [(one["person"]["name"], one["target"]["kind"], one["operation"], one["error"]) for one in dead] == [
        ("Person 1", "webhook", "create", "HTTP 422")
    ]
    assert dead[0]["why"]
    one = (await api.get(f"/api/account-tasks/{dead[0]['id']}")).result
    assert one["desired"]["username"] == "E00001"
    assert [(tried["attempt"], tried["outcome"], tried["error_class"]) for tried in one["tried"]] == [(1, "failed", "invalid")]
    told = sa.select(sa.func.count()).select_from(notifications).where(notifications.c.kind == "account_task.dead")
    assert await ctx.sql.read(lambda connection: connection.execute(told).scalar_one()) == 1  # one for both
    hook.peer.answer = hook.take
    again = (await api.post(f"/api/account-tasks/{one['id']}/retry", {})).result
    assert (again["state"], again["attempts"], again["error_class"], again["why"]) == ("pending", 0, None, None)
    await people.process("webhook")
    assert (await api.get(f"/api/account-tasks/{one['id']}")).result["state"] == "succeeded"
    assert (await api.post(f"/api/account-tasks/{one['id']}/retry", {})).status == 409
    noted = sa.select(audit_log.c.action).where(audit_log.c.target == f"account_task:{one['id']}")
    assert await ctx.sql.read(lambda connection: connection.execute(noted).scalars().all()) == ["account_task.retry"]


@pytest.mark.gen_test(timeout=60)
async def test_all_of_a_kind_are_tried_again(api: Api, people: HrPeople, hook: WebhookSide) -> None:
    hook.peer.answer = lambda _request: Answer(422)
    await people.work(*(row(number) for number in range(5)))
    await people.say(row(0, name="Newer"))
    await people.derive()
    target = people.targets["webhook"]
    nothing = (await api.post("/api/account-tasks/retry", {"target_id": target, "error_class": "conflict"})).result
    assert nothing == {"retried": 0, "overtaken": 0}
    assert (await api.post("/api/account-tasks/retry", {"target_id": target, "operation": "create"})).result == {
        "retried": 4,
        "overtaken": 1,
    }
    hook.peer.answer = hook.take
    await people.process("webhook")
    assert len(hook.accounts) == 5
    (figures,) = (await api.get("/api/account-tasks/stats")).result
    assert (figures["states"]["succeeded"], figures["states"]["dead"], figures["dead"]) == (5, 1, {"invalid": 1})


@pytest.mark.gen_test(timeout=60)
async def test_a_task_that_a_later_one_overtook_is_not_tried_again(api: Api, people: HrPeople, hook: WebhookSide) -> None:
    hook.peer.answer = lambda _request: Answer(422)
    await people.work(row(1))
    await people.work(row(1, name="Newer"))
    (newer, older) = await listed(api)
    answer = await api.post(f"/api/account-tasks/{older['id']}/retry", {})
    assert (answer.status, answer.error["type"]) == (409, "account_task_overtaken")
    assert (await api.post(f"/api/account-tasks/{newer['id']}/retry", {})).status == 200


@pytest.mark.gen_test(timeout=60)
async def test_a_task_that_waits_is_given_up_and_taken_up_again(api: Api, people: HrPeople, hook: WebhookSide) -> None:
    await people.say(row(1))
    await people.derive()
    (waiting,) = await listed(api, "?state=pending")
    assert (await api.post(f"/api/account-tasks/{waiting['id']}/cancel", {})).result["state"] == "cancelled"
    await people.process("webhook")
    assert hook.accounts == {}
    assert (await api.post(f"/api/account-tasks/{waiting['id']}/cancel", {})).status == 409
    assert (await api.post(f"/api/account-tasks/{waiting['id']}/retry", {})).result["state"] == "pending"
    await people.process("webhook")
    assert set(hook.accounts) == {"E00001"}


@pytest.mark.gen_test(timeout=60)
async def test_only_those_who_may(ctx: Context, anonymous: Api, api: Api, people: HrPeople, hook: WebhookSide) -> None:
    hook.peer.answer = lambda _request: Answer(422)
    await people.work(row(1))
    (dead,) = await listed(api)
    teacher = await user(ctx, anonymous, "teacher", "teacher")
    auditor = await user(ctx, anonymous, "auditor", "auditor")
    assert (await teacher.get("/api/account-tasks")).status == 403
    assert (await auditor.get(f"/api/account-tasks/{dead['id']}")).status == 200
    for path in (f"/api/account-tasks/{dead['id']}/retry", f"/api/account-tasks/{dead['id']}/cancel", "/api/account-tasks/retry"):
        assert (await auditor.post(path, {})).status == 403
    assert (await api.get("/api/account-tasks/999999")).status == 404


@pytest.mark.gen_test(timeout=60)
async def test_nothing_secret_is_kept_or_shown(ctx: Context, api: Api, people: HrPeople, hook: WebhookSide) -> None:
    hook.peer.answer = lambda _request: Answer(401)
    await people.work(row(1))
    (task,) = await listed(api)
    said = (await api.get(f"/api/account-tasks/{task['id']}")).body.decode()
    assert hook.settings["secret"] not in said
    assert task["error_class"] == "refused"


@pytest.mark.gen_test(timeout=60)
async def test_the_rounds_of_the_schedule_queue_what_there_is_to_do(ctx: Context, api: Api, people: HrPeople, hook: WebhookSide) -> None:
    from server.people.hr import account_tasks, processing

    assert await account_tasks.derive_all(ctx) == {"sources": 0}
    await people.say(row(1))
    assert await account_tasks.derive_all(ctx) == {"sources": 1}
    assert await account_tasks.derive_all(ctx) == {"sources": 0}  # it waits already
    assert await processing.process_all(ctx) == {"targets": 0}
    await people.derive()
    queued = (await api.get("/api/tasks?kind=accounts.process")).result["items"]
    assert [one["payload"] for one in queued] == [{"target_id": people.targets["webhook"]}]


@pytest.mark.gen_test(timeout=60)
async def test_a_new_target_gets_everybody(people: HrPeople, hook: WebhookSide) -> None:
    from server.people.hr.account_tasks import derive_anew

    await people.work(row(1), row(2))
    await people.target("local")
    assert await people.derive() == 0
    now = people.ctx.clock.now()
    await people.ctx.sql.write(lambda connection: derive_anew(connection, now, people.source_id))
    assert await people.derive() == 2
    await people.process("local")
    assert {task.state for task in await people.tasks()} == {"succeeded"}
