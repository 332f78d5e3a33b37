"""/module/HASH/files: a module puts in an output that is too large for a frame."""

from __future__ import annotations

from tornado.ioloop import IOLoop

from handlers.base import ApiHandler
from handlers.operation import operation
from server.dispatch import module_files
from server.dispatch.module_schemas import FileStored
from server.engines.files import FileWriter
from server.errors import TooLarge
from server.scopes import ANYONE


class ModuleFilesHandler(ApiHandler):
    """The body streams to disk. Who may register a module may put in its files, which the action checks."""

    streams = True
    _writer: FileWriter | None = None
    _size = 0

    @property
    def _limit(self) -> int:
        return self.ctx.settings.max_upload_mb << 20

    def _too_large_error(self) -> TooLarge:
        return TooLarge(limit=f"{self.ctx.settings.max_upload_mb} MiB")

    async def prepare(self) -> None:
        await super().prepare()
        length = self.request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > self._limit:
            raise self._too_large_error()
        await module_files.check_may_put(self.ctx, self.actor, self.path_kwargs["hash"], self.get_query_argument("key", ""))
        self._writer = self.ctx.files.put_stream()

    async def data_received(self, chunk: bytes) -> None:  # type: ignore[override]
        self._size += len(chunk)
        if self._size > self._limit:
            self._too_large = True  # what still comes is let go by, so that the client hears why
            await self._abandon()
        elif self._writer is not None:
            await self._writer.write(chunk)

    @operation(ANYONE, "Put in a file, as the raw body.")
    async def post(self, hash: str) -> FileStored:
        if self._too_large:
            raise self._too_large_error()
        assert self._writer is not None
        writer, self._writer = self._writer, None
        stored = await writer.finish()
        return await module_files.note(self.ctx, hash, stored, self.request.headers.get("Content-Type", "application/octet-stream"))

    async def _abandon(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await writer.abandon()

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.spawn_end()

    def on_finish(self) -> None:
        super().on_finish()
        self.spawn_end()

    def spawn_end(self) -> None:
        """What was begun and not finished leaves no file."""
        if self._writer is not None:
            IOLoop.current().spawn_callback(self._abandon)


routes = [(r"/module/(?P<hash>[0-9a-f]{32})/files", ModuleFilesHandler)]
