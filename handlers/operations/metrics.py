"""/metrics: Prometheus text, for loopback or with the token."""

from __future__ import annotations

import hmac
import ipaddress

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from handlers.base import ApiHandler, bearer_of
from handlers.operation import Operation, operation
from server.dispatch.hub import Hub
from server.errors import Forbidden
from server.platform.task_actions import queue_stats
from server.scopes import ANYONE, system_actor


class MetricsHandler(ApiHandler):
    async def load_actor(self, declared: Operation) -> None:
        token = self.ctx.settings.metrics_token
        if token and hmac.compare_digest(bearer_of(self.request).encode(), token.encode()):
            return
        try:
            if ipaddress.ip_address(self.request.remote_ip or "").is_loopback:
                return
        except ValueError:
            pass
        raise Forbidden(scope="METRICS_TOKEN")

    @operation(ANYONE, "Metrics in the Prometheus text format; from loopback, or with METRICS_TOKEN.", raw=True)
    async def get(self) -> None:
        metrics = self.ctx.metrics
        for stats in await queue_stats(self.ctx, system_actor("metrics")):
            metrics.tasks_waiting.labels(stats.queue).set(stats.reserved)
            metrics.task_oldest.labels(stats.queue).set(stats.oldest_s)
        metrics.requests_in_flight.set(self.requests.in_flight)
        metrics.steps_in_flight.set(self.ctx.services.get(Hub).in_flight)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(metrics.registry))


routes = [(r"/metrics", MetricsHandler)]
