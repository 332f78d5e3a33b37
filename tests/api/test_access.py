"""Who may what: every verb of every route, asked by nobody and by somebody without a scope."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from tornado.httpclient import HTTPRequest

from handlers.operation import Operation, operations_of
from server.app import ROUTES
from server.context import Context
from server.dispatch.tables import modules
from server.people import keys
from server.people.identify import identify
from server.people.schemas import ApiKeyRequest
from server.scopes import ANYONE, SIGNED_IN
from tests.api.client import Answer, Api
from tests.api.module import FakeModule
from tests.api.people import organization, user

ID = "0" * 32
# What stands for a part of an address: the first that the part's pattern takes. `name` is that of a file.
EXAMPLES = ("1", ID, "0" * 64, "x")
NAMED = {"name": "x", "ref": ID}
PART = re.compile(r"\(\?P<(\w+)>((?:[^()]|\([^()]*\))*)\)")
# What anyone may do. A new open route must be put here on purpose.
OPENED = {
    "POST /api/auth/login",
    "POST /api/auth/refresh",
    "POST /api/auth/code",
    "POST /api/auth/register",
    "POST /api/auth/login-code",
    "POST /api/auth/reset-password",
    "POST /api/auth/cas",
    "GET /cas/login",
    "GET /cas/link",  # by the one-time ticket of a caller who is signed in
    "GET /cas/callback",
    "POST /cas/callback",
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


def example(part: re.Match[str]) -> str:
    """Something that a named part of a route takes. A part that takes none of the examples wants one in NAMED."""
    name, pattern = part.groups()
    for given in (NAMED[name],) if name in NAMED else EXAMPLES:
        if re.fullmatch(pattern, given):
            return given
    raise LookupError(f"no example for {part[0]}")


def verbs(routes: Iterable[tuple[str, type[Any]]] = ROUTES) -> list[tuple[str, str, Operation]]:
    """Method, an address that the route takes, and what the verb declares."""
    found = []
    for pattern, handler in routes:
        path = PART.sub(example, pattern).replace("\\.", ".").rstrip("?")
        assert re.fullmatch(pattern, path), f"{path} is no example of {pattern}"
        found += [(method, path, declared) for method, declared in operations_of(handler).items()]
    return found


SCIM = "/scim/"


async def ask(api: Api, method: str, path: str, body: Any = None) -> Answer:
    """A request with a body where the method takes one. What speaks SCIM has no envelope: its sentence stands in for that of one."""
    sent = {"json": body or {}} if method in ("POST", "PUT", "PATCH") else {}
    if not path.startswith(SCIM):
        return await api.request(method, path, **sent)
    headers = {"Authorization": f"Bearer {api.token}"} if api.token else {}
    content = msgspec.json.encode(sent["json"]) if sent else None
    request = HTTPRequest(api.base_url + path, method=method, body=content, headers=headers, allow_nonstandard_methods=True)
    answer = Answer(await api.client.fetch(request, raise_error=False))
    said = msgspec.json.decode(answer.body) if answer.status >= 400 else {}
    answer.envelope = {
        "message": said.get("detail", ""),
        "error": {"type": {401: "not_signed_in", 403: "forbidden"}.get(answer.status, "")},
    }
    return answer


@pytest.mark.gen_test(timeout=120)
async def test_nobody_gets_in(anonymous: Api) -> None:
    asked = 0
    for method, path, declared in verbs():
        if declared.scope == ANYONE:
            continue
        answer = await ask(anonymous, method, path)
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
        answer = await ask(powerless, method, path)
        assert (answer.status, answer.type) == (403, "forbidden"), f"{method} {path}"
        assert declared.scope in answer.envelope["message"], f"{method} {path}"


@pytest.mark.gen_test(timeout=120)
async def test_a_user_without_a_role_gets_nowhere(anonymous: Api, ctx: Context) -> None:
    nobody = await user(ctx, anonymous, "student", None)
    for method, path, declared in verbs():
        if declared.scope not in (ANYONE, SIGNED_IN):
            assert (await ask(nobody, method, path)).status in (403, 404), f"{method} {path}"
    me = (await nobody.get("/api/auth/me")).result
    assert (me["roles"], me["scopes"]) == ([], [])


@pytest.mark.gen_test(timeout=120)
async def test_an_auditor_changes_nothing(anonymous: Api, ctx: Context) -> None:
    auditor = await user(ctx, anonymous, "auditor", "auditor")
    for method, path, declared in verbs():
        if declared.scope not in (ANYONE, SIGNED_IN) and not declared.scope.endswith(":read"):
            assert (await ask(auditor, method, path)).status == 403, f"{method} {path}"
    for path in ("/module/list", "/workflow/list", "/scheduler/jobs", "/api/users", "/api/tasks", "/api/calendars"):
        assert (await auditor.get(path)).status == 200


@pytest.mark.gen_test(timeout=120)
async def test_one_organizations_operator_sees_and_does_nothing_elsewhere(
    api: Api, anonymous: Api, ctx: Context, module: FakeModule, workflow: dict[str, Any]
) -> None:
    operator = await user(ctx, anonymous, "operator", "operator", await organization(ctx, "physics"))
    run = (await api.post(f"/workflow/{workflow['id']}/execute", {})).result["run_id"]
    step = (await api.get(f"/run/{run}")).result["steps"][0]["id"]
    jobs = {job["kind"]: f"/scheduler/jobs/{job['id']}" for job in (await api.get("/scheduler/jobs")).result}
    for path in ("/module/list", "/module/online", "/workflow/list", "/scheduler/jobs"):
        assert (await operator.get(path)).result == [], path
    mine, draft = f"/workflow/{workflow['id']}", {"name": "w", "execute_modules": [module.step]}
    for method, path, body in [
        ("GET", f"/module/{module.hash}", None),
        ("PATCH", f"/module/{module.hash}", {"description": "mine"}),
        ("DELETE", f"/module/{module.hash}", None),
        ("POST", "/module/send_message", {"module_hash": module.hash, "message": "x"}),
        ("GET", mine, None),
        ("GET", f"/workflow/{workflow['workflow_id']}", None),
        ("PUT", mine, draft),
        ("DELETE", mine, None),
        ("POST", f"{mine}/enable", None),
        ("POST", f"{mine}/disable", None),
        ("POST", f"{mine}/execute", None),
        ("POST", f"{mine}/backfill", {"from": "2026-01-01T00:00:00", "to": "2026-01-02T00:00:00"}),
        ("GET", f"{mine}/fires", None),
        ("GET", f"{mine}/why?at=2026-01-01T00:00:00", None),
        ("GET", f"{mine}/runs", None),
        ("POST", "/workflow/preview", {**draft, "id": workflow["id"]}),
        ("GET", f"/run/{run}", None),
        ("GET", f"/run/{run}/logs?step_id={step}", None),
        ("POST", f"/run/{run}/cancel", None),
        ("POST", f"/run/{run}/retry", None),
        ("PATCH", jobs["workflow"], {"enabled": False}),
        ("POST", f"{jobs['workflow']}/run", None),
        ("PATCH", jobs["system"], {"enabled": False}),
        ("POST", f"{jobs['system']}/run", None),
    ]:
        assert (await ask(operator, method, path, body)).status == 404, f"{method} {path}"
    assert (await api.get(f"/run/{run}")).result["state"] == "dispatched"


@pytest.mark.gen_test(timeout=120)
async def test_what_belongs_to_no_organization_is_for_those_who_may_everywhere(anonymous: Api, ctx: Context) -> None:
    operator = await user(ctx, anonymous, "operator", "operator", await organization(ctx, "physics"))
    asked = 0
    for method, path, declared in verbs():
        if declared.everywhere:
            assert (await ask(operator, method, path)).status == 403, f"{method} {path}"
            asked += 1
    assert asked >= 10


@pytest.mark.gen_test
async def test_an_operator_works_where_the_role_holds(api: Api, anonymous: Api, ctx: Context, module: FakeModule) -> None:
    physics, chemistry = await organization(ctx, "physics"), await organization(ctx, "chemistry")
    operator = await user(ctx, anonymous, "operator", "operator", physics)
    await ctx.sql.write(lambda connection: connection.execute(modules.update().values(organization_id=physics)))
    body = {"name": "mine", "execute_modules": [module.step], "organization_id": physics}
    refused = await operator.post("/workflow/create", {**body, "organization_id": chemistry})
    assert (refused.status, refused.type) == (403, "forbidden")
    assert (await operator.post("/workflow/create", {**body, "organization_id": None})).status == 403
    made = (await operator.post("/workflow/create", body)).result
    assert [one["id"] for one in (await operator.get("/workflow/list")).result] == [made["id"]]
    assert [job["workflow_id"] for job in (await operator.get("/scheduler/jobs")).result] == [made["workflow_id"]]
    assert (await operator.put(f"/workflow/{made['id']}", {**body, "organization_id": chemistry})).status == 403
    assert (await operator.post(f"/workflow/{made['id']}/execute", {})).status == 200


@pytest.mark.gen_test
async def test_the_users_of_ones_own_organization(api: Api, anonymous: Api, ctx: Context) -> None:
    physics = await organization(ctx, "physics")
    head = await user(ctx, anonymous, "head", "organization_admin", physics)
    await user(ctx, anonymous, "student", None, physics)
    assert [one["username"] for one in (await head.get("/api/users")).result["items"]] == ["head", "student"]
    assert (await head.get("/api/users?q=admin")).result["total"] == 0
    assert (await api.get("/api/users")).result["total"] == 3


@pytest.mark.gen_test
async def test_the_module_key_opens_modules_alone(anonymous: Api, ctx: Context) -> None:
    module = anonymous.as_caller(ctx.secrets.module_key)
    assert (await module.get("/module/online")).status == 200
    assert (await module.post("/module/register", {"name": "m"})).status == 200
    for path in ("/workflow/list", "/scheduler/jobs", "/api/users", "/api/tasks"):
        assert (await module.get(path)).status == 403
    assert (await module.get("/api/auth/api-keys")).status == 403


def test_what_anyone_may_do_is_known() -> None:
    assert {f"{method} {path}" for method, path, declared in verbs() if declared.scope == ANYONE} == OPENED
