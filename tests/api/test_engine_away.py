"""An engine that is away: 503, its name, when to come back; and it heals by itself."""

from __future__ import annotations

from typing import Any

import pytest

from server.context import Context
from server.errors import EngineAway
from tests.api.client import Api


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
