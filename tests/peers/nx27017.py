"""A private server of MongoDB's wire protocol."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers.process import Peer, free_port, require


class Nx27017(Peer):
    @property
    def address(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"


@contextmanager
def running_nx27017(folder: Path) -> Iterator[Nx27017]:
    # Beside the interpreter, which need not be on PATH.
    command = shutil.which("nx-27017", path=str(Path(sys.executable).parent)) or shutil.which("nx-27017")
    require("nx-27017", command)
    port = free_port()
    files = ["--db", "documents.db", "--log-file", "nx.log", "--pid-file", "nx.pid"]
    peer = Nx27017([str(command), *files, "-p", str(port)], folder, port)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
