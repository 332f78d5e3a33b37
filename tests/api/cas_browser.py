"""A browser that signs in by single sign-on: it keeps cookies and follows nothing by itself."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

PAGE = "text/html,application/xhtml+xml,*/*;q=0.8"


class Browser:
    """`cookies` of one site; `last` is the last Set-Cookie that came."""

    def __init__(self, base_url: str, client: AsyncHTTPClient | None = None) -> None:
        self.base_url = base_url
        self.cookies: dict[str, str] = {}
        self.last: SimpleCookie = SimpleCookie()
        self._client = client or SimpleAsyncHTTPClient(force_instance=True)

    async def ask(self, path: str, *, method: str = "GET", body: str | None = None, accept: str = PAGE, **headers: str) -> HTTPResponse:
        """Any answer, whatever its status; a redirect is not followed."""
        sent = {"Accept": accept, "Accept-Language": "en", **headers}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        address = path if "://" in path else self.base_url + path
        answer = await self._client.fetch(
            HTTPRequest(address, method=method, body=body, headers=sent, follow_redirects=False), raise_error=False
        )
        for line in answer.headers.get_list("Set-Cookie"):
            self.last = SimpleCookie(line)
            for name, morsel in self.last.items():
                self.cookies[name] = morsel.coded_value
                if morsel["expires"] and not morsel["max-age"]:  # how Tornado takes one away
                    del self.cookies[name]
        return answer

    async def location(self, path: str, **more: str) -> str:
        """Where an address leads."""
        answer = await self.ask(path, **more)
        assert answer.code == 302, f"{answer.code} {answer.body!r}"
        return answer.headers["Location"]

    async def come_back(self, ticket: str) -> dict[str, str]:
        """What the UI is told when the CAS server sends the browser back with a ticket: a code or an error."""
        location = urlsplit(await self.location(f"/cas/callback?ticket={ticket}"))
        assert (location.scheme, location.netloc) == ("", "")
        return {name: values[0] for name, values in parse_qs(location.query).items()}

    async def redeem(self, code: str) -> Any:
        """The result for a code, or the error's type."""
        answer = await self.ask(
            "/api/auth/cas", method="POST", body=msgspec.json.encode({"code": code}).decode(), accept="application/json"
        )
        envelope = msgspec.json.decode(answer.body)
        return envelope["result"] if answer.code == 200 else envelope["error"]["type"]

    def close(self) -> None:
        self._client.close()
