"""A SCIM client that looks at every answer."""

from __future__ import annotations

from typing import Any

import msgspec
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


class Answer:
    """What came back: status, headers, and the document, which is checked to be SCIM's."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.code
        self.headers = response.headers
        self.document: Any = msgspec.json.decode(response.body) if response.body else None
        if self.document is not None:
            assert self.headers["Content-Type"] == "application/scim+json"
        if self.status >= 400:
            assert self.document["schemas"] == [ERROR]
            assert self.document["status"] == str(self.status)
            assert self.document["detail"]

    @property
    def scim_type(self) -> str:
        return str(self.document.get("scimType", ""))

    def __repr__(self) -> str:
        return f"<{self.status} {self.document}>"


class Scim:
    """Speaks SCIM to one server, with one key."""

    def __init__(self, client: AsyncHTTPClient, url: str, key: str) -> None:
        self._client, self._url, self._key = client, f"{url}/scim/v2", key

    def with_key(self, key: str) -> Scim:
        return Scim(self._client, self._url.removesuffix("/scim/v2"), key)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._key:
            sent["Authorization"] = f"Bearer {self._key}"
        encoded = body if isinstance(body, bytes) else None if body is None else msgspec.json.encode(body)
        if encoded is not None:
            sent.setdefault("Content-Type", "application/scim+json")
        elif method in ("POST", "PUT", "PATCH"):
            encoded = b""
        request = HTTPRequest(
            self._url + path, method=method, body=encoded, headers={"Accept-Language": "en", **sent}, allow_nonstandard_methods=True
        )
        return Answer(await self._client.fetch(request, raise_error=False))

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def user(self, name: str, **more: Any) -> dict[str, Any]:
        """A new user."""
        answer = await self.ask("POST", "/Users", {"schemas": [USER], "userName": name, **more})
        assert answer.status == 201, answer
        made: dict[str, Any] = answer.document
        return made

    async def group(self, name: str, *member_ids: str, **more: Any) -> dict[str, Any]:
        members = {"members": [{"value": one} for one in member_ids]} if member_ids else {}
        answer = await self.ask("POST", "/Groups", {"schemas": [GROUP], "displayName": name, **members, **more})
        assert answer.status == 201, answer
        made: dict[str, Any] = answer.document
        return made

    async def patch(self, path: str, *operations: dict[str, Any], **headers: str) -> Answer:
        return await self.ask("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, **headers)

    async def find(self, path: str) -> list[str]:
        """The user names, or the names of groups, of a list."""
        answer = await self.get(path)
        assert answer.status == 200, answer
        return [one.get("userName") or one["displayName"] for one in answer.document["Resources"]]
