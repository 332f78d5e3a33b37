"""A real CAS server, django-cas-server, in a Python environment of its own."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts import ensure
from tests.peers.process import Peer, free_port, unavailable

PERSON: dict[str, Any] = {
    "username": "2021001",
    "password": "a password of the university",
    "attributes": {"name": "张三", "mail": "zhangsan@bupt.example", "employeeNumber": "2021001", "alias": ["zs", "san"]},
}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class CasServer(Peer):
    """`service` is the one address that it gives tickets for, and that it tells of logouts."""

    service = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/cas"


def python_of_cas() -> Path:
    """The interpreter of .venv-cas, which is made when it is missing; skips, or fails in CI, when it cannot be made."""
    try:
        ensure.ensure("cas")
    except ensure.CannotInstall as problem:
        unavailable(f"django-cas-server cannot be installed: {problem}")
    return ensure.python_of(ensure.ROOT / ensure.SETS["cas"][0])


@contextmanager
def running_cas(folder: Path, service: str) -> Iterator[CasServer]:
    python, port = python_of_cas(), free_port()
    site = Path(__file__).with_name("cas_site.py")

    def is_ready() -> bool:
        try:
            with DIRECT.open(f"http://127.0.0.1:{port}/cas/login", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    # -P: beside the script lies a file of the same name as the package that it imports
    peer = CasServer([str(python), "-P", str(site), str(port), service, json.dumps(PERSON)], folder, port, is_ready=is_ready)
    peer.service = service
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
