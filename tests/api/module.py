"""A module as the server sees it: registered, and connected by a plain socket that the test speaks through."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.api.client import Api

WAIT_S = 10


class FakeModule:
    """A registered module; `connect` opens its socket."""

    def __init__(self, api: Api, hash: str, number: int, name: str) -> None:
        self.api = api
        self.hash = hash
        self.number = number
        self.name = name
        self.socket: WebSocketClientConnection | None = None
        self._over = False
        self._waiting: list[str] = []

    @property
    def step(self) -> dict[str, Any]:
        """The module as a step of a workflow."""
        return {"module_hash": self.hash}

    async def connect(self) -> FakeModule:
        self.socket = await websocket_connect(f"{self.api.base_url.replace('http', 'ws', 1)}/websocket?hash={self.hash}")
        self._over = False
        await until(self._is_online)
        return self

    async def _is_online(self) -> bool:
        return bool((await self.api.get(f"/module/{self.hash}")).result["online"])

    async def text(self) -> str:
        """The next frame, as it came."""
        return self._waiting.pop(0) if self._waiting else await self._read()

    async def _read(self) -> str:
        assert self.socket is not None
        frame = await asyncio.wait_for(self.socket.read_message(), WAIT_S)
        assert isinstance(frame, str), f"closed with {self.socket.close_code}"
        return frame

    async def frame(self) -> dict[str, Any]:
        """The next frame of JSON."""
        decoded: dict[str, Any] = msgspec.json.decode(await self.text())
        return decoded

    async def say(self, frame: Any) -> None:
        assert self.socket is not None
        await self.socket.write_message(
            frame if isinstance(frame, str | bytes) else msgspec.json.encode(frame).decode(), binary=isinstance(frame, bytes)
        )

    async def settle(self, execute: dict[str, Any], *, status: str = "success", **more: Any) -> None:
        """Answer an execute frame and read the confirmation; frames that come before it are kept for `text` and `frame`."""
        meta = execute["meta"]
        named = {name: meta[name] for name in ("workflow_id", "run_id", "step_id", "fence")}
        await self.say({"type": "result", "status": status, **named, **more})
        while (frame := await self._read()) != "receive result":
            self._waiting.append(frame)

    async def disconnect(self) -> None:
        """Close the socket, if it is open."""
        if self.socket is not None:
            self.socket.close()
            await self.closed()

    async def closed(self) -> int | None:
        """Wait for the end of the socket; its close code."""
        assert self.socket is not None
        while not self._over:
            self._over = await asyncio.wait_for(self.socket.read_message(), WAIT_S) is None
        return self.socket.close_code


async def until(condition: Any, *, timeout_s: float = WAIT_S) -> Any:
    """Ask again and again until the condition, an async function, says something true; what it said."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = await condition()
            if found:
                return found
            await asyncio.sleep(0.01)
