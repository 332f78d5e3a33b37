"""The mail about a run that failed: what it says, that it is sent once, and that nothing keeps it from being sent."""

from __future__ import annotations

import asyncio
import signal
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

import jobs.mail
from jobs.registry import Job
from tests.contract.waiting import until
from tests.integration.api_client import Api
from tests.integration.house import PASSWORD, House, open_house
from tests.integration.module_socket import ModuleSocket
from tests.integration.running_server import RunningServer
from tests.peers.http_peer import Answer, running_http
from tests.peers.smtp import SmtpPeer

pytestmark = pytest.mark.integration


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail that could not be sent is tried again soon, instead of after some seconds."""
    monkeypatch.setattr(Job, "retry_after", lambda _job, _attempt: 0.1)


async def failed_run(api: Api, socket: ModuleSocket, module: str, **body: Any) -> dict[str, Any]:
    """A run of a workflow of two steps, whose first fails after it has logged thirty lines."""
    steps = [{"module_hash": module, "name": "fetch"}, {"module_hash": module, "name": "compute", "depends_on": ["fetch"]}]
    run_id = await api.execute(await api.workflow("nightly prices", steps, **body))
    execution = await socket.execution()
    socket.say("log", execution, level="error", lines=[f"log line {number} <b>" for number in range(30)])
    await socket.answer(execution, status="failure", error="no route to <exchange>", message="m")
    return await api.ended(run_id)


def check_content(subject: str, text: str, html: str, run: dict[str, Any], url: str) -> None:
    assert "nightly prices" in subject
    assert "exchange-module" in subject
    for said in (run["run_id"], "fetch", "exchange-module", run["steps"][0]["ended_at"][:16], f"{url}/#/runs/{run['run_id']}"):
        assert said in text, said
        assert said in html, said
    assert "no route to <exchange>" in text
    assert "no route to &lt;exchange&gt;" in html
    assert "log line 29 <b>" in text
    assert "log line 29 &lt;b&gt;" in html
    assert "<b>" not in html
    assert "log line 10 <b>" in text
    assert "log line 9 <b>" not in text  # the last twenty


def parts_of(message: EmailMessage) -> tuple[str, str]:
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


@pytest.mark.gen_test(timeout=60)
async def test_by_smtp(data: Path, smtp: SmtpPeer) -> None:
    async with open_house(data, email_host="127.0.0.1", email_port=smtp.port, email_from="zhihui@example.org") as house:
        module, socket = await house.module("exchange-module")
        run = await failed_run(house.api, socket, module, notify=["a@example.org", "b@example.org"])
        await until(lambda: smtp.messages)
        assert smtp.recipients == [["a@example.org", "b@example.org"]]
        (message,) = smtp.messages
        check_content(str(message["Subject"]), *parts_of(message), run, house.url)
        assert run["run_id"] in str(message["Message-ID"])
        await all_settled(house)
        assert len(smtp.messages) == 1


async def all_settled(house: House) -> None:
    async def settled() -> bool:
        tasks = (await house.api.get("/api/tasks?queue=mail"))["items"]
        return bool(tasks) and all(task["state"] == "succeeded" for task in tasks)

    await until(settled)


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.gen_test(timeout=60)
async def test_by_http_until_it_is_taken(data: Path) -> None:
    async with running_http() as peer:
        answers = iter([Answer(500), Answer(302, headers={"Location": "/elsewhere"}), Answer(429), Answer(202, "taken")])
        peer.answer = lambda _request: next(answers)
        async with open_house(data, email_api_url=f"{peer.url}/send", notification_email="ops@example.org") as house:
            module, socket = await house.module("exchange-module")
            run = await failed_run(house.api, socket, module)
            await all_settled(house)
            assert len(peer.requests) == 4
            assert {request.path for request in peer.requests} == {"/send"}
            assert len({request.headers["Idempotency-Key"] for request in peer.requests}) == 1
            body = peer.bodies[-1]
            assert set(body) == {"to", "subject", "content", "text"}
            assert body["to"] == ["ops@example.org"]  # the workflow names nobody
            check_content(body["subject"], body["text"], body["content"], run, house.url)


@pytest.mark.gen_test(timeout=60)
async def test_what_the_receiver_will_never_take_is_a_dead_letter_that_can_be_sent_again(data: Path) -> None:
    async with running_http() as peer:
        peer.answer = lambda _request: Answer(400, "no")
        async with open_house(data, email_api_url=peer.url, notification_email="ops@example.org") as house:
            module, socket = await house.module("exchange-module")
            await failed_run(house.api, socket, module)

            async def dead() -> list[Any]:
                found: list[Any] = (await house.api.get("/api/tasks?queue=mail&state=dead"))["items"]
                return found

            await until(dead)
            (task,) = await dead()
            assert (task["attempts"], len(peer.requests)) == (1, 1)
            assert task["error"]
            peer.answer = lambda _request: Answer(200)
            await house.api.post(f"/api/tasks/{task['id']}/retry")
            await all_settled(house)
            assert len(peer.requests) == 2


@pytest.mark.gen_test(timeout=60)
async def test_no_mail_for_a_run_that_went_well_or_was_cancelled(data: Path) -> None:
    async with open_house(data, notification_email="ops@example.org") as house:
        module, socket = await house.module("m")
        workflow = await house.api.workflow("w", [module])
        run_id = await house.api.execute(workflow)
        await socket.answer(await socket.execution())
        await house.api.ended(run_id)
        cancelled = await house.api.execute(workflow)
        execution = await socket.execution()
        await house.api.post(f"/run/{cancelled}/cancel")
        socket.say("cancelled", execution)
        await house.api.ended(cancelled)
        assert (await house.api.get("/api/tasks?queue=mail"))["total"] == 0


@pytest.mark.holds_loop  # processes and an SMTP server are started from it
@pytest.mark.gen_test(timeout=120)
async def test_a_mail_outlives_the_server_while_the_mail_server_is_away(tmp_path: Path, smtp: SmtpPeer) -> None:
    smtp.stop()
    settings = {"email_host": "127.0.0.1", "email_port": smtp.port, "email_from": "zhihui@example.org", "admin_password": PASSWORD}
    server = RunningServer(tmp_path / "data", **settings)
    api = Api(server.url, PASSWORD)
    try:
        await asyncio.to_thread(server.wait_ready)
        module = await api.register("exchange-module")
        socket = await ModuleSocket.open(server.url, module)
        run = await failed_run(api, socket, module, notify=["a@example.org"])

        async def tried() -> bool:
            (task,) = (await api.get("/api/tasks?queue=mail"))["items"]
            return bool(task["attempts"] >= 1 and task["state"] == "queued")

        await until(tried)
        server.signal(signal.SIGKILL)
        await asyncio.to_thread(server.wait_end)
        smtp.start()
        server = await asyncio.to_thread(RunningServer, tmp_path / "data", server_port=server.port, **settings)
        await asyncio.to_thread(server.wait_ready)
        await until(lambda: smtp.messages, timeout_s=60)
        (message,) = smtp.messages
        check_content(str(message["Subject"]), *parts_of(message), run, server.url)
    finally:
        api.close()
        await asyncio.to_thread(server.end)


def test_the_mail_job_tries_for_long_enough() -> None:
    """Ten tries whose pauses double from 5 s: an outage of the mail server of half an hour costs no mail."""
    job: Job = jobs.mail.run_failed.job  # type: ignore[attr-defined]
    assert job.max_attempts == 10
    assert sum(min(job.backoff_s * 2**number, job.backoff_most_s) / 2 for number in range(job.max_attempts - 1)) > 1200
