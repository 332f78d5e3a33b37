"""Requests to the server: its envelope read, its refusals told apart from its absence."""

from __future__ import annotations

import json
from typing import Any

from tornado.httpclient import HTTPError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient

from zhihui_module.errors import ServerAway, ServerRefused

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 20.0
# The largest file that an input may be; it is held in memory for the handler.
MAX_BODY_BYTES = 1024 * 1024 * 1024


class HttpDoor:
    """One HTTP client for one server; `close` it at the end."""

    def __init__(self) -> None:
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=20, max_body_size=MAX_BODY_BYTES)

    async def fetch(self, request: HTTPRequest) -> HTTPResponse:
        """Any answer, whatever its status. Raises ServerAway when there is none."""
        request.connect_timeout = CONNECT_TIMEOUT_S
        request.follow_redirects = False
        try:
            return await self._client.fetch(request, raise_error=False)
        except (OSError, HTTPTimeoutError, HTTPStreamClosedError, HTTPError) as error:
            raise ServerAway(f"{request.url}: {error}") from error

    async def ask(self, request: HTTPRequest, doing: str) -> Any:
        """The envelope's `result`.

        Raises ServerRefused for a refusal in the envelope, with its message and fields, and ServerAway for anything that passes
        with time: no answer, 429, 5xx, or an answer that is not from the server itself, such as a proxy's page.
        """
        response = await self.fetch(request)
        envelope = _find_envelope(response)
        if response.code == 599 or response.code == 429 or response.code >= 500 or envelope is None:
            reason = envelope.get("message") if envelope else response.error or response.reason
            raise ServerAway(f"{doing}: {response.code} {reason}")
        if not 200 <= response.code < 300:
            error = envelope.get("error")
            fields = error.get("fields") if isinstance(error, dict) else None
            raise ServerRefused(doing, response.code, str(envelope.get("message", "")), _texts(fields))
        return envelope.get("result")

    def close(self) -> None:
        self._client.close()


def _find_envelope(response: HTTPResponse) -> dict[str, Any] | None:
    try:
        envelope = json.loads(response.body)
    except ValueError:
        return None
    return envelope if isinstance(envelope, dict) and "code" in envelope else None


def _texts(fields: Any) -> dict[str, list[str]]:
    if not isinstance(fields, dict):
        return {}
    return {str(name): [str(text) for text in (reasons if isinstance(reasons, list) else [reasons])] for name, reasons in fields.items()}
