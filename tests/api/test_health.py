"""Health and metrics: what a supervisor, a load balancer and Prometheus are told, and who is told more."""

from __future__ import annotations

import pytest

from server.context import Context
from server.resources import Resources
from tests.api.client import Api
from tests.api.module import FakeModule

ENGINES = {"sql", "documents", "bus", "mail", "compute", "files"}


@pytest.mark.gen_test
async def test_health_tells_of_every_engine(anonymous: Api) -> None:
    health = (await anonymous.get("/health/")).result
    assert health["state"] == "up"
    assert set(health["engines"]) == ENGINES
    for engine in health["engines"].values():
        assert engine["mode"] == "embedded"
        assert engine["latency_ms"] >= 0
    assert health["instance"] == ""  # for operators alone
    assert (await anonymous.get("/health")).status == 200


@pytest.mark.gen_test
async def test_an_operator_is_told_more(api: Api, ctx: Context) -> None:
    assert (await api.get("/health/")).result["instance"] == ctx.instance


@pytest.mark.gen_test
async def test_live_and_ready(anonymous: Api, resources: Resources) -> None:
    assert (await anonymous.get("/health/live")).result == {"state": "alive"}
    assert (await anonymous.get("/health/ready")).result == {"state": "ready"}
    resources.app.settings["requests"].draining = True
    refused = await anonymous.get("/health/ready")
    assert (refused.status, refused.type) == (503, "draining")
    assert (await anonymous.get("/health/live")).status == 200


@pytest.mark.gen_test
async def test_a_draining_server_takes_no_module(module: FakeModule, resources: Resources) -> None:
    from tornado.httpclient import HTTPClientError
    from tornado.websocket import websocket_connect

    resources.app.settings["requests"].draining = True
    with pytest.raises(HTTPClientError) as refused:
        await websocket_connect(f"{module.api.base_url.replace('http', 'ws', 1)}/websocket?hash={module.hash}")
    assert refused.value.code == 503


@pytest.mark.gen_test
async def test_metrics_are_for_loopback(anonymous: Api) -> None:
    await anonymous.get("/health/live")
    metrics = (await anonymous.get("/metrics")).body.decode()
    for name in ("zhihui_http_request_duration_seconds_count", "zhihui_module_sockets", "zhihui_tasks_waiting", "zhihui_leader"):
        assert name in metrics
    assert 'route="/health/live"' in metrics


@pytest.mark.gen_test
async def test_others_need_the_token(anonymous: Api) -> None:
    elsewhere = {"X-Forwarded-For": "203.0.113.9"}
    refused = await anonymous.get("/metrics", headers=elsewhere)
    assert (refused.status, refused.type) == (403, "forbidden")
