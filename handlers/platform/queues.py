"""/api/queues: the figures of each queue, and its concurrency."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.platform import inspecting, queue_settings
from server.platform.inspecting import QueueFigure
from server.platform.queue_settings import QueuePatch, QueueView


class QueuesHandler(ApiHandler):
    @operation("tasks:read", "The queues with their concurrency, length, age, throughput and error rate.", everywhere=True)
    async def get(self) -> list[QueueFigure]:
        return await inspecting.list_queues(self.ctx, self.actor)


class QueueHandler(ApiHandler):
    @operation("tasks:write", "How many tasks of a queue each instance works on at once, from now on.", everywhere=True)
    async def patch(self, name: str, body: QueuePatch) -> QueueView:
        return await queue_settings.set_concurrency(self.ctx, self.actor, name, body)


routes = [
    (r"/api/queues", QueuesHandler),
    (r"/api/queues/(?P<name>[a-z_]{1,40})", QueueHandler),
]
