"""A connection to Milvus that comes back: broken ones are replaced, a child that died is started, errors become ours."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from server.engines.milvus_lite import LiteChild
from server.engines.vectors import CollectionNotFound, VectorsRefused
from server.engines.vectors_schema import NOT_FOUND, NOT_LOADED
from server.errors import EngineAway

if TYPE_CHECKING:
    from pymilvus import MilvusClient

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
# How long a request waits in all for an engine that has gone to come back.
PATIENCE_S = 8.0
RECONNECT_PAUSE_S = 0.5


class _Lost(Exception):
    """The connection broke, or the engine does not answer: `is_slow` when it may still be at work."""

    def __init__(self, cause: str, *, is_slow: bool = False) -> None:
        super().__init__(cause)
        self.is_slow = is_slow


class _NotLoaded(Exception):
    """Milvus Lite was started anew and has not loaded the collection."""


class MilvusConnection:
    """pymilvus's client at an address, or of a child process. Blocking, for any number of threads."""

    def __init__(self, uri: str, child: LiteChild | None, *, load_timeout_s: float) -> None:
        self._uri = uri
        self._child = child
        self._load_timeout_s = load_timeout_s
        self._client: MilvusClient | None = None
        self._connecting = threading.Lock()
        self._cause = ""
        self._not_before = 0.0
        self._begun = False
        self._closed = False

    @property
    def is_begun(self) -> bool:
        """Whether anything was asked yet: before that there is nothing to be away."""
        return self._begun

    def ask(self, collection: str, work: Callable[[MilvusClient], T]) -> T:
        """Ask, and ask again while the engine is coming back; every request may be repeated."""
        deadline: float | None = None  # from the first failure on
        pause_s = 0.02
        while True:
            self._check_open()
            client = None
            try:
                client = self._connected()
                return _asked(client, work)
            except _NotLoaded:
                deadline = deadline or time.monotonic() + PATIENCE_S
                if time.monotonic() > deadline:
                    raise EngineAway("vectors", "the collection does not load") from None
                assert client is not None
                try:
                    _asked(client, lambda there: there.load_collection(collection, timeout=self._load_timeout_s))
                except (_Lost, _NotLoaded) as error:
                    raise EngineAway("vectors", str(error)) from None
            except _Lost as lost:
                deadline = deadline or time.monotonic() + PATIENCE_S
                if not lost.is_slow:
                    self._disconnect(client)
                if lost.is_slow or time.monotonic() > deadline:
                    raise EngineAway("vectors", str(lost)) from None
                time.sleep(pause_s)
                pause_s = min(1.0, 2 * pause_s)

    def _connected(self) -> MilvusClient:
        """The client; connects, and starts the child, when need be."""
        client = self._client
        if client is not None:
            return client
        with self._connecting:
            self._check_open()
            self._begun = True
            if self._client is None:
                if self._child is not None:
                    self._child.ensure()
                if time.monotonic() < self._not_before:  # those who queued up behind one that failed
                    raise _Lost(self._cause)
                try:
                    self._client = _connect(self._uri)
                except _Lost as lost:
                    self._cause, self._not_before = str(lost), time.monotonic() + RECONNECT_PAUSE_S
                    raise
            client = self._client
        if self._closed:  # while it came up
            self._disconnect(client)
            self._check_open()
        return client

    def _disconnect(self, client: MilvusClient | None) -> None:
        """Give a connection up, unless another thread has done so already."""
        with self._connecting:
            mine = self._client if client is self._client else None
            if mine is None:
                return
            self._client = None
        mine.close()

    def close(self) -> None:
        """Break off what is under way; who waits gets EngineAway."""
        self._closed = True
        if self._child is not None:
            self._child.refuse()
        self._disconnect(self._client)

    def _check_open(self) -> None:
        if self._closed:
            raise EngineAway("vectors", "closed")


def _load() -> None:
    """Import pymilvus, which brings pandas, and a million objects, along."""
    # Each collection of garbage meanwhile would look at all of them anew and hold the loop; they are there to stay.
    gc.disable()
    try:
        import pymilvus  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


def _connect(uri: str) -> MilvusClient:
    # Read when gRPC is imported: it writes to standard error otherwise, and about every fork.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    _load()
    from pymilvus import MilvusClient

    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs each error with a traceback; ours go to the caller

    def work(_: Any) -> MilvusClient:
        return MilvusClient(uri, timeout=CONNECT_TIMEOUT_S, dedicated=True)

    client = _asked(None, work)

    def lost(error: Exception) -> bool:
        # pymilvus would wait and repeat on its own, and not know that a child has to be started.
        import grpc  # type: ignore[import-untyped]
        from pymilvus.exceptions import MilvusUnavailableException

        if isinstance(error, grpc.RpcError):
            raise MilvusUnavailableException(message=str(error.code())) from error
        return False

    client._handler._on_rpc_error = lost
    return client


def _asked(client: Any, work: Callable[[Any], T]) -> T:
    """What the work returns; its errors become _Lost, _NotLoaded or VectorsRefused, without pymilvus's words of many lines."""
    import grpc
    from pymilvus.exceptions import MilvusException, MilvusUnavailableException

    try:
        return work(client)
    except MilvusUnavailableException as error:
        raise _Lost(error.message) from None
    except MilvusException as error:
        code, message = error.code, str(error.message).partition("\n")[0][:300]
        if code in NOT_LOADED:
            raise _NotLoaded from None
        if isinstance(code, grpc.StatusCode) or "imeout" in message or "onnect" in message:
            raise _Lost(f"{code}: {message}") from None
        raise CollectionNotFound() if code in NOT_FOUND else VectorsRefused(detail=message) from None
    except grpc.RpcError as error:
        status = error.code() if isinstance(error, grpc.Call) else None
        if status in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED):
            raise VectorsRefused(detail=str(status)) from None
        raise _Lost(str(status), is_slow=status is grpc.StatusCode.DEADLINE_EXCEEDED) from None
    except ValueError as error:
        if "closed channel" not in str(error):  # gRPC's word for one that was closed meanwhile
            raise
        raise _Lost(str(error)) from None
