"""/module/HASH/files: a module puts in an output that is too large for a frame."""

from __future__ import annotations

from handlers.operation import operation
from handlers.streaming import StreamingHandler
from server.dispatch import module_files
from server.dispatch.module_schemas import FileStored
from server.scopes import ANYONE


class ModuleFilesHandler(StreamingHandler):
    """The body streams to disk. Who may register a module may put in its files, which the action checks."""

    _size = 0

    async def prepare(self) -> None:
        await super().prepare()
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


routes = [(r"/module/(?P<hash>[0-9a-f]{32})/files", ModuleFilesHandler)]
