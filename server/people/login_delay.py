"""Growing delay after failed sign-ins, per account and address together and per address, on the bus.

The account alone never counts, so that nobody can lock somebody else out.
"""

from __future__ import annotations

import hashlib
import math

from server.context import Context
from server.errors import TooMany

FREE_TRIES = 5
FREE_TRIES_OF_ADDRESS = 50
LONGEST_DELAY_S = 300
FORGOTTEN_AFTER_S = 3600


def _keys(account: str, address: str) -> dict[str, int]:
    pair = hashlib.sha256(f"{account}\n{address}".encode()).hexdigest()[:32]
    return {f"login:{pair}": FREE_TRIES, f"login-address:{address}": FREE_TRIES_OF_ADDRESS}


def delay_after(failures: int, free: int) -> int:
    """Seconds to wait after so many failures: 0 up to `free`, then 2, 4, 8 … up to five minutes."""
    return 0 if failures < free else min(2 ** min(failures - free + 1, 16), LONGEST_DELAY_S)


async def check(ctx: Context, account: str, address: str) -> None:
    """Raise TooMany while a delay runs."""
    if ctx.settings.rate_limit == "off":
        return
    for key in _keys(account, address):
        left = await ctx.bus.ttl(f"{key}:wait")
        if left > 0:
            raise TooMany(retry_after=math.ceil(left))


async def failed(ctx: Context, account: str, address: str) -> None:
    if ctx.settings.rate_limit == "off":
        return
    for key, free in _keys(account, address).items():
        failures = await ctx.bus.increment(key, ttl_s=FORGOTTEN_AFTER_S)
        if seconds := delay_after(failures, free):
            await ctx.bus.put(f"{key}:wait", b"1", ttl_s=seconds)


async def succeeded(ctx: Context, account: str, address: str) -> None:
    if ctx.settings.rate_limit == "off":
        return
    pair = next(iter(_keys(account, address)))
    await ctx.bus.remove(pair)
