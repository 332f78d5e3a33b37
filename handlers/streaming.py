"""Handlers whose body streams to disk: their limit, and that what was begun and not finished leaves no file."""

from __future__ import annotations

from tornado.ioloop import IOLoop

from handlers.base import ApiHandler
from server.engines.files import FileWriter
from server.errors import TooLarge


class StreamingHandler(ApiHandler):
    """Takes up to MAX_UPLOAD_MB; `_writer` is the file that is being written."""

    streams = True
    # What a body may be longer than what it carries.
    room = 0
    _writer: FileWriter | None = None

    @property
    def _limit(self) -> int:
        return self.ctx.settings.max_upload_mb << 20

    def _too_large_error(self) -> TooLarge:
        return TooLarge(limit=f"{self.ctx.settings.max_upload_mb} MiB")

    async def prepare(self) -> None:
        await super().prepare()
        length = self.request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > self._limit + self.room:
            raise self._too_large_error()

    async def _abandon(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await writer.abandon()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._spawn_end()

    def on_finish(self) -> None:
        super().on_finish()
        self._spawn_end()

    def _spawn_end(self) -> None:
        if self._writer is not None:
            IOLoop.current().spawn_callback(self._abandon)
