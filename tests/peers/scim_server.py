"""A real SCIM server, scim2-server, in a Python environment of its own."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts import ensure
from tests.peers.process import Peer, free_port, unavailable

TOKEN = "the token of the SCIM server"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ScimServer(Peer):
    """It keeps its users in memory: a restart loses them."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask it by ourselves, as its own administrator."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, method=method, headers=headers, data=data)
        with DIRECT.open(request, timeout=10) as answer:
            said = answer.read()
        return json.loads(said) if said else None

    def users(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/Users").get("Resources", [])
        return found


def command_of_scim() -> Path:
    """The server's command in .venv-scim, which is made when it is missing; skips, or fails in CI, when it cannot be made."""
    try:
        ensure.ensure("scim")
    except ensure.CannotInstall as problem:
        unavailable(f"scim2-server cannot be installed: {problem}")
    return ensure.ROOT / ensure.SETS["scim"][0] / "bin" / "scim2-server"


@contextmanager
def running_scim(folder: Path) -> Iterator[ScimServer]:
    command, port = command_of_scim(), free_port()
    peer = ScimServer([str(command), "--bearer-token", TOKEN, "--hostname", "127.0.0.1", "--port", str(port)], folder, port)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
