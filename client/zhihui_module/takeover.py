"""After a drain: whether another instance of this module has taken over, or the server merely restarts.

Both begin with the same `drain`. Reconnecting after a takeover would take the work back, the other instance would do the same,
and the two would swap for ever; so a drained instance first looks at the list of online modules.
"""

from __future__ import annotations

from tornado.httpclient import HTTPRequest

from zhihui_module.address import Address
from zhihui_module.errors import ServerAway, ServerRefused
from zhihui_module.http_door import REQUEST_TIMEOUT_S, HttpDoor


async def find_takeover(http: HttpDoor, address: Address, module_hash: str) -> bool | None:
    """True: another instance serves the hash. False: nobody does, or the server is away. None: the server does not tell."""
    request = HTTPRequest(address.path("/module/online"), headers=address.headers, request_timeout=REQUEST_TIMEOUT_S)
    try:
        modules = await http.ask(request, "the list of online modules")
    except ServerAway:
        return False
    except ServerRefused:
        return None
    if not isinstance(modules, list):
        return None
    return any(isinstance(module, dict) and module.get("hash") == module_hash for module in modules)
