"""Health, metrics, and what is told to whom."""

from __future__ import annotations

from typing import Any

import pytest

from server import __version__
from server.config import Settings
from server.context import Context
from server.errors import EngineAway
from tests.api.client import Api
from tests.embedded import settings_in

STRANGER = {"X-Forwarded-For": "203.0.113.7"}
ENGINES = {"sql", "documents", "bus", "mail", "compute", "files", "embedding", "vectors", "llm"}


def unplug(monkeypatch: pytest.MonkeyPatch, door: Any, *names: str) -> None:
    """Let the methods of an engine's door fail as they do when the engine is away."""

    async def away(*_arguments: object, **_more: object) -> None:
        raise EngineAway("sql", "connect to 10.1.2.3 refused")

    for name in names:
        monkeypatch.setattr(door, name, away)


@pytest.mark.gen_test
async def test_health_tells_of_every_engine(anonymous: Api) -> None:
    for path in ("/health/", "/health"):
        health = (await anonymous.get(path)).result
        assert (health["state"], health["version"], health["instance"]) == ("up", __version__, "")
        assert set(health["engines"]) == ENGINES
        assert all(
            engine["state"] == "up" and engine["mode"] == "embedded" and engine["latency_ms"] >= 0 for engine in health["engines"].values()
        )


@pytest.mark.gen_test
async def test_a_look_at_the_health_starts_nothing(anonymous: Api, ctx: Context) -> None:
    assert (await anonymous.get("/health/")).result["engines"]["vectors"]["state"] == "up"
    assert not (ctx.settings.data / "milvus").exists()
    assert ctx.compute.state().busy == 0


@pytest.mark.gen_test
async def test_alive_and_ready(anonymous: Api, ctx: Context) -> None:
    assert (await anonymous.get("/health/live")).result == {"state": "alive"}
    assert (await anonymous.get("/health/ready")).result == {"state": "ready"}


@pytest.mark.gen_test
async def test_a_draining_server_is_alive_and_not_ready(anonymous: Api, app: Any) -> None:
    app.settings["requests"].draining = True
    assert (await anonymous.get("/health/live")).status == 200
    draining = await anonymous.get("/health/ready")
    assert (draining.status, draining.type, draining.envelope["code"]) == (503, "draining", "5031")
    assert (await anonymous.get("/websocket?hash=x")).type == "draining"


@pytest.mark.gen_test
async def test_an_absent_database_is_told_without_its_address(
    anonymous: Api, api: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    unplug(monkeypatch, ctx.sql, "ping", "read", "read_small")
    for caller in (anonymous, api):
        health = await caller.get("/health/")
        assert health.status == 503
        told = health.envelope["result"]
        assert (told["state"], told["engines"]["sql"]["state"], told["engines"]["bus"]["state"]) == ("away", "away", "up")
        assert "10.1.2.3" not in health.body.decode()
    assert (await anonymous.get("/health/ready")).type == "engine_away"
    assert (await anonymous.get("/health/live")).status == 200


@pytest.mark.gen_test
async def test_operators_are_told_why(api: Api, anonymous: Api, ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    unplug(monkeypatch, ctx.mail, "ping")
    told = (await api.get("/health/")).result
    assert (told["state"], told["engines"]["mail"]["cause"], told["instance"]) == ("degraded", "connect to 10.1.2.3 refused", ctx.instance)
    assert (await anonymous.get("/health/")).result["engines"]["mail"]["cause"] == "away"
    assert (await anonymous.get("/health/ready")).status == 200


@pytest.mark.gen_test
async def test_metrics_are_for_loopback(anonymous: Api, api: Api) -> None:
    await anonymous.get("/health/live")
    text = (await anonymous.get("/metrics")).body.decode()
    assert 'zhihui_http_request_duration_seconds_count{method="GET",route="/health/live",status="200"} 1.0' in text
    for name in ("zhihui_tasks_waiting", "zhihui_module_sockets", "zhihui_leader"):
        assert name in text
    for caller in (anonymous, api):
        refused = await caller.get("/metrics", headers=STRANGER)
        assert (refused.status, refused.type) == (403, "forbidden")
    assert (await anonymous.get("/metrics", headers={**STRANGER, "X-Real-IP": "127.0.0.1"})).status == 403
    assert (await anonymous.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1, 203.0.113.7"})).status == 403


@pytest.mark.gen_test
async def test_strangers_make_no_series_of_their_own(anonymous: Api) -> None:
    for number in range(20):
        assert (await anonymous.request(f"BREW{number}", "/health/live")).status == 405
        assert (await anonymous.get(f"/nowhere/{number}")).status == 404
    text = (await anonymous.get("/metrics")).body.decode()
    assert "BREW" not in text
    assert "nowhere" not in text
    assert 'method="other",route="/health/live",status="405"} 20.0' in text


class TestWithToken:
    @pytest.fixture
    def settings(self, tmp_path: Any) -> Settings:
        return settings_in(tmp_path / "data", metrics_token="the-metrics-token")

    @pytest.mark.gen_test
    async def test_metrics_with_the_token(self, anonymous: Api) -> None:
        assert (await anonymous.get("/metrics", headers=STRANGER, token="the-metrics-token")).status == 200
        for wrong in ("", "the-metrics-toke", "the-metrics-token2", "é"):
            assert (await anonymous.get("/metrics", headers=STRANGER, token=wrong)).status == 403


@pytest.mark.gen_test
async def test_the_users(api: Api, anonymous: Api) -> None:
    page = (await api.get("/api/users")).result
    assert (page["total"], page["page"], page["page_size"]) == (1, 1, 20)
    [admin] = page["items"]
    assert (admin["username"], admin["roles"], admin["state"], admin["organization_id"]) == ("admin", ["administrator"], "active", 1)
    assert "password" not in repr(admin)
    for q, total in [("ADM", 1), ("管理", 1), ("%25", 0), ("_dmin", 0), ("", 1)]:
        assert (await api.get(f"/api/users?q={q}")).result["total"] == total, q
    for wrong in ("page=0", "page_size=201", "sort=password_hash", "sort=--id", "rolle=x", "q=%00"):
        assert (await api.get(f"/api/users?{wrong}")).fields == [wrong.partition("=")[0]], wrong
