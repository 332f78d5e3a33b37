"""The child process that is Milvus Lite: one a data folder, on a Unix socket, for as long as anybody uses it.

`python -m server.engines.milvus_lite_server DATA SOCKET USERS`. Those who use it hold a shared flock on the file USERS; when nobody does
any more, it ends, however they went away. Milvus Lite's own lock on DATA decides which of several that start at once is the one.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import WeakSet

LOCKED = 3  # exit code: another one has the folder
FOLLOW_S = 1.0
# Searches hold the interpreter lock for most of their time; more threads would only make all of them slow.
THREADS = 8
MOST_MESSAGE_BYTES = 256 << 20
GRACE_S = 2.0


def build(data: str) -> tuple[Any, Any, Any]:
    """The gRPC server over the data, not yet started, its service, and the database. Raises DataDirLockedError."""
    import grpc  # type: ignore[import-untyped]
    from milvus_lite.adapter.grpc.servicer import MilvusServicer
    from milvus_lite.db import MilvusLite
    from pymilvus.grpc_gen import milvus_pb2_grpc

    from server.engines.milvus_lite_search import QuickSearch, knows_this_release

    class Servicer(MilvusServicer):  # type: ignore[misc]
        """Milvus Lite's service, whose writes come one at a time and are flushed before they are answered.

        Unflushed rows cost searches over half a second, and a collection of Lite takes one writer only.
        """

        def __init__(self, db: Any) -> None:
            super().__init__(db)
            self._writing = threading.RLock()
            self._is_quick = knows_this_release()
            self._searches: WeakSet[QuickSearch] = WeakSet()

        def _get_collection(self, request: Any, context: Any) -> Any:
            collection = super()._get_collection(request, context)
            if self._is_quick and "search" not in vars(collection):
                quick = QuickSearch(collection)
                collection.search = quick.search
                self._searches.add(quick)
            return collection

        def refresh(self) -> None:
            """Have searches use the files that were merged, and forget those that are gone."""
            for quick in list(self._searches):
                try:
                    quick.refresh()
                except Exception:  # a collection that is being dropped; the searches of the others go on
                    traceback.print_exc()

        def _flush(self, request: Any, context: Any, answer: Any) -> Any:
            status = getattr(answer, "status", answer)
            if not (status.code or status.error_code):
                collection = self._get_collection(request, context)
                collection.flush()
                if self._is_quick and collection.load_state == "loaded":
                    collection.search.__self__.refresh()
            return answer

        def Insert(self, request: Any, context: Any) -> Any:  # noqa: N802, the names are Milvus's
            with self._writing:
                return self._flush(request, context, super().Insert(request, context))

        def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802
            with self._writing:
                return self._flush(request, context, super().Upsert(request, context))

        def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
            with self._writing:
                return self._flush(request, context, super().Delete(request, context))

        def LoadCollection(self, request: Any, context: Any) -> Any:  # noqa: N802
            with self._writing:  # what a crash left in the log only is flushed here
                return self._flush(request, context, super().LoadCollection(request, context))

        def CreateCollection(self, request: Any, context: Any) -> Any:  # noqa: N802
            with self._writing:
                return super().CreateCollection(request, context)

        def CreateIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
            with self._writing:
                return super().CreateIndex(request, context)

        def DropCollection(self, request: Any, context: Any) -> Any:  # noqa: N802
            with self._writing:
                return super().DropCollection(request, context)

        def Flush(self, request: Any, context: Any) -> Any:  # noqa: N802
            with self._writing:
                return super().Flush(request, context)

    database = MilvusLite(data)
    options = [("grpc.max_receive_message_length", MOST_MESSAGE_BYTES), ("grpc.max_send_message_length", MOST_MESSAGE_BYTES)]
    grpc_server = grpc.server(ThreadPoolExecutor(THREADS), options=options)
    service = Servicer(database)
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(service, grpc_server)
    return grpc_server, service, database


def is_deserted(users: int) -> bool:
    """Whether nobody holds the lock; then it is ours until we end, and who wants in waits for that."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main(data: str, socket: str, users: str) -> int:
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    os.umask(0o077)
    import jieba
    from milvus_lite.exceptions import DataDirLockedError

    # Its cache is unmarshalled: never from /tmp, where anybody can put one.
    cache = Path(data).parent / "milvus-cache"
    cache.mkdir(exist_ok=True)
    jieba.dt.tmp_dir = str(cache)
    try:
        grpc_server, service, database = build(data)
    except DataDirLockedError:
        return LOCKED
    following = os.open(users, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Only who has the lock on the data binds the socket, so what lies there is nobody's.
        Path(socket).unlink(missing_ok=True)
        grpc_server.add_insecure_port(f"unix:{socket}")
        Path(users).write_text(str(os.getpid()))
        grpc_server.start()
        threading.Thread(target=jieba.initialize, daemon=True).start()  # the first keyword search would wait a second for it
        while not ending.wait(FOLLOW_S) and not is_deserted(following):
            service.refresh()
    finally:
        grpc_server.stop(grace=GRACE_S).wait()
        Path(socket).unlink(missing_ok=True)
        database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
