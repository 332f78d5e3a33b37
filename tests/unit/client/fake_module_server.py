"""A small server that speaks the module protocol: registration, sockets, files. Tests tell it how to behave."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

import tornado.httpserver
import tornado.testing
import tornado.web
import tornado.websocket

TIMEOUT_S = 20.0


class FakeServer:
    """What the modules did is in `registrations`, `sockets`, `files`; how the server behaves is set by its attributes."""

    def __init__(self) -> None:
        self.registrations: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.sockets: list[FakeSocket] = []
        self.files: dict[str, bytes] = {}
        self.uploads: list[tuple[str, dict[str, str]]] = []
        self.online: list[dict[str, Any]] = []
        self.known_hashes: set[str] = set()
        self.next_hash = 1
        self.register_answers: list[tuple[int, dict[str, Any]]] = []
        self.upload_failures = 0
        self.confirms = True
        self.frames: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self._changed = asyncio.Event()
        self._http: tornado.httpserver.HTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before when it ran before."""
        options = {"server": self}
        application = tornado.web.Application(
            [
                (r"/module/register", RegisterHandler, options),
                (r"/module/online", OnlineHandler, options),
                (r"/module/([^/]+)/files", UploadHandler, options),
                (r"/files/([0-9a-f]+)", DownloadHandler, options),
                (r"/websocket", FakeSocket, options),
            ],
            websocket_max_message_size=1024 * 1024,
        )
        self._http = tornado.httpserver.HTTPServer(application, max_body_size=1024 * 1024 * 1024)
        if self.port:
            self._http.listen(self.port, "127.0.0.1")
        else:
            socket, self.port = tornado.testing.bind_unused_port()
            self._http.add_sockets([socket])

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        assert self._http is not None
        self._http.stop()
        for socket in self.sockets:
            socket.close(1012)
        await self._http.close_all_connections()

    def changed(self) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for a condition on what the server saw; its value."""
        async with asyncio.timeout(TIMEOUT_S):
            while not (value := condition()):
                self._changed.clear()
                await self._changed.wait()
        return value

    async def socket(self, number: int = 1) -> FakeSocket:
        """The n-th socket that was opened, counted from 1."""
        await self.until(lambda: len(self.sockets) >= number)
        return self.sockets[number - 1]

    async def frame(self, kind: str, number: int = 1, **fields: Any) -> dict[str, Any]:
        """The n-th frame of a type with these fields."""

        def find() -> dict[str, Any] | None:
            found = [frame for frame in self.frames if frame["type"] == kind and fields.items() <= frame.items()]
            return found[number - 1] if len(found) >= number else None

        return await self.until(find)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == kind]

    def put_file(self, body: bytes, content_type: str) -> dict[str, Any]:
        """Store a file as an earlier step would have; its reference."""
        sha256 = hashlib.sha256(body).hexdigest()
        self.files[sha256] = body
        return {"$file": {"url": f"/files/{sha256}", "sha256": sha256, "size": len(body), "content_type": content_type}}


class Handler(tornado.web.RequestHandler):
    def initialize(self, server: FakeServer) -> None:
        self.server = server

    def answer(self, result: Any) -> None:
        self.finish({"code": "2000", "message": "成功!", "result": result})


class RegisterHandler(Handler):
    def post(self) -> None:
        self.server.headers.append(dict(self.request.headers))
        self.server.registrations.append(json.loads(self.request.body))
        self.server.changed()
        if self.server.register_answers:
            status, envelope = self.server.register_answers.pop(0)
            self.set_status(status)
            self.finish(envelope)
            return
        module_hash = f"hash{self.server.next_hash}"
        self.server.known_hashes.add(module_hash)
        self.answer({"hash": module_hash, "module_id": 1})

    def get(self) -> None:
        self.server.registrations.append({name: self.get_query_argument(name) for name in self.request.query_arguments})
        self.server.known_hashes.add("inherited")
        self.answer({"hash": "inherited", "module_id": 1})


class OnlineHandler(Handler):
    def get(self) -> None:
        self.finish(json.dumps({"code": "2000", "message": "成功!", "result": self.server.online}))


@tornado.web.stream_request_body
class UploadHandler(Handler):
    def prepare(self) -> None:
        self.pieces: list[bytes] = []

    def data_received(self, chunk: bytes) -> None:
        self.pieces.append(chunk)

    def post(self, module_hash: str) -> None:
        if self.server.upload_failures:
            self.server.upload_failures -= 1
            self.set_status(503)
            self.finish({"code": "5030", "message": "away", "result": None})
            return
        body = b"".join(self.pieces)
        self.server.uploads.append((module_hash, dict(self.request.headers)))
        reference = self.server.put_file(body, self.request.headers["Content-Type"])["$file"]
        self.answer({"url": reference["url"], "sha256": reference["sha256"], "size": len(body)})


class DownloadHandler(Handler):
    def get(self, sha256: str) -> None:
        self.server.headers.append(dict(self.request.headers))
        if sha256 not in self.server.files:
            self.set_status(404)
            self.finish({"code": "4040", "message": "no such file", "result": None})
            return
        self.finish(self.server.files[sha256])


class FakeSocket(tornado.websocket.WebSocketHandler):
    """One module's socket as the server sees it."""

    def initialize(self, server: FakeServer) -> None:
        self.server = server
        self.is_closed = False
        self.code: int | None = None
        self.received: list[dict[str, Any]] = []

    def prepare(self) -> None:
        if self.get_query_argument("hash") not in self.server.known_hashes:
            self.set_status(403)
            self.finish({"code": "4030", "message": "unknown hash", "result": None})

    def open(self) -> None:
        self.server.sockets.append(self)
        self.server.changed()

    def on_message(self, message: str | bytes) -> None:
        self.server.texts.append(str(message))
        frame = json.loads(message)
        self.received.append(frame)
        self.server.frames.append(frame)
        if frame["type"] == "result" and self.server.confirms:
            self.write_message("receive result")
        self.server.changed()

    def on_close(self) -> None:
        self.is_closed, self.code = True, self.close_code
        self.server.changed()

    def execute(self, step: int = 1, args: Any = None, fence: int = 1, **meta: Any) -> None:
        """Send one execution; step n has the ids run-n and step-n."""
        self.write_message(
            json.dumps(
                {
                    "type": "execute",
                    "meta": {
                        "execution_time": "2024-01-01T10:00:00",
                        "workflow_id": "7",
                        "workflow_name": "日报",
                        "run_id": f"run-{step}",
                        "step_id": f"step-{step}",
                        "attempt": 1,
                        "fence": fence,
                        "deadline": "2024-01-01T02:10:00+00:00",
                        **meta,
                    },
                    "args": {} if args is None else args,
                }
            )
        )

    def cancel(self, step: int = 1, fence: int = 1) -> None:
        self.write_message(json.dumps({"type": "cancel", "run_id": f"run-{step}", "step_id": f"step-{step}", "fence": fence}))

    def drain(self) -> None:
        self.write_message('{"type": "drain"}')

    def lose(self) -> None:
        """Cut the connection without a close frame."""
        assert self.ws_connection is not None
        self.ws_connection._abort()  # type: ignore[attr-defined]
