"""An engine that is away: 503, its name, when to come back; and it heals by itself."""

from __future__ import annotations

from typing import Any

import pytest
from tornado.httpclient import HTTPClientError
from tornado.websocket import websocket_connect

from server.context import Context
from server.errors import EngineAway
from server.scopes import ANYONE
from tests.api.client import Api
from tests.api.module import FakeModule
from tests.api.test_access import verbs


@pytest.mark.gen_test
async def test_without_the_database(api: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise EngineAway("sql", "secret://user:password@host")

    with monkeypatch.context() as patched:
        for name in ("read", "read_small", "write", "ping"):
            patched.setattr(ctx.sql, name, away)
        for path in ("/module/list", "/workflow/list", "/api/users", "/api/auth/me"):
            answer = await api.get(path)
            assert (answer.status, answer.type) == (503, "engine_away"), path
            assert b"password" not in answer.body
        health = await api.get("/health/")
        assert health.status == 503
        assert health.envelope["result"]["engines"]["sql"]["state"] == "away"
        assert (await api.get("/health/ready")).status == 503
        assert (await api.get("/health/live")).status == 200
    assert (await api.get("/module/list")).status == 200
    assert (await api.get("/health/ready")).status == 200


@pytest.mark.gen_test
async def test_without_what_is_not_required(api: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> None:
        raise EngineAway("mail", "no route")

    monkeypatch.setattr(ctx.mail, "ping", away)
    health = (await api.get("/health/")).result
    assert health["state"] == "degraded"
    assert health["engines"]["mail"]["state"] == "away"
    assert (await api.get("/health/ready")).status == 200


@pytest.mark.gen_test(timeout=60)
async def test_every_route_says_so(api: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise EngineAway("sql", "refused")

    for name in ("read", "read_small", "write", "ping"):
        monkeypatch.setattr(ctx.sql, name, away)
    asked = 0
    for method, path, declared in verbs():
        if declared.scope == ANYONE:
            continue
        answer = await api.request(method, path, body=b"{}" if method in ("POST", "PUT", "PATCH") else None)
        assert (answer.status, answer.type, answer.envelope["code"]) == (503, "engine_away", "5030"), f"{method} {path}"
        assert int(answer.headers["Retry-After"]) >= 1
        assert "sql" in answer.envelope["message"]
        asked += 1
    assert asked > 30


@pytest.mark.gen_test
async def test_sockets_are_refused_until_it_is_back(api: Api, module: FakeModule, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise EngineAway("sql", "refused")

    ticket = (await api.post("/api/auth/ticket")).result["ticket"]
    with monkeypatch.context() as patched:
        for name in ("read", "read_small", "write"):
            patched.setattr(ctx.sql, name, away)
        for path in (f"/websocket?hash={module.hash}", f"/ws/events?ticket={ticket}"):
            with pytest.raises(HTTPClientError) as refused:
                await websocket_connect(api.base_url.replace("http", "ws", 1) + path)
            assert refused.value.code == 503
            assert refused.value.response is not None
            assert b"engine_away" in refused.value.response.body
            assert refused.value.response.headers["Retry-After"]
    again = await websocket_connect(f"{api.base_url.replace('http', 'ws', 1)}/websocket?hash={module.hash}")
    assert (await module.frame())["type"] == "drain"
    again.close()
    while await again.read_message() is not None:
        pass


@pytest.mark.gen_test
async def test_a_fault_of_our_own_tells_nothing_of_itself(api: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the secret path is /srv/keys")

    monkeypatch.setattr(ctx.sql, "read", broken)
    answer = await api.get("/workflow/list")
    assert (answer.status, answer.type, answer.envelope["code"]) == (500, "internal", "5000")
    assert b"secret" not in answer.body
