"""Mail as .eml files in a folder."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from server.clock import Clock
from server.engines.mail import Mail, bare_id, rfc5322
from server.errors import EngineAway


class OutboxMail:
    """One file a message id: a mail that is sent again replaces itself."""

    mode: Literal["embedded", "distributed"] = "embedded"

    def __init__(self, folder: Path, *, sender: str, clock: Clock) -> None:
        self._folder = folder
        self._sender = sender
        self._clock = clock

    async def send(self, mail: Mail) -> None:
        await self._in_thread(lambda: _write(self._folder / _name(bare_id(mail)), rfc5322(mail, self._sender, self._clock).as_bytes()))

    async def ping(self) -> None:
        await self._in_thread(lambda: self._folder.mkdir(parents=True, exist_ok=True))

    async def close(self) -> None:
        """Nothing is open."""

    async def _in_thread(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(work)
        except OSError as error:
            raise EngineAway("mail", str(error)) from error


def _name(identity: str) -> str:
    # The hash keeps two ids apart that differ only in what a file name cannot hold.
    return f"{re.sub(r'[^A-Za-z0-9.-]', '_', identity)[:80]}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}.eml"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    with beside.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    beside.replace(path)
