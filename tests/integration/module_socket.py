"""A module's socket in the hands of a test: what comes is kept by kind, what goes is whatever the test says."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

CONFIRMED = "receive result"


class ModuleSocket:
    """Frames by type; plain text has the type "text"."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self._came = asyncio.Event()
        self._closed = asyncio.Event()
        self._connection: WebSocketClientConnection

    @classmethod
    async def open(cls, url: str, hash: str, *, process: str = "p1", protocol: int = 2) -> ModuleSocket:
        """By the inherited protocol when `protocol` is 1."""
        socket = cls()
        more = f"&protocol=2&process={process}" if protocol == 2 else ""
        address = f"ws{url.removeprefix('http')}/websocket?hash={hash}{more}"
        socket._connection = await websocket_connect(address, on_message_callback=socket._received)
        return socket

    def _received(self, message: str | bytes | None) -> None:
        if message is None:
            self._closed.set()
            self._connection.close()  # lets go of Tornado's own half
        else:
            self.frames.append(_decoded(message))
        self._came.set()

    async def take(self, kind: str, *, timeout_s: float = 20) -> dict[str, Any]:
        """The oldest frame of a kind that was not taken yet, once it is there."""
        async with asyncio.timeout(timeout_s):
            while True:
                for frame in self.frames:
                    if frame["type"] == kind:
                        self.frames.remove(frame)
                        return frame
                assert not self._closed.is_set(), f"closed ({self._connection.close_code}) without a {kind} frame; {self.frames}"
                self._came.clear()
                await self._came.wait()

    async def execution(self, *, timeout_s: float = 20) -> dict[str, Any]:
        """An execute frame, flat: its meta with the args under `args`."""
        frame = await self.take("execute", timeout_s=timeout_s)
        return {**frame["meta"], "args": frame["args"]}

    def send(self, frame: Any) -> None:
        """An object goes as JSON, text and bytes as they are."""
        plain = isinstance(frame, str | bytes)
        self._connection.write_message(frame if plain else json.dumps(frame), binary=isinstance(frame, bytes))

    def say(self, kind: str, execution: dict[str, Any], **more: Any) -> None:
        """A frame about a step."""
        self.send({"type": kind, "run_id": execution["run_id"], "step_id": execution["step_id"], "fence": execution["fence"], **more})

    async def answer(self, execution: dict[str, Any], output: Any = None, **more: Any) -> None:
        """A result, and its confirmation."""
        self.say("result", execution, **{"status": "success", "output": output or {}, **more})
        await self.confirmed()

    async def confirmed(self) -> None:
        assert (await self.take("text"))["text"] == CONFIRMED

    async def closed(self, *, timeout_s: float = 30) -> int | None:
        """The code, once the server has closed the socket."""
        async with asyncio.timeout(timeout_s):
            await self._closed.wait()
        return self._connection.close_code

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    async def close(self) -> None:
        self._connection.close()
        async with asyncio.timeout(10):
            await self._closed.wait()


def _decoded(message: str | bytes) -> dict[str, Any]:
    try:
        frame = json.loads(message)
    except ValueError:
        return {"type": "text", "text": message}
    return frame if isinstance(frame, dict) and "type" in frame else {"type": "text", "text": message}
