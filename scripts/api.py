"""A small client of the HTTP API: signs in, asks, and understands the envelope."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any


class Refused(Exception):
    """The server answered with an error; the message has its words, `status` its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Api:
    """Calls one server; signs in again when the access token has run out."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._url, self._username, self._password = url.rstrip("/"), username, password
        self._token = ""
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by a proxy: it is this machine

    def sign_in(self) -> None:
        self._token = ""
        answer = self._ask("POST", "/api/auth/login", {"username": self._username, "password": self._password})
        self._token = answer["access_token"]

    def get(self, path: str) -> Any:
        return self._signed_in("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        return self._signed_in("POST", path, body)

    def put(self, path: str, body: Any) -> Any:
        return self._signed_in("PUT", path, body)

    def _signed_in(self, method: str, path: str, body: Any) -> Any:
        if not self._token:
            self.sign_in()
        try:
            return self._ask(method, path, body)
        except Refused as refused:
            if refused.status != 401:
                raise
        self.sign_in()
        return self._ask(method, path, body)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        """The `result` of the answer. Raises Refused, and OSError when the server cannot be reached."""
        headers = {"Content-Type": "application/json", "Accept-Language": "en"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310 - our own address
        try:
            with self._direct.open(request, timeout=30) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, f"{method} {path}: {error.code} {spoken(error.read())}") from None


def spoken(body: bytes) -> str:
    """What an error's envelope says, with the fields that are wrong."""
    try:
        envelope = json.loads(body)
        fields = (envelope.get("error") or {}).get("fields") or {}
        return " ".join([envelope["message"], *(f"{name}: {' '.join(reasons)}" for name, reasons in fields.items())])
    except (ValueError, KeyError, AttributeError):
        return body[:200].decode("utf-8", "replace")
