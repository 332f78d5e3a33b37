"""The HTTP interface as a test speaks it: signed in as admin, envelopes opened, runs waited for."""

from __future__ import annotations

import json
from typing import Any

from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from tests.contract.waiting import until

ENDED = ("succeeded", "failed", "timed_out", "lost", "cancelled")


class Api:
    """`result` of every answer; an answer of another status than the expected one fails the test."""

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self._password = password
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=50)
        self._token = ""

    def close(self) -> None:
        self._client.close()

    async def fetch(self, method: str, path: str, body: Any = None, **headers: str) -> HTTPResponse:
        """Any answer, whatever its status."""
        if not self._token and path != "/api/auth/login":
            signed_in = await self.ask("POST", "/api/auth/login", {"username": "admin", "password": self._password})
            self._token = signed_in["access_token"]
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        encoded = None if body is None and method in ("GET", "DELETE") else json.dumps({} if body is None else body)
        request = HTTPRequest(
            self.url + path,
            method=method,
            headers={"Accept-Language": "en", "Content-Type": "application/json", **headers},
            body=encoded,
            request_timeout=60,
        )
        return await self._client.fetch(request, raise_error=False)

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = await self.fetch(method, path, body)
        assert answer.code == status, f"{method} {path}: {answer.code} {answer.body[:2000]!r}"
        envelope = json.loads(answer.body)
        return envelope["result"] if status < 400 else envelope["error"]

    async def get(self, path: str) -> Any:
        return await self.ask("GET", path)

    async def post(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        return await self.ask("POST", path, body, status=status)

    async def register(self, name: str, *, inputs: Any = (), outputs: Any = (), model: str = "v1") -> str:
        """A module's hash; an input or an output is a name or a whole requirement."""
        body = {"name": name, "input_data": _requirements(inputs), "output_data": _requirements(outputs), "modelHash": model}
        registered: dict[str, str] = await self.post("/module/register", body)
        return registered["hash"]

    async def workflow(self, name: str, steps: list[Any], **body: Any) -> int:
        """A workflow's number; a step is a module's hash or a whole step."""
        modules = [{"module_hash": step} if isinstance(step, str) else step for step in steps]
        made = await self.post("/workflow/create", {"name": name, "execute_modules": modules, **body})
        return int(made["workflow_id"])

    async def execute(self, workflow_id: int, **args: Any) -> str:
        """The id of a run that has begun."""
        started: dict[str, str] = await self.post(f"/workflow/{workflow_id}/execute", {"args": args} if args else {})
        return started["run_id"]

    async def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(f"/run/{run_id}")
        return found

    async def step(self, run_id: str, position: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = (await self.run(run_id))["steps"][position]
        return found

    async def ended(self, run_id: str, *, timeout_s: float = 30) -> dict[str, Any]:
        """The run, once it has ended."""

        async def has_ended() -> bool:
            return (await self.run(run_id))["state"] in ENDED

        await until(has_ended, timeout_s=timeout_s)
        return await self.run(run_id)

    async def fires(self, workflow_id: int) -> list[dict[str, Any]]:
        """The whole ledger of a workflow, oldest first."""
        rows: list[dict[str, Any]] = []
        while True:
            page = await self.get(f"/workflow/{workflow_id}/fires?sort=planned_at&page_size=200&page={len(rows) // 200 + 1}")
            rows += page["items"]
            if len(page["items"]) < 200:
                return rows

    async def runs(self, workflow_id: int) -> list[dict[str, Any]]:
        """All runs of a workflow, oldest first."""
        rows: list[dict[str, Any]] = []
        while True:
            page = await self.get(f"/workflow/{workflow_id}/runs?sort=created_at&page_size=200&page={len(rows) // 200 + 1}")
            rows += page["items"]
            if len(page["items"]) < 200:
                return rows

    async def online(self) -> set[str]:
        """The hashes of the modules that are online."""
        return {module["hash"] for module in await self.get("/module/online")}


def _requirements(given: Any) -> list[Any]:
    return [{"name": one, "type": "any"} if isinstance(one, str) else one for one in given]
