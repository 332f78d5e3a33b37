"""What goes wrong between us and a target: lost answers, servers in trouble, several workers, words that change meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from tornado.httputil import HTTPServerRequest

from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.http_exchange import HttpExchange
from server.people.hr.targets.webhook import WebhookTarget
from server.platform.tables import tasks
from tests.contract.target_sides import WebhookSide, people, receiver, scim_peer
from tests.hr_people import HrPeople, row
from tests.peers import scim_server
from tests.peers.http_peer import Answer, HttpPeer
from tests.peers.scim_server import ScimServer

__all__ = ["people", "receiver", "scim_peer"]


@pytest.fixture
def hook(receiver: HttpPeer) -> WebhookSide:
    return WebhookSide(receiver)


def in_turn(side: WebhookSide, *answers: Answer) -> Callable[[HTTPServerRequest], Answer]:
    """These answers first, then what the side says."""
    waiting = list(answers)
    return lambda request: waiting.pop(0) if waiting else side.take(request)


@pytest.mark.gen_test(timeout=60)
async def test_a_server_in_trouble_is_asked_again(people: HrPeople, hook: WebhookSide) -> None:
    await people.target("webhook", **hook.settings)
    hook.peer.answer = in_turn(hook, Answer(500), Answer(502))
    await people.work(row(1))
    task = await people.last_task()
    assert (task.state, task.error_class, task.error) == ("pending", "away", "HTTP 500")
    assert timedelta(seconds=10) < task.run_at - people.ctx.clock.now() < timedelta(seconds=31)
    for _ in range(2):
        await people.make_due()
        await people.process("webhook")
    task = await people.last_task()
    assert (task.state, task.attempts, task.error_class) == ("succeeded", 3, None)
    assert [tried.outcome for tried in await people.attempts()] == ["failed", "failed", "done"]


@pytest.mark.gen_test(timeout=60)
async def test_eight_tries_and_then_a_dead_letter(people: HrPeople, hook: WebhookSide) -> None:
    await people.target("webhook", **hook.settings)
    hook.peer.answer = lambda _request: Answer(500)
    await people.work(row(1))
    for _ in range(9):
        await people.make_due()
        await people.process("webhook")
    task = await people.last_task()
    assert (task.state, task.attempts, task.error_class) == ("dead", 8, "away")
    assert len(hook.peer.requests) == 8
    assert len({request.headers["Idempotency-Key"] for request in hook.peer.requests}) == 1


@pytest.mark.gen_test(timeout=60)
async def test_asked_to_come_later(people: HrPeople, hook: WebhookSide) -> None:
    await people.target("webhook", **hook.settings)
    hook.peer.answer = in_turn(hook, Answer(429, headers={"Retry-After": "120"}))
    before = people.ctx.clock.now()
    await people.work(row(1))
    task = await people.last_task()
    assert (task.state, task.error_class) == ("pending", "busy")
    assert task.run_at >= before + timedelta(seconds=120)
    await people.process("webhook")
    assert (await people.last_task()).attempts == 1


@pytest.mark.gen_test(timeout=60)
async def test_what_is_not_taken_as_it_is_is_dead_at_once(people: HrPeople, hook: WebhookSide) -> None:
    await people.target("webhook", **hook.settings)
    hook.peer.answer = lambda _request: Answer(422)
    await people.work(row(1))
    task = await people.last_task()
    assert (task.state, task.error_class, task.attempts) == ("dead", "invalid", 1)


@pytest.mark.gen_test(timeout=60)
async def test_a_target_without_an_answer_is_left_alone_for_this_round(people: HrPeople, hook: WebhookSide) -> None:
    await people.target("webhook", **{**hook.settings, "concurrency": 1})
    hook.peer.answer = lambda _request: Answer(503)
    await people.work(*(row(number) for number in range(20)))
    assert sum(task.attempts for task in await people.tasks()) == 3


@pytest.mark.gen_test(timeout=60)
async def test_an_answer_that_says_otherwise_is_no_success(people: HrPeople, hook: WebhookSide) -> None:
    await people.target("webhook", **hook.settings)
    await people.work(row(1))
    hook.peer.answer = lambda _request: Answer(body={"id": "w-1", "state": "active"})
    await people.work(row(1), state="left")
    task = await people.last_task()
    assert (task.state, task.error_class) == ("pending", "not_effective")
    assert (await people.accounts())[0].state == "active"


@pytest.mark.gen_test(timeout=60)
async def test_a_newer_word_takes_the_place_of_one_that_waits(people: HrPeople, hook: WebhookSide) -> None:
    await people.target("webhook", **hook.settings)
    hook.peer.answer = in_turn(hook, Answer(500))
    await people.work(row(1, name="First"))
    await people.work(row(1, name="Second"))
    assert [task.state for task in await people.tasks()] == ["superseded", "succeeded"]
    assert hook.accounts["E00001"]["name"] == "Second"
    hook.peer.answer = in_turn(hook, Answer(500))
    await people.work(row(1, name="Third"))
    await people.work(row(1, name="Second"))  # as it was: but the third may have come through
    assert [task.state for task in await people.tasks()] == ["superseded", "succeeded", "superseded", "succeeded"]
    assert len(hook.keys) == 2


@pytest.mark.gen_test(timeout=60)
async def test_a_newer_word_waits_for_the_one_in_flight(people: HrPeople, hook: WebhookSide, monkeypatch: pytest.MonkeyPatch) -> None:
    await people.target("webhook", **hook.settings)
    going, begun = asyncio.Event(), asyncio.Event()
    original = WebhookTarget.write

    async def slow(self: Any, *given: Any) -> Any:
        begun.set()
        await going.wait()
        return await original(self, *given)

    monkeypatch.setattr(WebhookTarget, "write", slow)
    await people.say(row(1, name="First"))
    await people.derive()
    first = asyncio.create_task(people.process("webhook"))
    await begun.wait()
    await people.say(row(1), state="left")
    assert await people.derive() == 1
    assert (await people.process("webhook")) == {"done": 0, "failed": 0}  # its turn has not come
    assert [(task.operation, task.state) for task in await people.tasks()] == [("create", "running"), ("disable", "pending")]
    going.set()
    await first
    await people.process("webhook")
    assert [task.state for task in await people.tasks()] == ["succeeded", "succeeded"]
    assert hook.accounts["E00001"]["active"] is False
    assert (await people.accounts())[0].state == "disabled"


@pytest.mark.gen_test(timeout=60)
async def test_two_workers_never_do_the_same(people: HrPeople, hook: WebhookSide) -> None:
    await people.target("webhook", **hook.settings)
    await people.say(*(row(number) for number in range(40)))
    await people.derive()
    await asyncio.gather(*(people.process("webhook") for _ in range(3)))
    assert {task.state for task in await people.tasks()} == {"succeeded"}
    assert len(hook.keys) == len(set(hook.keys)) == 40


@pytest.mark.gen_test(timeout=60)
async def test_a_worker_that_is_lost_leaves_its_task_to_another(
    people: HrPeople, hook: WebhookSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.target("webhook", **hook.settings)
    await people.say(row(1))
    await people.derive()

    async def nothing(_self: Any) -> None:
        """As when the process is killed: nobody gives anything back."""

    hook.peer.answer = lambda _request: Answer(body="not JSON") if going.cancel() else Answer()
    monkeypatch.setattr("server.people.hr.processing._Round._give_back", nothing)
    going = asyncio.create_task(people.process("webhook"))
    await asyncio.gather(going, return_exceptions=True)
    monkeypatch.undo()
    assert (await people.last_task()).state == "running"
    await people.process("webhook")
    assert (await people.last_task()).state == "running"  # its lease still holds
    hook.peer.answer = hook.take
    await people.make_due()
    await people.process("webhook")
    assert ((await people.last_task()).state, (await people.last_task()).attempts) == ("succeeded", 2)


@pytest.mark.gen_test(timeout=60)
async def test_ends_come_first(people: HrPeople, hook: WebhookSide) -> None:
    await people.target("webhook", **{**hook.settings, "concurrency": 1})
    await people.work(row(1), row(2))
    await people.say(row(3), row(4), row(1, name="Changed"))
    await people.say(row(2), state="left")
    await people.derive()
    hook.peer.requests.clear()
    await people.process("webhook")
    assert [msgspec.json.decode(request.body)["operation"] for request in hook.peer.requests] == ["disable", "create", "create", "update"]


@pytest.mark.holds_loop
@pytest.mark.gen_test(timeout=60)
async def test_an_answer_that_is_lost_after_the_work_was_done(
    people: HrPeople, scim_peer: ScimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, lost = HttpExchange.ask, []

    async def loses(self: Any, method: str, url: str, **given: Any) -> Any:
        answer = await original(self, method, url, **given)
        if method == "POST" and not lost:
            lost.append(url)
            raise TargetError(ErrorClass.AWAY, "Timeout during request")
        return answer

    monkeypatch.setattr(HttpExchange, "ask", loses)
    await people.target("scim", url=scim_peer.url, token=scim_server.TOKEN)
    await people.work(row(77))
    assert ((await people.last_task()).state, (await people.last_task()).error_class) == ("pending", "away")
    await people.make_due()
    await people.process("scim")
    assert (await people.last_task()).state == "succeeded"
    assert [tried.outcome for tried in await people.attempts()] == ["failed", "already"]
    assert len([one for one in scim_peer.users() if one["userName"] == "E00077"]) == 1


@pytest.mark.holds_loop
@pytest.mark.gen_test(timeout=60)
async def test_scim_by_put(people: HrPeople, scim_peer: ScimServer) -> None:
    await people.target("scim", url=scim_peer.url, token=scim_server.TOKEN, update="put")
    await people.work(row(78, phone="+86 10 6228"))
    await people.work(row(78, phone=None, title="dean", department_code="D2"))
    assert (await people.last_task()).state == "succeeded", (await people.last_task()).error
    (made,) = [one for one in scim_peer.users() if one["userName"] == "E00078"]
    extension = made["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"]
    assert (made["title"], extension["department"], made.get("phoneNumbers")) == ("dean", "Department D2", None)
    await people.work(row(78), state="gone")
    assert not next(one for one in scim_peer.users() if one["userName"] == "E00078")["active"]


@pytest.mark.gen_test(timeout=60)
async def test_a_job_comes_back_for_what_is_to_be_tried_again(people: HrPeople, hook: WebhookSide) -> None:
    await people.target("webhook", **hook.settings)
    hook.peer.answer = lambda _request: Answer(500)
    await people.work(row(1))
    wanted = sa.select(tasks.c.run_at).where(tasks.c.kind == "accounts.process").order_by(tasks.c.run_at.desc())
    again = await people.ctx.sql.read(lambda connection: connection.execute(wanted).scalars().first())
    assert again == (await people.last_task()).run_at
