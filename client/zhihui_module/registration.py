"""Registering: the declaration goes to the server, the module's hash comes back."""

from __future__ import annotations

from tornado.httpclient import HTTPRequest

from zhihui_module.address import Address
from zhihui_module.declaration import Declaration
from zhihui_module.errors import RegistrationRefused, ServerAway, ServerRefused
from zhihui_module.frames import encode
from zhihui_module.http_door import REQUEST_TIMEOUT_S, HttpDoor


async def register(http: HttpDoor, address: Address, declaration: Declaration) -> str:
    """The module's hash: the same one for the same name and model hash.

    Raises RegistrationRefused with the server's message and fields; ServerAway when asking again may help.
    """
    request = HTTPRequest(
        address.path("/module/register"),
        method="POST",
        headers={**address.headers, "Content-Type": "application/json"},
        body=encode(declaration.as_json()),
        request_timeout=REQUEST_TIMEOUT_S,
    )
    try:
        result = await http.ask(request, "registration")
    except ServerRefused as error:
        raise RegistrationRefused("registration", error.status, error.message, error.fields) from None
    module_hash = result.get("hash") if isinstance(result, dict) else None
    if not isinstance(module_hash, str) or not module_hash:
        raise ServerAway(f"registration: the answer has no hash: {result!r:.200}")
    return module_hash
