"""Rights on two instances: what changes on one holds on the other, for requests and on open sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.contract.waiting import until
from tests.integration.api_client import Api
from tests.integration.instances import Instance, two_instances
from tests.peers.mariadb import MariaDb
from tests.peers.valkey import Valkey

pytestmark = pytest.mark.integration
PASSWORD = "a password of the head's"


async def head_on(instance: Instance, token: str) -> Api:
    api = Api(instance.url, PASSWORD)
    api._token = token
    return api


async def told(socket: WebSocketClientConnection) -> tuple[str, str]:
    message = await asyncio.wait_for(socket.read_message(), 20)
    assert message is not None, f"closed with {socket.close_code}"
    event: dict[str, Any] = json.loads(message)
    return event["topic"], event["event"]


@pytest.mark.gen_test(timeout=120)
async def test_what_changes_on_one_instance_holds_on_the_other(mariadb: MariaDb, valkey: Valkey, tmp_path: Path) -> None:
    async with two_instances(mariadb, valkey, tmp_path) as (a, b):
        physics, chemistry = [
            (await a.api.post("/api/organizations", {"name": code, "code": code, "kind": "school"}))["id"] for code in ("ph", "ch")
        ]
        optics = (await a.api.post("/api/organizations", {"name": "op", "code": "op", "kind": "institute", "parent_id": physics}))["id"]
        role = await a.api.post("/api/roles", {"name": "watcher", "scopes": ["modules:read"]})
        user = await a.api.post("/api/users", {"username": "head", "name": "Head", "password": PASSWORD, "organization_id": physics})
        roles = [{"role": "organization_admin", "organization_id": physics}, {"role": "watcher", "organization_id": 1}]
        await a.api.ask("PUT", f"/api/users/{user['id']}/roles", {"roles": roles})
        signed_in = await b.api.ask("POST", "/api/auth/login", {"username": "head", "password": PASSWORD})
        head = await head_on(b, signed_in["access_token"])

        async def sees(expected: list[int]) -> bool:
            return sorted(one["id"] for one in (await head.get("/api/organizations"))["items"]) == sorted(expected)

        assert await sees([physics, optics])
        ticket = (await head.post("/api/auth/ticket"))["ticket"]
        socket = await websocket_connect(f"{b.url.replace('http', 'ws', 1)}/ws/events?ticket={ticket}")
        await socket.write_message('{"subscribe": ["modules"]}')
        assert await told(socket) == ("modules", "subscribed")

        # The bus tells the other instance within moments; nothing here waits for what it knows to grow old.
        await a.api.post(f"/api/organizations/{optics}/move", {"parent_id": chemistry})
        await until(lambda: sees([physics]), timeout_s=10)
        await a.api.post(f"/api/organizations/{optics}/move", {"parent_id": physics})
        await until(lambda: sees([physics, optics]), timeout_s=10)
        await a.api.ask("PATCH", f"/api/roles/{role['id']}", {"scopes": []})
        assert await told(socket) == ("modules", "refused")
        socket.close()
        head.close()
