"""Mail codes and ended sessions on two instances: asked for at one, used at either, once; what ends at one ends at the other."""

from __future__ import annotations

import asyncio
import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import websocket_connect

from tests.contract.waiting import until
from tests.integration.instances import Instance, two_instances
from tests.peers.mariadb import MariaDb
from tests.peers.valkey import Valkey

pytestmark = pytest.mark.integration

MAILBOX = "admin@example.org"
NEW = "quite another secret"


async def code_from_outbox(folder: Path) -> str:
    """The code of the one mail that a worker of either instance has written, which is then taken away."""
    found: list[Path] = []

    async def written() -> bool:
        found[:] = await asyncio.to_thread(lambda: list(folder.glob("*/outbox/*.eml")))
        return bool(found)

    await until(written)
    (path,) = found
    mail = message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=default)
    path.unlink()
    body = mail.get_body(("plain",))
    assert body is not None
    (code,) = re.findall(r"^([0-9]{6})\r?$", body.get_content(), re.MULTILINE)
    return str(code)


async def browser(instance: Instance) -> Any:
    ticket = (await instance.api.post("/api/auth/ticket"))["ticket"]
    return await websocket_connect(f"{instance.url.replace('http', 'ws', 1)}/ws/events?ticket={ticket}")


@pytest.mark.gen_test(timeout=180)
async def test_a_code_holds_on_both_instances_and_once(mariadb: MariaDb, valkey: Valkey, tmp_path: Path) -> None:
    async with two_instances(mariadb, valkey, tmp_path) as (one, other):
        me = await one.api.get("/api/auth/me")
        await one.api.ask("PATCH", f"/api/users/{me['id']}", {"email": MAILBOX})
        await one.api.post("/api/auth/code", {"email": MAILBOX, "purpose": "login"})
        code = await code_from_outbox(tmp_path)
        body = {"email": MAILBOX, "code": code}
        answers = await asyncio.gather(*(instance.api.fetch("POST", "/api/auth/login-code", body) for instance in (one, other) * 2))
        assert sorted(answer.code for answer in answers) == [200, 401, 401, 401]

        await other.api.post("/api/auth/code", {"email": MAILBOX, "purpose": "reset"})
        code = await code_from_outbox(tmp_path)
        sockets = [await browser(one), await browser(other)]
        assert await one.api.post("/api/auth/reset-password", {"email": MAILBOX, "code": code, "password": NEW}) == {"done": True}
        for socket in sockets:
            assert await asyncio.wait_for(socket.read_message(), 30) is None
            assert socket.close_code == 4401
            socket.close()
        for instance in (one, other):
            assert (await instance.api.fetch("GET", "/api/auth/me")).code == 401
            assert (await instance.api.ask("POST", "/api/auth/login", {"username": "admin", "password": NEW}))["user"]["id"] == me["id"]
