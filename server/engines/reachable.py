"""Whether an engine's address takes connections, where asking it more would cost something."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from server.errors import EngineAway

CONNECT_TIMEOUT_S = 5.0


async def check_reachable(engine: str, url: str) -> None:
    """Raise EngineAway unless the host of an http:// or https:// address takes connections."""
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(address.hostname, port)
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        raise EngineAway(engine, str(error) or "no answer") from error
