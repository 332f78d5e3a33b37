"""The topic `queues` of /ws/events: the figures, for those who may see the tasks, as they change."""

from __future__ import annotations

import pytest

from server.context import Context
from tests.api.client import Api
from tests.api.people import user
from tests.api.test_live_events import browser
from tests.api.test_queues import put


@pytest.mark.gen_test(timeout=30)
async def test_the_queues_are_told_as_they_change(api: Api, ctx: Context) -> None:
    async with browser(api) as follower:
        assert await follower.ask("queues") == [("queues", "subscribed")]
        first = await follower.event()
        assert (first["topic"], first["event"]) == ("queues", "QueueFigures")
        assert {queue["queue"]: queue["reserved"] for queue in first["data"]["queues"]}["mail"] == 0
        await put(ctx, 2)
        second = await follower.event()
        assert {queue["queue"]: queue["reserved"] for queue in second["data"]["queues"]}["mail"] == 2


@pytest.mark.gen_test(timeout=30)
async def test_who_may_not_see_tasks_may_not_follow_the_queues(api: Api, ctx: Context, anonymous: Api) -> None:
    student = await user(ctx, anonymous, "student", "student")
    async with browser(student) as follower:
        assert await follower.ask("queues") == [("queues", "refused")]
