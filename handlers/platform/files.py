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
        await self.answer_file(sha256, sha256, "application/octet-stream")


routes = [(r"/files/(?P<sha256>[0-9a-f]{64})", FileHandler)]
