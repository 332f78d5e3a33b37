"""Who may what: every verb of every route, asked by nobody and by somebody without a scope."""

from __future__ import annotations

import re

import pytest

from handlers.operation import Operation, operations_of
from server.app import ROUTES
from server.context import Context
from server.people import keys
from server.people.identify import identify
from server.people.schemas import ApiKeyRequest
from server.scopes import ANYONE, SIGNED_IN
from tests.api.client import Api

ID = "0" * 32
EXAMPLES = {"hash": ID, "ref": ID, "run_id": ID, "task_id": ID, "sha256": "0" * 64, "schedule_id": "1", "key_id": "1", "name": "x"}


def verbs() -> list[tuple[str, str, Operation]]:
    """Method, an address that the route takes, and what the verb declares."""
    found = []
    for pattern, handler in ROUTES:
        path = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", lambda match: EXAMPLES[match[1]], pattern).replace("\\.", ".").rstrip("?")
        assert re.fullmatch(pattern, path), f"{path} is no example of {pattern}"
        found += [(method, path, declared) for method, declared in operations_of(handler).items()]
    return found


@pytest.mark.gen_test(timeout=120)
async def test_nobody_gets_in(anonymous: Api) -> None:
    asked = 0
    for method, path, declared in verbs():
        if declared.scope == ANYONE:
            continue
        answer = await anonymous.request(method, path, body=b"{}" if method in ("POST", "PUT", "PATCH") else None)
        assert (answer.status, answer.type) == (401, "not_signed_in"), f"{method} {path}"
        asked += 1
    assert asked > 30


@pytest.mark.gen_test(timeout=120)
async def test_a_key_without_scopes_gets_nowhere(api: Api, anonymous: Api, ctx: Context) -> None:
    admin = await identify(ctx, api.token, address="127.0.0.1")
    key = (await keys.create_key(ctx, admin, ApiKeyRequest(name="powerless", scopes=[]))).key
    powerless = anonymous.as_caller(key)
    for method, path, declared in verbs():
        if declared.scope in (ANYONE, SIGNED_IN):
            continue
        answer = await powerless.request(method, path, body=b"{}" if method in ("POST", "PUT", "PATCH") else None)
        assert (answer.status, answer.type) == (403, "forbidden"), f"{method} {path}"
        assert declared.scope in answer.envelope["message"], f"{method} {path}"


@pytest.mark.gen_test
async def test_the_module_key_opens_modules_alone(anonymous: Api, ctx: Context) -> None:
    module = anonymous.as_caller(ctx.secrets.module_key)
    assert (await module.get("/module/online")).status == 200
    assert (await module.post("/module/register", {"name": "m"})).status == 200
    for path in ("/workflow/list", "/scheduler/jobs", "/api/users", "/api/tasks"):
        assert (await module.get(path)).status == 403
    assert (await module.get("/api/auth/api-keys")).status == 403


def test_what_anyone_may_do_is_known() -> None:
    """A new open route must be put here on purpose."""
    opened = {f"{method} {path}" for method, path, declared in verbs() if declared.scope == ANYONE}
    assert opened == {
        "POST /api/auth/login",
        "POST /api/auth/refresh",
        "GET /module/register",
        "POST /module/register",
        "GET /module/online",
        f"POST /module/{ID}/files",
        f"GET /files/{'0' * 64}",
        "GET /health/",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "GET /api/openapi.json",
        "GET /",
        "GET /api/",
        "GET /api/reference/x",
    }
