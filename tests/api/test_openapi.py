"""The API describes itself: every route, every type, and nothing that the contract does not know."""

from __future__ import annotations

import re
from typing import Any

import pytest

from handlers.operations.openapi import document, template
from server.app import ROUTES
from tests.api.client import Api

# What the contract promises of this part of the system: method and path, parameters in braces.
CONTRACT = """
GET /module/register        POST /module/register       GET /module/online          GET /module/list
POST /module/send_message   GET /module/{}              PATCH /module/{}            DELETE /module/{}
POST /workflow/create       GET /workflow/{}            PUT /workflow/{}            DELETE /workflow/{}
POST /workflow/{}/execute   POST /workflow/{}/enable    POST /workflow/{}/disable   GET /workflow/list
POST /workflow/preview      GET /workflow/{}/fires      GET /workflow/{}/why        GET /workflow/{}/runs
GET /run/{}                 POST /run/{}/cancel         POST /run/{}/retry          GET /scheduler/jobs
POST /scheduler/reload      PATCH /scheduler/jobs/{}    POST /scheduler/jobs/{}/run POST /api/auth/login
POST /api/auth/refresh      POST /api/auth/logout       GET /api/auth/me            GET /api/auth/api-keys
POST /api/auth/api-keys     DELETE /api/auth/api-keys/{} POST /api/auth/ticket      GET /api/users
GET /api/tasks              GET /api/tasks/{}           POST /api/tasks/{}/retry    POST /api/tasks/{}/cancel
GET /api/tasks/stats        GET /health                 GET /health/live            GET /health/ready
GET /metrics                GET /api                    GET /api/openapi.json       POST /api/documents
GET /api/documents          GET /api/documents/{}       PATCH /api/documents/{}     DELETE /api/documents/{}
GET /api/documents/{}/file  GET /api/documents/{}/pages/{} GET /api/documents/{}/pages/{}.png
POST /api/documents/{}/reindex GET /api/documents/{}/tags/suggest PUT /api/documents/{}/tags
GET /api/tags               POST /api/tags              GET /api/search             POST /api/search
PATCH /api/auth/me          POST /api/auth/code         POST /api/auth/register     POST /api/auth/reset-password
POST /api/auth/change-password GET /api/auth/sessions   DELETE /api/auth/sessions/{} POST /api/auth/cas
GET /cas/login              GET /cas/callback           POST /cas/callback          POST /api/users
GET /api/users/{}           PATCH /api/users/{}         DELETE /api/users/{}        POST /api/users/import
GET /api/users/export.xlsx  GET /api/users/template.xlsx GET /api/roles             POST /api/roles
PUT /api/users/{}/roles     GET /api/organizations      POST /api/organizations     GET /api/organizations/{}
PATCH /api/organizations/{} DELETE /api/organizations/{} POST /api/organizations/{}/move GET /api/organizations/{}/members
POST /api/organizations/{}/members DELETE /api/organizations/{}/members GET /api/audit-log
POST /api/assistant/ask     GET /api/conversations      POST /api/conversations/{}/messages/{}/feedback
GET /api/notifications      GET /api/notifications/unread-count POST /api/notifications/read
GET /api/notifications/preferences PUT /api/notifications/preferences
GET /api/organizations/{}/notifications PUT /api/organizations/{}/notifications
GET /api/hr/sources         POST /api/hr/sources        PATCH /api/hr/sources/{}    POST /api/hr/sync
GET /api/hr/runs            GET /api/hr/runs/{}/changes POST /api/hr/runs/{}/approve GET /api/hr/persons
GET /api/account-tasks      POST /api/account-tasks/{}/retry POST /api/account-tasks/{}/cancel
GET /api/schedules          POST /api/schedules         PATCH /api/schedules/{}     DELETE /api/schedules/{}
POST /api/schedules/{}/run  GET /api/projects           POST /api/projects          GET /api/projects/{}
PATCH /api/projects/{}      DELETE /api/projects/{}     POST /api/projects/{}/transitions GET /api/projects/{}/history
GET /api/projects/{}/members POST /api/projects/{}/members DELETE /api/projects/{}/members
GET /api/projects/{}/attachments POST /api/projects/{}/attachments DELETE /api/projects/{}/attachments
GET /api/projects/{}/tags   POST /api/projects/{}/tags  DELETE /api/projects/{}/tags
GET /api/student-projects   POST /api/student-projects  POST /api/student-projects/{}/applications
POST /api/student-projects/applications/{}/decide       GET /api/audits             POST /api/audits/{}/decide
GET /api/audit-chains       PUT /api/audit-chains       GET /api/rubrics            POST /api/rubrics
GET /api/rounds             POST /api/rounds            POST /api/rounds/{}/assign  GET /api/reviews/{}
PUT /api/reviews/{}         GET /api/reviews            GET /api/rounds/{}/results  GET /api/rounds/{}/results.xlsx
GET /api/dashboard          GET /api/dashboard/series
"""


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document(ROUTES)


def verbs(described: dict[str, Any]) -> dict[str, Any]:
    return {f"{method.upper()} {path}": verb for path, methods in described["paths"].items() for method, verb in methods.items()}


def test_the_contract_is_kept(described: dict[str, Any]) -> None:
    have = {re.sub(r"{\w+}", "{}", name).rstrip("/") for name in verbs(described)}
    promised = set(re.findall(r"(?:GET|POST|PUT|PATCH|DELETE) \S+", CONTRACT))
    assert promised - have == set()


def test_every_route_is_described(described: dict[str, Any]) -> None:
    from handlers.operation import operations_of

    for pattern, handler in ROUTES:
        for method in operations_of(handler):
            assert method.lower() in described["paths"][template(pattern)], f"{method} {pattern}"


def test_references_lead_somewhere(described: dict[str, Any]) -> None:
    def walk(part: Any) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                assert part["$ref"].rsplit("/", 1)[1] in described["components"]["schemas"], part["$ref"]
            for value in part.values():
                walk(value)
        elif isinstance(part, list):
            for value in part:
                walk(value)

    walk(described)


def test_verbs_are_whole(described: dict[str, Any]) -> None:
    assert described["openapi"] == "3.1.0"
    names = [verb["operationId"] for verb in verbs(described).values()]
    assert len(set(names)) == len(names)
    for name, verb in verbs(described).items():
        assert verb["summary"].endswith("."), name
        assert verb["responses"]["200"]["description"], name
        in_path = {parameter["name"] for parameter in verb.get("parameters", ()) if parameter["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", name)), name
        given = [parameter["name"] for parameter in verb.get("parameters", ())]
        assert len(set(given)) == len(given), name


def test_types_are_told(described: dict[str, Any]) -> None:
    create = described["paths"]["/workflow/create"]["post"]
    assert create["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/WorkflowBody"}
    assert create["x-scope"] == "workflows:write"
    assert create["security"] == [{"bearer": []}]
    body = described["components"]["schemas"]["WorkflowBody"]
    assert set(body["required"]) == {"name", "execute_modules"}
    assert body["additionalProperties"] is False
    fires = {parameter["name"] for parameter in described["paths"]["/workflow/{ref}/fires"]["get"]["parameters"]}
    assert {"from", "to", "outcome", "page", "page_size"} <= fires
    assert "security" not in described["paths"]["/health/live"]["get"]


@pytest.mark.gen_test
async def test_it_is_served(anonymous: Api) -> None:
    answer = await anonymous.get("/api/openapi.json")
    assert answer.status == 200
    assert b'"openapi":"3.1.0"' in answer.body
    assert (await anonymous.get("/api/openapi.json")).body == answer.body


@pytest.mark.gen_test
async def test_the_page_and_its_parts_come_from_here(anonymous: Api) -> None:
    page = await anonymous.get("/api/")
    assert page.status == 200
    assert page.body == (await anonymous.get("/")).body
    linked = re.findall(rb'(?:src|href)="([^"]+)"', page.body)
    assert len(linked) >= 4
    for link in linked:
        assert link.startswith(b"/api/reference/"), link
        part = await anonymous.get(link.decode())
        assert part.status == 200
        assert len(part.body) > 100
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert (await anonymous.get("/api/reference/passwd")).status == 404


def test_an_upload_is_described_as_a_form(described: dict[str, Any]) -> None:
    body = verbs(described)["POST /api/documents"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    files, fields = body["allOf"]
    assert files["properties"]["file"]["type"] == "array"
    named = described["components"]["schemas"][fields["$ref"].rsplit("/", 1)[1]]
    assert {"visibility", "organization_id", "tags"} <= set(named["properties"])
