"""/websocket: the socket of a module."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable
from typing import Any

import msgspec
from tornado.iostream import StreamBufferFullError
from tornado.web import Application
from tornado.websocket import WebSocketClosedError

from handlers.nesting import DEEPEST, is_too_deep
from handlers.sockets import SocketHandler
from server.dispatch import frames, modules, presence, settling
from server.dispatch.hub import Connection
from server.dispatch.run_logs import LogWriter
from server.dispatch.settling import ProgressWriter, Verdict
from server.errors import EngineAway, Forbidden
from server.messages import say

log = logging.getLogger(__name__)

# What may wait for a slow module before its socket is given up.
LARGEST_BACKLOG = 16 << 20
# What a registered hash can look like.
HASH = re.compile(r"[0-9a-f]{32}")
TOO_SLOW = (1013, "too slow")


class UnknownHash(Forbidden):
    """No module has this hash; refused before the upgrade."""

    type = "unknown_hash"


class ModuleSocketHandler(SocketHandler):
    """Reads frames, gives each to its action, and answers; a frame that cannot be read never costs the socket."""

    def __init__(self, application: Application, request: Any, **kwargs: Any) -> None:
        self.socket: Connection | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_result: asyncio.Task[None] | None = None
        super().__init__(application, request, **kwargs)

    async def admit(self) -> None:
        """An unknown hash is refused before the upgrade."""
        given = self.get_query_argument("hash", "")
        if not HASH.fullmatch(given) or await modules.find_for_socket(self.ctx, given) is None:
            raise UnknownHash(scope="hash")

    async def open(self, *_args: str) -> None:
        assert self.ws_connection is not None
        assert self.ws_connection.stream is not None
        self.ws_connection.stream.max_write_buffer_size = LARGEST_BACKLOG
        self.set_nodelay(True)
        protocol = self.get_query_argument("protocol", "1")
        self.socket = Connection(
            self.get_query_argument("hash"),
            send=self._send,
            close=self.close,
            protocol=2 if protocol == "2" else 1,
            process=self.get_query_argument("process", "")[:64] or None,
            address=self.request.remote_ip or "",
            at=self.ctx.clock.now(),
        )
        self.ctx.metrics.module_sockets.inc()
        await self._until_connected(self.socket)

    async def _until_connected(self, socket: Connection) -> None:
        """The database may be away just now; the module stays connected and gets its work when it is back."""
        wait_s = 0.2
        while not socket.closed:
            try:
                await presence.connected(self.ctx, socket)
                return
            except EngineAway as away:
                log.warning("module %s is connected and waits for %s", socket.hash[:8], away.engine)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 5.0)

    def _send(self, data: bytes) -> None:
        try:
            self.write_message(data).add_done_callback(_retrieve)
        except StreamBufferFullError:
            self.close(*TOO_SLOW)
        except WebSocketClosedError:
            log.debug("a frame came too late for a closed socket")  # its step is looked after when the close is handled

    def on_message(self, message: str | bytes) -> None:
        socket = self.socket
        if socket is None:
            return
        socket.last_seen = self.ctx.clock.now()
        if isinstance(message, bytes):
            self._complain(say("frame.binary", "zh"))
            return
        try:
            frame = frames.decode(message)
            if is_too_deep(message.encode()):
                raise msgspec.DecodeError(say("json.too_deep", "zh", limit=DEEPEST))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self._complain(say("frame.unreadable", "zh", detail=str(error)))
            return
        self.ctx.metrics.frames.labels(type(frame).__name__.lower()).inc()
        if isinstance(frame, frames.Result):
            self._last_result = self._do(self._take_result(socket, frame, self._last_result))
        else:
            self._do(self._take(socket, frame))

    def _do(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _take_result(self, socket: Connection, frame: frames.Result, previous: asyncio.Task[None] | None) -> None:
        """Store a result and confirm it; confirmations go out in the order in which results came, for they name nothing."""
        verdict: Verdict | None = None
        try:
            verdict = await settling.settled(self.ctx, socket, frame)
        except EngineAway:
            return  # the socket is gone; the module sends the result again
        except Exception:
            log.exception("a result of module %s could not be handled", socket.hash[:8])
        if previous is not None and not previous.done():
            await asyncio.wait({previous})
        if verdict is None:
            # Confirmations name nothing: leaving one out would confirm the wrong result. The module sends its results again.
            self._complain(say("frame.failed", "zh"), frame)
            self.close(1011, "a result could not be stored")
            return
        if verdict is Verdict.UNKNOWN:
            self._complain(say("frame.unknown_step", "zh"), frame)
        self._send(frames.CONFIRMED.encode())
        presence.close_if_drained(socket)

    async def _take(self, socket: Connection, frame: Any) -> None:
        try:
            if isinstance(frame, frames.Log):
                known = await self.ctx.services.get(LogWriter).take(socket, frame)
            elif isinstance(frame, frames.Progress):
                await self.ctx.services.get(ProgressWriter).take(socket, frame)
                known = True
            elif isinstance(frame, frames.Ack):
                known = await settling.take_ack(self.ctx, socket, frame) is not Verdict.UNKNOWN
            elif isinstance(frame, frames.Leaving):
                await presence.leaves(self.ctx, socket)
                known = True
            elif isinstance(frame, frames.Refused):
                known = await settling.take_refused(self.ctx, socket, frame) is not Verdict.UNKNOWN
            else:
                known = await settling.take_cancelled(self.ctx, socket, frame) is not Verdict.UNKNOWN
                presence.close_if_drained(socket)
        except EngineAway as away:
            log.warning("a %s frame was not kept: %s is away", type(frame).__name__.lower(), away.engine)
            self._complain(say("frame.failed", "zh"), frame)
            return
        except Exception:
            log.exception("a frame of module %s could not be handled", socket.hash[:8])
            self._complain(say("frame.failed", "zh"), frame)
            return
        if not known:
            self._complain(say("frame.unknown_step", "zh"), frame)

    def _complain(self, message: str, frame: Any = None) -> None:
        complaint = frames.Complaint(message, getattr(frame, "step_id", None), getattr(frame, "fence", None))
        self._send(frames.encode(complaint))

    def on_pong(self, _data: bytes) -> None:
        if self.socket is not None:
            self.socket.last_seen = self.ctx.clock.now()

    def on_close(self) -> None:
        if self.socket is None:
            return
        self.socket.closed = True
        self.ctx.metrics.module_sockets.dec()
        keep = self.ctx.services.get(Closing)
        keep.add(presence.disconnected(self.ctx, self.socket))


class Closing:
    """The ends of sockets that are being written down; they outlive their handlers."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("the end of a socket could not be written down", exc_info=task.exception())


def _retrieve(future: Awaitable[None]) -> None:
    """A write that fails has closed its socket, which is handled there."""
    if not future.cancelled():  # type: ignore[attr-defined]
        future.exception()  # type: ignore[attr-defined]


routes = [(r"/websocket", ModuleSocketHandler)]
