"""The mail door's contract: the outbox, HTTP, SMTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.clock import HeldClock
from server.config import Settings
from server.engines.mail import Mail, MailDoor, MailRefused, open_mail
from server.errors import EngineAway
from tests.contract.waiting import until
from tests.peers.http_peer import Answer, running_http
from tests.peers.process import free_port
from tests.peers.smtp import SmtpPeer, make_certificate, running_smtp

MAIL = Mail(
    to=["王芳@example.org".replace("王芳", "wang"), "b@example.org"],
    subject="工作流 daily 失败：prices",
    html="<p>出错 &amp; stopped</p>",
    text="出错 & stopped\n.\nlast line",
    message_id="run-1.step-2",
)
SENDER = "zhihui@example.org"


def opened(tmp_path: Path, **settings: Any) -> MailDoor:
    return open_mail(Settings(data_dir=str(tmp_path), email_from=SENDER, **settings), HeldClock())


def answering(status: int) -> Callable[[Any], Answer]:
    return lambda _request: Answer(status, headers={"Location": "/"})


def check_message(message: EmailMessage) -> None:
    assert message["From"] == SENDER
    assert message["To"] == "wang@example.org, b@example.org"
    assert message["Subject"] == MAIL.subject
    assert message["Message-ID"] == "<run-1.step-2@zhihui>"
    assert message["Date"] == "Thu, 01 Jan 2026 00:00:00 +0000"
    plain, html = message.get_body(["plain"]), message.get_body(["html"])
    assert plain is not None
    assert html is not None
    assert plain.get_content().splitlines() == MAIL.text.splitlines()
    assert html.get_content().strip() == MAIL.html


@pytest.fixture(params=["outbox", "http", "smtp"])
def any_mail(request: pytest.FixtureRequest, tmp_path: Path, on_loop: Any) -> Any:
    """A door on a side whose engine, if any, is away."""
    settings: dict[str, dict[str, Any]] = {
        "outbox": {},
        "http": {"email_api_url": f"http://127.0.0.1:{free_port()}/send"},
        "smtp": {"email_host": "127.0.0.1", "email_port": free_port()},
    }

    async def open_it() -> MailDoor:
        return opened(tmp_path, **settings[request.param])

    door = on_loop(open_it)
    yield door
    on_loop(door.close)


@pytest.mark.gen_test(timeout=30)
async def test_what_could_become_another_header_is_refused(any_mail: MailDoor) -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"to": []},
        {"to": ["a@example.org\r\nBcc: c@example.org"]},
        {"to": ["a@example.org, c@example.org"]},
        {"to": ["a@example.org", "nobody"]},
        {"subject": "one\ntwo"},
        {"subject": "one\r\nBcc: c@example.org"},
        {"subject": "one\u2028two"},
        {"message_id": "a>\r\nBcc: c@example.org"},
        {"message_id": ""},
    )
    for change in changes:
        with pytest.raises(MailRefused):
            await any_mail.send(msgspec.structs.replace(MAIL, **change))


@pytest.mark.gen_test(timeout=30)
async def test_an_engine_that_is_away(any_mail: MailDoor) -> None:
    if any_mail.mode == "embedded":
        await any_mail.ping()
        return
    with pytest.raises(EngineAway):
        await any_mail.ping()
    with pytest.raises(EngineAway):
        await any_mail.send(MAIL)


# The outbox.


@pytest.mark.gen_test(timeout=30)
async def test_the_outbox_holds_one_file_a_mail(tmp_path: Path) -> None:
    door = opened(tmp_path)
    await door.send(MAIL)
    await door.send(MAIL)
    await door.send(msgspec.structs.replace(MAIL, message_id="run-1.step_2"))
    await door.send(msgspec.structs.replace(MAIL, message_id="run-1.step%2"))
    files = list((tmp_path / "outbox").iterdir())
    assert len(files) == 3
    assert all(file.suffix == ".eml" for file in files)
    [mine] = [file for file in files if b"<run-1.step-2@zhihui>" in file.read_bytes()]
    check_message(message_from_bytes(mine.read_bytes(), _class=EmailMessage, policy=default))


@pytest.mark.gen_test(timeout=30)
async def test_an_outbox_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("in the way")
    door = opened(tmp_path)
    for ask in (door.ping, lambda: door.send(MAIL)):
        with pytest.raises(EngineAway):
            await ask()


# HTTP.


@pytest.mark.gen_test(timeout=30)
async def test_http_posts_json(tmp_path: Path) -> None:
    async with running_http() as peer:
        door = opened(tmp_path, email_api_url=f"{peer.url}/send?key=1", email_host="ignored")
        await door.ping()
        assert peer.requests == []
        for status in (200, 201, 202, 204):
            peer.answer = answering(status)
            await door.send(MAIL)
        assert [(request.method, request.uri) for request in peer.requests] == [("POST", "/send?key=1")] * 4
        assert peer.bodies[0] == {"to": MAIL.to, "subject": MAIL.subject, "content": MAIL.html, "text": MAIL.text}
        assert peer.requests[0].headers["Content-Type"].startswith("application/json")
        await door.close()


@pytest.mark.gen_test(timeout=30)
async def test_http_answers(tmp_path: Path) -> None:
    async with running_http() as peer:
        door = opened(tmp_path, email_api_url=peer.url)
        for status, error in [
            (400, MailRefused),
            (404, MailRefused),
            (422, MailRefused),
            (302, EngineAway),
            (408, EngineAway),
            (425, EngineAway),
            (429, EngineAway),
            (500, EngineAway),
            (503, EngineAway),
        ]:
            peer.answer = answering(status)
            with pytest.raises(error):
                await door.send(MAIL)
        assert len(peer.requests) == 9
        await door.close()


# SMTP.


@pytest.mark.gen_test(timeout=30)
async def test_smtp_delivers(tmp_path: Path, smtp: SmtpPeer) -> None:
    door = opened(tmp_path, email_host="127.0.0.1", email_port=smtp.port)
    await door.ping()
    await door.send(MAIL)
    assert smtp.recipients == [MAIL.to]
    check_message(smtp.messages[0])


@pytest.mark.gen_test(timeout=30)
async def test_smtp_refusals(tmp_path: Path, smtp: SmtpPeer) -> None:
    door = opened(tmp_path, email_host="127.0.0.1", email_port=smtp.port)

    async def refusing(*answers: str) -> None:
        smtp.refused = dict(zip(MAIL.to, answers, strict=False))
        await door.send(MAIL)

    with pytest.raises(MailRefused, match="no such user"):
        await refusing("550 no such user", "550 no such user")
    with pytest.raises(EngineAway):
        await refusing("450 greylisted", "450 greylisted")
    assert smtp.messages == []
    with pytest.raises(MailRefused, match=r"wang@example\.org: 550"):
        await refusing("550 no such user")
    with pytest.raises(EngineAway):
        await refusing("450 greylisted")
    smtp.refused = {}
    smtp.data_answer = "554 looks like spam"
    with pytest.raises(MailRefused):
        await door.send(MAIL)
    smtp.data_answer = "451 later"
    with pytest.raises(EngineAway):
        await door.send(MAIL)
    smtp.data_answer = ""
    await door.send(MAIL)


@pytest.mark.gen_test(timeout=30)
async def test_smtp_heals(tmp_path: Path, smtp: SmtpPeer) -> None:
    door = opened(tmp_path, email_host="127.0.0.1", email_port=smtp.port)
    smtp.stop()
    with pytest.raises(EngineAway):
        await door.send(MAIL)
    smtp.start()
    await door.send(MAIL)
    assert len(smtp.messages) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.gen_test(timeout=30)
async def test_smtp_login_only_with_a_user_and_the_password_stays_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, on_debug: Callable[[], None]
) -> None:
    on_debug()
    with running_smtp(password="opensesame") as peer:
        address = {"email_host": "127.0.0.1", "email_port": peer.port}
        with pytest.raises(EngineAway):
            await opened(tmp_path, **address).send(MAIL)
        with pytest.raises(EngineAway) as wrong:
            await opened(tmp_path, **address, email_host_user="z", email_host_password="wrongsesame").send(MAIL)
        await opened(tmp_path, **address, email_host_user="z", email_host_password="opensesame").send(MAIL)
        assert len(peer.messages) == 1
    assert "sesame" not in wrong.value.cause
    assert not any("sesame" in record.getMessage() for record in caplog.records if not record.name.startswith("mail.log"))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate") / "smtp.pem")


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.holds_loop
@pytest.mark.gen_test(timeout=30)
@pytest.mark.parametrize("tls_from_the_start", [False, True])
async def test_smtp_by_tls(tls_from_the_start: bool, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_smtp(password="opensesame", certificate=certificate, tls_from_the_start=tls_from_the_start) as peer:
        if tls_from_the_start:
            monkeypatch.setattr("server.engines.mail_smtp.TLS_PORT", peer.port)
        asked = {"email_host": "127.0.0.1", "email_port": peer.port, "email_host_user": "z", "email_host_password": "opensesame"}
        with pytest.raises(EngineAway, match="away"):  # nobody vouches for the certificate
            await opened(tmp_path, **asked).send(MAIL)
        assert peer.messages == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await opened(tmp_path, **asked).send(MAIL)
        assert peer.encrypted == [True]
        # aiosmtplib does not wait for TLS to say goodbye, which a loop that ends at once would cut short.
        transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]
        await until(lambda: all(transport._sock is None for transport in list(transports.values())))


@pytest.fixture
def on_debug(caplog: pytest.LogCaptureFixture) -> Callable[[], None]:
    return lambda: caplog.set_level("DEBUG")
