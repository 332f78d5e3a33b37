"""/files: content by a signed link, always as an attachment."""

from __future__ import annotations

import msgspec

from handlers.base import ApiHandler
from handlers.operation import operation
from server.platform import file_links
from server.scopes import ANYONE


class LinkQuery(msgspec.Struct, forbid_unknown_fields=True):
    expires: int = 0
    signature: str = ""


class FileHandler(ApiHandler):
    @operation(ANYONE, "A file, by a link that the server gave out.", raw=True)
    async def get(self, sha256: str, query: LinkQuery) -> None:
        file_links.check(self.ctx, sha256, query.expires, query.signature, now=self.ctx.clock.now())
        size = await self.ctx.files.size(sha256)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", f'attachment; filename="{sha256}"')
        self.set_header("Content-Length", str(size))
        if self.request.method == "HEAD":
            return
        async for chunk in self.ctx.files.iterate(sha256):
            self.write(chunk)
            await self.flush()


routes = [(r"/files/(?P<sha256>[0-9a-f]{64})", FileHandler)]
