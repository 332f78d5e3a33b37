"""Answers as server-sent events, and work that ends when its caller goes away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from tornado.iostream import StreamClosedError

from handlers.answering import ENCODE
from handlers.base import ApiHandler
from server.errors import DomainError

T = TypeVar("T")

# Proxies close a connection that says nothing for a minute; a comment is no event.
HEARTBEAT_S = 15.0
CONTENT_TYPE = "text/event-stream"


class CallerGone(StreamClosedError):
    """Whoever asked went away; there is nobody to answer."""


class EventStreamHandler(ApiHandler):
    """A handler whose verbs may answer with `stream`, or do their work in `while_connected`."""

    _work: asyncio.Task[Any] | None = None
    _caller_gone = False

    @property
    def wants_events(self) -> bool:
        """Whether the caller accepts server-sent events before JSON."""
        accepted = [part.partition(";")[0].strip().lower() for part in self.request.headers.get("Accept", "").split(",")]
        return CONTENT_TYPE in accepted

    def on_connection_close(self) -> None:
        self._caller_gone = True
        if self._work is not None:
            self._work.cancel()
        super().on_connection_close()

    async def while_connected(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work, which is cancelled when the caller goes away. Raises CallerGone then."""
        if self._caller_gone:
            work.close()
            raise CallerGone()
        task = self._work = asyncio.ensure_future(work)
        try:
            result: T = await task
            return result
        except StreamClosedError:
            raise CallerGone() from None
        except asyncio.CancelledError:
            task.cancel()
            if self._caller_gone:
                raise CallerGone() from None
            raise
        finally:
            self._work = None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if isinstance(kwargs.get("exc_info", (None, None))[1], CallerGone):
            self.set_status(499, "Client Closed Request")  # for the log and the metrics, as nginx names it
            self.finish()
            return
        super().write_error(status_code, **kwargs)

    async def stream(self, events: AsyncGenerator[T], named: Callable[[T], str]) -> None:
        """Send the events as they come. What fails before the first one is answered as any error; later it is an event of that name."""
        await self.while_connected(self._send(events, named))

    async def _send(self, events: AsyncGenerator[T], named: Callable[[T], str]) -> None:
        async with contextlib.aclosing(events):
            event = await anext(events)
            self.set_header("Content-Type", f"{CONTENT_TYPE}; charset=utf-8")
            self.set_header("X-Accel-Buffering", "no")  # nginx would hold events back
            beating = asyncio.ensure_future(self._beat())
            try:
                await self._write(named(event), ENCODE(event))
                async for event in events:
                    await self._write(named(event), ENCODE(event))
            except (StreamClosedError, asyncio.CancelledError):
                raise
            except Exception as error:
                self.log_exception(type(error), error, error.__traceback__)
                known = error if isinstance(error, DomainError) else DomainError()
                body = self.error_body_only(known)
                await self._write("error", body)
            finally:
                beating.cancel()
        await self.finish()

    def error_body_only(self, error: DomainError) -> bytes:
        """The envelope of an error, when the status has been sent already."""
        status = self.get_status()
        body = self.error_body(error)
        self.set_status(status)
        return body

    async def _write(self, name: str, data: bytes) -> None:
        self.write(b"event: " + name.encode() + b"\ndata: " + data + b"\n\n")
        await self.flush()

    async def _beat(self) -> None:
        with contextlib.suppress(StreamClosedError):
            while True:
                await asyncio.sleep(HEARTBEAT_S)
                self.write(b": still here\n\n")
                await self.flush()
