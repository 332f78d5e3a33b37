"""Keeping the module connected: register, open the socket, and again when it closes."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Protocol

from tornado.httpclient import HTTPClientError
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketError

from zhihui_module.address import Address
from zhihui_module.backoff import Backoff
from zhihui_module.declaration import Declaration
from zhihui_module.errors import RegistrationRefused, ServerAway
from zhihui_module.http_door import HttpDoor
from zhihui_module.registration import register
from zhihui_module.takeover import find_takeover
from zhihui_module.wire import Wire

logger = logging.getLogger("zhihui_module")

# A socket that lived this long was a good one: the next try comes at once again.
STABLE_S = 5.0
STAND_BY_S = 2.0


class WireEvents(Protocol):
    """Who is told about sockets."""

    def wire_opened(self, wire: Wire) -> None: ...

    def wire_received(self, wire: Wire, text: str) -> None: ...

    def wire_closed(self, wire: Wire) -> None: ...


class Connection:
    """At most one socket at a time, opened anew until `finish` is called."""

    def __init__(self, http: HttpDoor, address: Address, declaration: Declaration, events: WireEvents, backoff: Backoff) -> None:
        self._http = http
        self._address = address
        self._declaration = declaration
        self._events = events
        self._backoff = backoff
        self._finished = asyncio.Event()
        self._hash: str | None = None
        self._was_registered = False
        self._process = uuid.uuid4().hex
        self._numbers = 0
        self._last_told = ""
        self.is_standing_by = False
        self.wire: Wire | None = None

    @property
    def module_hash(self) -> str:
        """Raises ServerAway while the module is not registered."""
        if self._hash is None:
            raise ServerAway("the module is not registered")
        return self._hash

    async def run(self) -> None:
        """Until `finish`. Raises RegistrationRefused when the very first registration is refused."""
        while not self._finished.is_set():
            wire = await self._find_wire()
            if wire is not None:
                await self._hold(wire)
            await self._pause(self._backoff.next_delay())

    def finish(self) -> None:
        """Close the socket and open no other."""
        self._finished.set()
        if self.wire is not None:
            self.wire.close("the module stops")

    async def _find_wire(self) -> Wire | None:
        """An open socket, or None when this try failed."""
        try:
            if self._hash is None:
                self._hash = await register(self._http, self._address, self._declaration)
                self._was_registered = True
                logger.info("%s is registered as %s…", self._declaration.name, self._hash[:8])
            self._numbers += 1
            wire = Wire(self._numbers, self._events.wire_received)
            await wire.open(self._address, self._hash, self._process)
        except RegistrationRefused as error:
            if not self._was_registered:
                raise
            self._tell(str(error))
        except HTTPClientError as error:
            if error.code == 403:
                self._hash = None  # the server does not know the hash: register again
            self._tell(f"the socket was refused: {error.code} {error.message}")
        except (ServerAway, WebSocketError, StreamClosedError, OSError) as error:
            self._tell(f"{self._address.url} cannot be reached: {error}")
        else:
            return wire
        return None

    async def _hold(self, wire: Wire) -> None:
        """From a socket's opening to its close, and the wait after a takeover."""
        loop = asyncio.get_running_loop()
        opened_at = loop.time()
        self.wire = wire
        self._last_told = ""
        if self._finished.is_set():
            wire.close("the module stops")
        else:
            logger.info("%s is connected to %s", self._declaration.name, self._address.url)
            self._events.wire_opened(wire)
            wire.begin()
        await wire.closed.wait()
        self.wire = None
        self._events.wire_closed(wire)
        logger.info("%s is disconnected (%s)", self._declaration.name, wire.close_code)
        if loop.time() - opened_at >= STABLE_S:
            self._backoff.reset()
        if wire.draining:
            await self._stand_by()

    async def _stand_by(self) -> None:
        """Wait while another instance serves this module; take over when it goes."""
        self.is_standing_by = True
        try:
            while not self._finished.is_set() and self._hash is not None:
                taken_over = await find_takeover(self._http, self._address, self._hash)
                if taken_over is False:
                    return
                self._tell("another instance has taken over; standing by" if taken_over else "drained; the server does not tell by whom")
                # Not evenly spaced: of several that stand by, one comes first and the others see it.
                await self._pause(STAND_BY_S + self._backoff.next_delay())
                if taken_over is None:
                    return
        finally:
            self.is_standing_by = False

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless `finish` is called."""
        try:
            async with asyncio.timeout(seconds):
                await self._finished.wait()
        except TimeoutError:
            return

    def _tell(self, text: str) -> None:
        """Warn once about each new reason, not at every try."""
        if text != self._last_told:
            self._last_told = text
            logger.warning("%s: %s", self._declaration.name, text)
