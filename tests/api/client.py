"""A client of the API that looks at every answer: the headers, the envelope, the code."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}
# Answers that are no envelope: their content types.
BARE = {
    "/metrics": "text/plain",
    "/api/": "text/html",
    "/api": "text/html",
    "/": "text/html",
    "/api/openapi.json": "application/json",
}
UNSET: Any = object()


class Answer:
    """What came back. `result` is that of the envelope; `bare` answers have only a body."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.code
        self.headers = response.headers
        self.body = response.body or b""
        self.envelope: dict[str, Any] = {}

    @property
    def result(self) -> Any:
        assert self.status < 300, f"{self.status} {self.body.decode()}"
        return self.envelope["result"]

    @property
    def error(self) -> dict[str, Any]:
        assert self.status >= 400, f"{self.status} {self.body.decode()}"
        error: dict[str, Any] = self.envelope["error"]
        return error

    @property
    def type(self) -> str:
        return str(self.error["type"])

    @property
    def fields(self) -> list[str]:
        """The names of the fields that are wrong."""
        assert self.status == 422, f"{self.status} {self.body.decode()}"
        return sorted(self.error["fields"])

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:300]!r}>"


def check_answer(path: str, method: str, answer: Answer) -> None:
    """What holds for every answer of every route."""
    headers, where = answer.headers, f"{method} {path}: {answer.status}"
    for name, value in SECURITY.items():
        assert headers.get(name) == value, f"{where} lacks {name}"
    assert "default-src 'none'" in headers.get("Content-Security-Policy", ""), where
    assert REQUEST_ID.fullmatch(headers.get("X-Request-ID", "")), where
    assert "Tornado" not in headers.get("Server", "Tornado"), where
    assert b"Traceback" not in answer.body, where
    bare = _bare(path)
    if bare and answer.status < 300:
        assert headers["Content-Type"].startswith(bare), where
        return
    assert headers["Cache-Control"] == "no-store", where
    if path.startswith("/scim/v2/"):
        _check_scim(answer, method, where)
        return
    assert headers["Content-Type"] == "application/json; charset=utf-8", where
    if method == "HEAD":
        assert answer.body == b"", where
        return
    answer.envelope = msgspec.json.decode(answer.body)
    _check_envelope(answer, where)


# What SCIM has no word for, by its status: the types of our own errors.
SCIM_TYPES = {401: "not_signed_in", 403: "forbidden", 413: "too_large", 503: "engine_away"}


def _check_scim(answer: Answer, method: str, where: str) -> None:
    """SCIM's answers are no envelopes; their errors are read as one, so that tests of every route can ask what they ask of others."""
    if answer.status in (204, 304):
        assert answer.body == b"", where
        return
    assert answer.headers["Content-Type"] == "application/scim+json", where
    if answer.status < 300 or method == "HEAD":
        return
    told = msgspec.json.decode(answer.body)
    assert told["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"], where
    assert told["status"] == str(answer.status), where
    code = str(answer.status * 10)
    answer.envelope = {
        "code": code,
        "message": told["detail"],
        "error": {"type": SCIM_TYPES.get(answer.status, told.get("scimType", "")), "fields": {}},
    }


def _check_envelope(answer: Answer, where: str) -> None:
    envelope = answer.envelope
    assert isinstance(envelope["message"], str), where
    assert envelope["message"], where
    if answer.status < 300:
        assert set(envelope) == {"code", "message", "result"}, where
        assert envelope["code"] == "2000", where
        return
    code = int(envelope["code"])
    assert answer.status * 10 <= code < answer.status * 10 + 10, where
    if "error" not in envelope:
        assert answer.status == 503, where  # /health/ tells of every engine also when one is away
        return
    error = envelope["error"]
    assert set(envelope) == {"code", "message", "result", "error"}, where
    assert envelope["result"] is None, where
    assert set(error) == {"type", "fields", "request_id"}, where
    assert re.fullmatch(r"[a-z_]+", error["type"]), where
    assert error["request_id"] == answer.headers["X-Request-ID"], where
    assert all(reasons and all(isinstance(reason, str) for reason in reasons) for reasons in error["fields"].values()), where
    assert bool(error["fields"]) <= (answer.status == 422), where
    if answer.status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer", where
    if answer.status == 405:
        assert answer.headers["Allow"], where
    if answer.status in (429, 503):
        assert int(answer.headers["Retry-After"]) >= 1, where


def _bare(path: str) -> str:
    plain = path.partition("?")[0]
    if plain.startswith("/files/"):
        return "application/octet-stream"
    if plain.startswith("/api/reference/"):
        return "text/javascript" if plain.endswith(".js") else "text/css" if plain.endswith(".css") else "image/"
    if plain.startswith("/api/documents/") and plain.endswith((".png", "/file")):
        return "image/png" if plain.endswith(".png") else "application/pdf"
    if plain.endswith(".pdf"):
        return "application/pdf"
    if plain.endswith((".xlsx", ".csv")):
        return "text/csv" if plain.endswith(".csv") else "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return BARE.get(plain, "")


class Api:
    """Speaks to one server as one caller."""

    def __init__(self, client: AsyncHTTPClient, base_url: str, token: str = "") -> None:
        self.client = client
        self.base_url = base_url
        self.token = token

    def as_caller(self, token: str) -> Api:
        return Api(self.client, self.base_url, token)

    async def request(
        self,
        method: str,
        path: str,
        json: Any = UNSET,
        *,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        token: str | None = None,
        timeout_s: float = 20,
    ) -> Answer:
        """Send a request, check what holds for every answer, and return it."""
        sent = dict(headers or {})
        bearer = self.token if token is None else token
        if bearer:
            sent.setdefault("Authorization", f"Bearer {bearer}")
        if json is not UNSET:
            body = msgspec.json.encode(json)
            sent.setdefault("Content-Type", "application/json")
        request = HTTPRequest(
            self.base_url + path,
            method=method,
            body=body if body is not None or method not in ("POST", "PUT", "PATCH") else b"",
            headers=sent,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            request_timeout=timeout_s,
            decompress_response=False,
        )
        answer = Answer(await self.client.fetch(request, raise_error=False))
        check_answer(path, method, answer)
        return answer

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.request("GET", path, **more)

    async def post(self, path: str, json: Any = UNSET, **more: Any) -> Answer:
        return await self.request("POST", path, json, **more)

    async def put(self, path: str, json: Any = UNSET, **more: Any) -> Answer:
        return await self.request("PUT", path, json, **more)

    async def patch(self, path: str, json: Any = UNSET, **more: Any) -> Answer:
        return await self.request("PATCH", path, json, **more)

    async def delete(self, path: str, **more: Any) -> Answer:
        return await self.request("DELETE", path, **more)
