"""Asks every engine at once whether it answers."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from server.errors import EngineAway

log = logging.getLogger(__name__)

# user:password@ of an address that a driver put into its error.
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]+@")


class Door(Protocol):
    """What every engine door has."""

    @property
    def mode(self) -> Literal["embedded", "distributed"]: ...

    async def ping(self) -> None: ...


class EngineHealth(msgspec.Struct, frozen=True):
    """How one engine is; `cause` says why it is away."""

    state: Literal["up", "away"]
    latency_ms: float
    mode: Literal["embedded", "distributed"]
    cause: str = ""


async def check(doors: Mapping[str, Door], timeout_s: float = 2) -> dict[str, EngineHealth]:
    """The health of each door by its name; takes `timeout_s` at most."""
    found = await asyncio.gather(*(_check_one(name, door, timeout_s) for name, door in doors.items()))
    return dict(zip(doors, found, strict=True))


async def _check_one(name: str, door: Door, timeout_s: float) -> EngineHealth:
    begun = time.perf_counter()
    cause = ""
    try:
        async with asyncio.timeout(timeout_s):
            await door.ping()
    except TimeoutError:
        cause = f"no answer in {timeout_s:g} s"
    except EngineAway as away:
        cause = _CREDENTIALS.sub("***@", away.cause)[:200] or "away"
    except Exception as error:  # a ping that breaks must not hide how the others are
        log.exception("the ping of %s failed", name)
        cause = type(error).__name__
    latency_ms = round((time.perf_counter() - begun) * 1000, 1)
    return EngineHealth("away" if cause else "up", latency_ms, door.mode, cause)
