"""A module: what it declares, its handler, and how it is run."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from zhihui_module.address import read_address
from zhihui_module.backoff import Backoff
from zhihui_module.declaration import declare
from zhihui_module.requirements import Requirement
from zhihui_module.session import Session

HandlerT = TypeVar("HandlerT", bound=Callable[[Any], Any])
logger = logging.getLogger("zhihui_module")


class Module:
    """A remote component of Zhihui.

    `inputs` and `outputs` are lists of requirements, dicts or `Requirement`. `concurrency` is how many tasks run at once, `grace_s`
    how many seconds running tasks get when the process is asked to end. `url` and `key` default to ZHIHUI_URL and
    ZHIHUI_MODULE_KEY. Raises ValueError naming the argument that is wrong.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        model_hash: str = "v1",
        inputs: Iterable[Requirement | Mapping[str, Any]] = (),
        outputs: Iterable[Requirement | Mapping[str, Any]] = (),
        url: str | None = None,
        key: str | None = None,
        concurrency: int = 1,
        grace_s: float = 30.0,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.declaration = declare(name, description, model_hash, inputs, outputs)
        self._address = read_address(url, key, os.environ if environ is None else environ)
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ValueError(f"concurrency: must be a whole number from 1, not {concurrency!r}")
        if isinstance(grace_s, bool) or not isinstance(grace_s, (int, float)) or not grace_s >= 0:
            raise ValueError(f"grace_s: must be a number of seconds from 0, not {grace_s!r}")
        self._concurrency = concurrency
        self._grace_s = float(grace_s)
        self._handler: Callable[[Any], Any] | None = None
        self._session: Session | None = None
        self._waiting: list[asyncio.Future[Session]] = []

    def handler(self, function: HandlerT) -> HandlerT:
        """Decorator: the function that does the work. Sync functions run in a thread, `async def` on the loop.

        It gets a `Task` (or an `AsyncTask`) and returns the outputs by name, or None. Raises ValueError for a second one.
        """
        if self._handler is not None:
            raise ValueError("handler: the module has one already")
        if not callable(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ValueError("handler: must be a function or an async function of one task")
        self._handler = function
        return function

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once. Blocks.

        Raises RegistrationRefused when the server refuses the module at its first registration.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        asyncio.run(self._serve_until_signal())

    async def serve(self) -> None:
        """Serve on the running loop until `stop` is awaited elsewhere. Raises RegistrationRefused, as `run` does."""
        if self._handler is None:
            raise ValueError("handler: the module has none; decorate a function with @module.handler")
        if self._session is not None:
            raise RuntimeError("the module is being served already")
        function = self._handler
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        session = Session(self.declaration, self._address, function, is_async, concurrency=self._concurrency, backoff=Backoff())
        self._session = session
        for begun in self._waiting:
            if not begun.done():
                begun.set_result(session)
        self._waiting.clear()
        try:
            await session.run()
        finally:
            self._session = None

    async def stop(self, grace_s: float | None = None) -> None:
        """Drain: no new work, what is held is finished within `grace_s` (default: the module's), then `serve` returns."""
        if self._session is not None:
            await self._session.stop(self._grace_s if grace_s is None else grace_s)

    async def wait_connected(self) -> None:
        """Until the socket is open, also when `serve` has yet to begin."""
        if (session := self._session) is None:
            begun: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
            self._waiting.append(begun)
            session = await begun
        await session.connected.wait()

    async def _serve_until_signal(self) -> None:
        loop = asyncio.get_running_loop()
        stops: list[asyncio.Task[None]] = []

        def on_signal() -> None:
            logger.info("%s stops%s", self.declaration.name, " at once" if stops else f"; running tasks get {self._grace_s:g} s")
            stops.append(loop.create_task(self.stop(0.0 if stops else None)))

        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, on_signal)
            except NotImplementedError:  # Windows: its loops take no signals, the interpreter's own handler does
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(on_signal))
        await self.serve()
        await asyncio.gather(*stops)
