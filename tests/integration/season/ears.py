"""What one person's browser hears at /ws/events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tornado.websocket import websocket_connect

from tests.contract.waiting import until


class Ear:
    """An open socket that follows the caller's notifications, and every frame that came on it."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.frames: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str, ticket: str, topics: list[str]) -> Ear:
        """Once every topic is followed."""
        ear = cls(await websocket_connect(f"{url.replace('http', 'ws', 1)}/ws/events?ticket={ticket}"))
        await ear._socket.write_message(json.dumps({"subscribe": topics}))
        await until(lambda: len(ear.frames) >= len(topics))
        answered = {frame["topic"]: frame["event"] for frame in ear.frames[: len(topics)]}
        if answered != dict.fromkeys(topics, "subscribed"):
            await ear.end()
            raise AssertionError(f"not every topic may be followed: {answered}")
        return ear

    async def _read(self) -> None:
        while (message := await self._socket.read_message()) is not None:
            self.frames.append(json.loads(message))

    def data(self, topic: str) -> list[Any]:
        """What was told of a topic, in order."""
        return [frame["data"] for frame in self.frames if frame["topic"] == topic and frame["event"] not in ("subscribed", "resync")]

    def told(self) -> list[dict[str, Any]]:
        """The notifications that were pushed, in order, as often as they were."""
        return [data["notification"] for data in self.data("notifications") if data["notification"] is not None]

    def check_whole(self) -> None:
        """No frame of the socket is missing, and it never lost track."""
        assert [frame["seq"] for frame in self.frames] == list(range(self.frames[0]["seq"], self.frames[0]["seq"] + len(self.frames)))
        assert "resync" not in {frame["event"] for frame in self.frames}

    async def end(self) -> None:
        self._socket.close()
        await self._reading
