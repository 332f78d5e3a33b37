"""Serving: accept requests until told to stop, then let go of everybody politely. Shared by `python -m server` and gunicorn's worker."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tornado.web import Application

from server import __version__
from server.config import Settings, listed
from server.data_dir import make_private
from server.proxies import MIB, ProxiedServer, listed_addresses

log = logging.getLogger(__name__)

OPEN_FILES = 65_536
FEW_FILES = 4096
BACKLOG = 2048  # connections that wait to be accepted; the kernel caps it at net.core.somaxconn
SERVICE_RESTART = 1012
IDLE_CONNECTION_S = 75
BODY_S = 60
CLOSE_AT_ONCE_S = 5.0  # what closing the engines may take when somebody insists
LOOK_EVERY_S = 0.02


class Servable(Protocol):
    """What is served: server.resources.Resources, or a stand-in.

    `app.settings["connections"]` has `__len__` and `close_all(code, reason)`; `app.settings["requests"]` has `in_flight` and `draining`.
    """

    app: Application

    async def drain(self) -> None: ...

    async def close(self) -> None: ...


class Stopping:
    """The wish to stop: `ask` once to drain, a second time (or `insist`) to stop at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()

    def ask(self) -> None:
        if self.asked.is_set():
            self.insist()
        self.asked.set()

    def insist(self) -> None:
        self.asked.set()
        self.insisted.set()


def make_server(app: Application, settings: Settings) -> ProxiedServer:
    """The HTTP server of these settings, not listening yet. Raises ValueError for a TRUSTED_PROXIES entry that is no address."""
    largest = max(settings.max_upload_mb, settings.max_body_mb) * MIB
    server = ProxiedServer(
        app,
        max_body_size=largest + MIB,  # a multipart body is a little longer than its file
        idle_connection_timeout=IDLE_CONNECTION_S,
        body_timeout=BODY_S,
        decompress_request=False,
    )
    server.proxies = listed_addresses(listed(settings.trusted_proxies))
    # handlers answer a body over max_body_mb with 413; what is far over it is cut off while it arrives
    server.max_body = max(4 * settings.max_body_mb, 32) * MIB
    server.max_upload = largest + MIB
    return server


async def serve(
    resources: Servable,
    sockets: Sequence[socket.socket],
    *,
    settings: Settings,
    stopping: Stopping,
    ready: Callable[[], None] | None = None,
) -> None:
    """Accept on `sockets` until asked to stop; then drain and close `resources`.

    Draining: nothing new is accepted, /health/ready answers 503, planning and claiming stop, sockets are closed with 1012, requests
    in flight get `drain_timeout_s` to end, then connections and engines are closed. `ready` is called once requests are accepted.
    """
    server = make_server(resources.app, settings)
    for listener in sockets:
        listener.setblocking(False)
        server.add_socket(listener)
    note = ReadyNote(settings, port=sockets[0].getsockname()[1] if sockets[0].family != socket.AF_UNIX else 0)
    try:
        await asyncio.to_thread(note.write)
        log.info("serving on %s, pid %d", ", ".join(_named(listener) for listener in sockets), os.getpid())
        if ready is not None:
            ready()
        await stopping.asked.wait()
        await _drain(server, resources, settings.drain_timeout_s, stopping)
    finally:
        server.stop()
        await asyncio.to_thread(note.remove)
        await _close(resources, stopping)
        log.info("stopped, pid %d", os.getpid())


async def open_and_serve(
    settings: Settings, sockets: Sequence[socket.socket], stopping: Stopping, *, ready: Callable[[], None] | None = None
) -> None:
    """Open the engines of these settings on the running loop, then serve. Connections wait in the backlog meanwhile."""
    allow_many_sockets()
    from server.resources import Resources  # all of the application: after the quick refusals of start-up

    resources = await Resources.open(settings)
    gc.collect()
    gc.freeze()  # what is there now stays: full collections, which hold the loop, need not look at it again
    await serve(resources, sockets, settings=settings, stopping=stopping, ready=ready)


def allow_many_sockets(wanted: int = OPEN_FILES) -> int:
    """Raise this process's limit of open files, each socket being one, towards `wanted`. Returns the limit in force.

    A shell's usual 1024 would refuse the thousandth module; the hard limit is the administrator's.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = limit
    if soft != resource.RLIM_INFINITY and soft < FEW_FILES:
        log.warning("at most %d files and sockets can be open: raise the hard limit (ulimit -Hn)", soft)
    return soft


async def _drain(server: ProxiedServer, resources: Servable, timeout_s: float, stopping: Stopping) -> None:
    started = time.monotonic()
    requests, connections = resources.app.settings["requests"], resources.app.settings["connections"]
    log.info("draining: %d requests in flight, %d sockets open", requests.in_flight, len(connections))
    server.stop()
    requests.draining = True
    server.conn_params.no_keep_alive = True  # requests that still come on open connections are answered with Connection: close
    resting = asyncio.create_task(_unless_insisted(resources.drain(), stopping))  # may wait for jobs: the sockets need not
    connections.close_all(SERVICE_RESTART, "service restart")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            try:
                await resting
            except Exception:  # the requests in flight still get their time
                log.exception("draining met an error")
            while (requests.in_flight or len(connections)) and not stopping.insisted.is_set():  # noqa: ASYNC110 - plain counters
                await asyncio.sleep(LOOK_EVERY_S)
    took = time.monotonic() - started
    if requests.in_flight or len(connections):
        log.warning("giving up on %d requests and %d sockets after %.1f s", requests.in_flight, len(connections), took)
    else:
        log.info("drained in %.1f s", took)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_AT_ONCE_S):
            await server.close_all_connections()  # idle keep-alive connections, and what we gave up on


async def _close(resources: Servable, stopping: Stopping) -> None:
    """Close the engines; when somebody insists they get a bounded time."""
    await _unless_insisted(resources.close(), stopping, grace_s=CLOSE_AT_ONCE_S)


async def _unless_insisted(work: Coroutine[Any, Any, None], stopping: Stopping, *, grace_s: float = 0.0) -> None:
    """Await `work`; once somebody insists it has `grace_s` seconds more, then it is cancelled."""
    doing = asyncio.create_task(work)
    insisted = asyncio.create_task(stopping.insisted.wait())
    try:
        await asyncio.wait({doing, insisted}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done() and grace_s:
            await asyncio.wait({doing}, timeout=grace_s)
        if doing.done():
            doing.result()
        else:
            log.warning("cut short: %s", getattr(work, "__qualname__", work))
    finally:
        for task in (doing, insisted):
            task.cancel()
        await asyncio.gather(doing, insisted, return_exceptions=True)


class ReadyNote:
    """DATA_DIR/run/server.json: who serves now, there while requests are accepted. Two workers overlap during a reload: the last
    to become ready is named, and only the one that is named removes it."""

    def __init__(self, settings: Settings, *, port: int) -> None:
        self.path: Path = settings.data / "run" / "server.json"
        self._facts = {
            "pid": os.getpid(),
            "port": port,
            "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "version": __version__,
        }

    def write(self) -> None:
        make_private(self.path.parent)
        beside = self.path.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(self._facts) + "\n", encoding="utf-8")
        beside.replace(self.path)

    def remove(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if json.loads(self.path.read_text(encoding="utf-8"))["pid"] == os.getpid():
                self.path.unlink()


def _named(listener: socket.socket) -> str:
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return str(name)
    host, port = name[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
