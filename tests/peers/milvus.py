"""Milvus Lite as its own command starts it: what stands in for a Milvus server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers.process import Peer, free_port


class Milvus(Peer):
    """Keeps its data when it is started again."""


@contextmanager
def running_milvus(folder: Path) -> Iterator[Milvus]:
    port = free_port()
    data = folder / "data"
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(data), "--host", "127.0.0.1", "--port", str(port)]
    peer = Milvus(command, folder, port)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
