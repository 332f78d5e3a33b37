"""The base of both sockets: what is refused is refused before the upgrade, and in the envelope."""

from __future__ import annotations

from typing import Any

from tornado.websocket import WebSocketHandler

from handlers.answering import AnsweringHandler
from handlers.errors import Draining, MethodNotAllowed, OriginNotAllowed, UpgradeNeeded
from server.errors import DomainError
from server.logs import request_id as request_id_in_logs


class SocketHandler(AnsweringHandler, WebSocketHandler):
    """A socket that anybody may ask for and `admit` lets in."""

    async def prepare(self) -> None:
        request_id_in_logs.set(self.request_id)
        if self.request.method != "GET":
            raise MethodNotAllowed()
        if self.requests.draining:
            raise Draining()
        self.check_host()
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            raise UpgradeNeeded()
        await self.admit()

    async def admit(self) -> None:
        """Raise a domain error to refuse the upgrade."""

    def finish(self, chunk: Any = None) -> Any:
        """Tornado's own refusals (a foreign page, an unknown version of the protocol) get our envelope."""
        if self.get_status() >= 400 and not isinstance(chunk, bytes):
            refused: DomainError = OriginNotAllowed() if self.get_status() == 403 else UpgradeNeeded()
            chunk = self.error_body(refused)
        return super().finish(chunk)
