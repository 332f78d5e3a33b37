"""An SMTP server in a thread, which keeps what it gets."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, Session

from tests.peers.process import free_port, require


class SmtpPeer:
    """Refuses the recipients in `refused` with the given answers, and every message with `data_answer` when that is set."""

    def __init__(self, *, password: str = "", certificate: Path | None = None, tls_from_the_start: bool = False) -> None:
        self.port = free_port()
        self.messages: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.encrypted: list[bool] = []  # for each message, whether it came by TLS
        self.refused: dict[str, str] = {}
        self.data_answer = ""
        self._password = password
        self._certificate = certificate
        self._tls_from_the_start = tls_from_the_start
        self._controller: Controller | None = None

    def start(self) -> None:
        asked: dict[str, Any] = {"auth_required": True, "auth_require_tls": False, "authenticator": self._check} if self._password else {}
        if self._certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self._certificate)
            asked["ssl_context" if self._tls_from_the_start else "tls_context"] = context
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **asked)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def _check(self, _server: Any, _session: Session, _envelope: Envelope, _mechanism: str, login: Any) -> AuthResult:
        return AuthResult(success=login.password == self._password.encode(), handled=False)

    async def handle_RCPT(self, _server: Any, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:  # noqa: N802
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data_answer:
            return self.data_answer
        content = envelope.content
        assert isinstance(content, bytes)
        self.messages.append(message_from_bytes(content, _class=EmailMessage, policy=default))
        self.recipients.append(list(envelope.rcpt_tos))
        self.encrypted.append(session.ssl is not None or self._tls_from_the_start)
        return "250 OK"


def make_certificate(path: Path) -> Path:
    """A certificate for 127.0.0.1, signed by itself, in one file with its key."""
    require("openssl", shutil.which("openssl"))
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = path.with_suffix(".key")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, "-keyout", str(key), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


@contextmanager
def running_smtp(*, password: str = "", certificate: Path | None = None, tls_from_the_start: bool = False) -> Iterator[SmtpPeer]:
    peer = SmtpPeer(password=password, certificate=certificate, tls_from_the_start=tls_from_the_start)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
